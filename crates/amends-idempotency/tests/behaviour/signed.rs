//! What a signed call must bring, and that nothing else reaches a handler.

use crate::service::Reply;
use amends_core::signature::{Key, SignatureHeaders, Signed, content_digest, sign};
use amends_idempotency::{SignatureLayer, SignatureOptions};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::routing;
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tower::ServiceExt;

const NOW: u64 = 1_000_000;

fn key(id: &str) -> Key {
    Key::new(id, format!("the secret of the key {id}, long enough").as_bytes()).unwrap()
}

/// A service that takes calls by two keys, and the seconds that its clock shows.
struct Service {
    router: Router,
    seconds: Arc<AtomicU64>,
    handled: Arc<AtomicU64>,
}

impl Service {
    fn new() -> Service {
        Service::of(key("new"), Some(key("old")))
    }

    fn of(key: Key, other: Option<Key>) -> Service {
        let seconds = Arc::new(AtomicU64::new(NOW));
        let time = Arc::clone(&seconds);
        let clock = Arc::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)));
        let options = SignatureOptions { clock, request_bytes: 100, ..SignatureOptions::default() };
        let handled = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&handled);
        let charges = routing::any(move |body: String| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { body }
        });
        let layer = SignatureLayer::new(key, other, options);
        // What is nested sees its own part of the path alone.
        let nested = Router::new().route("/refunds", charges.clone()).route_layer(layer.clone());
        let router = Router::new().route("/charges", charges.clone()).route("/chargeS", charges);
        Service { router: router.route_layer(layer).nest("/v1", nested), seconds, handled }
    }

    async fn send(&self, call: Call) -> Reply {
        let (parts, body) = self.router.clone().oneshot(call.request()).await.unwrap().into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    async fn refuses(&self, call: Call, kind: &str) {
        let about = format!("{call:?}");
        let before = self.handled.load(Ordering::SeqCst);
        assert_eq!(self.send(call).await.problem(), (401, kind.to_owned()), "{about}");
        assert_eq!(self.handled.load(Ordering::SeqCst), before, "{about}");
    }
}

/// A call as it is sent, which a test may change after it was signed.
#[derive(Clone, Debug)]
struct Call {
    method: &'static str,
    address: String,
    headers: Vec<(&'static str, HeaderValue)>,
    body: Vec<u8>,
}

impl Call {
    fn signed(method: &'static str, address: &str, body: &[u8], keys: &[Key]) -> Call {
        Call::that_undoes(None, method, address, body, keys)
    }

    fn that_undoes(
        action_key: Option<&'static str>,
        method: &'static str,
        address: &str,
        body: &[u8],
        keys: &[Key],
    ) -> Call {
        let digest = content_digest(body);
        let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
        let signed = Signed { method, path, query, content_digest: &digest, idempotency_key: "k-1", action_key };
        let SignatureHeaders { signature_input, signature } = sign(&signed, keys, NOW);
        let text = |text: String| HeaderValue::try_from(text).unwrap();
        let mut headers = vec![
            ("content-digest", text(digest)),
            ("idempotency-key", HeaderValue::from_static("k-1")),
            ("signature", text(signature)),
            ("signature-input", text(signature_input)),
        ];
        headers.extend(action_key.map(|key| ("amends-action-key", HeaderValue::from_static(key))));
        Call { method, address: address.to_owned(), headers, body: body.to_owned() }
    }

    /// A good one.
    fn good() -> Call {
        Call::signed("POST", "/charges?dry=1", b"{\"amount\":7}", &[key("new")])
    }

    fn set(mut self, header: &str, value: &str) -> Call {
        let (_, old) = self.headers.iter_mut().find(|(name, _)| *name == header).unwrap();
        *old = HeaderValue::try_from(value).unwrap();
        self
    }

    fn header(&self, header: &str) -> String {
        self.headers.iter().find(|(name, _)| *name == header).unwrap().1.to_str().unwrap().to_owned()
    }

    fn replace(self, header: &str, from: &str, to: &str) -> Call {
        let old = self.header(header);
        assert!(old.contains(from), "{old}");
        self.set(header, &old.replace(from, to))
    }

    fn request(self) -> Request {
        let mut request = Request::builder().method(self.method).uri(self.address);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }
}

#[tokio::test]
async fn a_signed_call_reaches_its_handler() {
    let service = Service::new();
    let reply = service.send(Call::good()).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"{\"amount\":7}"[..]));
    for call in [
        Call::signed("GET", "/charges", b"", &[key("new")]),
        Call::signed("DELETE", "/charges?", b"", &[key("new")]),
        Call::signed("POST", "/v1/refunds?of=1%2F2", b"{}", &[key("new")]),
    ] {
        let about = format!("{call:?}");
        assert_eq!(service.send(call).await.status, 200, "{about}");
    }
}

#[tokio::test]
async fn either_key_is_enough() {
    let service = Service::new();
    let by = |keys: &[&str]| {
        let keys: Vec<Key> = keys.iter().map(|id| key(id)).collect();
        Call::signed("POST", "/charges", b"{}", &keys)
    };
    for keys in [&["new"][..], &["old"], &["old", "new"], &["older", "old"]] {
        assert_eq!(service.send(by(keys)).await.status, 200, "{keys:?}");
    }
    service.refuses(by(&["older"]), "signing-key-unknown").await;
    let alone = Service::of(key("new"), None);
    assert_eq!(alone.send(by(&["old", "new"])).await.status, 200);
    alone.refuses(by(&["old"]), "signing-key-unknown").await;
    let other_secret = Key::new("new", key("old").id().repeat(11).as_bytes()).unwrap();
    service.refuses(Call::signed("POST", "/charges", b"{}", &[other_secret]), "signature-differs").await;
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_refused() {
    let service = Service::new();
    let good = Call::good;
    let method = Call { method: "PUT", ..good() };
    let path = Call { address: "/chargeS?dry=1".into(), ..good() };
    let query = Call { address: "/charges?dry=0".into(), ..good() };
    let no_query = Call { address: "/charges".into(), ..good() };
    let body = Call { body: b"{\"amount\":8}".into(), ..good() };
    let no_body = Call { body: Vec::new(), ..good() };
    let both = Call { body: b"{\"amount\":8}".into(), ..good() };
    let both = both.set("content-digest", &content_digest(b"{\"amount\":8}"));
    for (call, kind) in [
        (method, "signature-differs"),
        (path, "signature-differs"),
        (query, "signature-differs"),
        (no_query, "signature-differs"),
        (body, "content-digest-differs"),
        (no_body, "content-digest-differs"),
        (both, "signature-differs"),
        (good().set("idempotency-key", "k-2"), "signature-differs"),
        (good().set("idempotency-key", "\"k-1\""), "signature-differs"),
        (good().replace("signature-input", "=1000000", "=1000001"), "signature-differs"),
        (good().replace("signature-input", "new", "old"), "signature-differs"),
        (good().replace("signature-input", "new", "nev"), "signing-key-unknown"),
    ] {
        service.refuses(call, kind).await;
    }
}

#[tokio::test]
async fn a_compensation_stays_the_compensation_of_its_action() {
    let service = Service::new();
    let undo = || Call::that_undoes(Some("k-0"), "POST", "/charges", b"", &[key("new")]);
    assert_eq!(service.send(undo()).await.status, 200);
    service.refuses(undo().set("amends-action-key", "k-1"), "signature-differs").await;
    let mut as_action = undo();
    as_action.headers.retain(|(name, _)| *name != "amends-action-key");
    service.refuses(as_action, "signature-malformed").await;
    let mut action = Call::good();
    action.headers.push(("amends-action-key", HeaderValue::from_static("k-0")));
    service.refuses(action, "signature-malformed").await;
    let mut twice = undo();
    twice.headers.push(("amends-action-key", HeaderValue::from_static("k-0")));
    service.refuses(twice, "signature-malformed").await;
}

#[tokio::test]
async fn a_call_that_is_sent_again_later_is_refused() {
    let service = Service::new();
    for (seconds, is_taken) in [(NOW - 301, false), (NOW - 300, true), (NOW + 300, true), (NOW + 301, false)] {
        service.seconds.store(seconds, Ordering::SeqCst);
        if is_taken {
            assert_eq!(service.send(Call::good()).await.status, 200, "{seconds}");
        } else {
            service.refuses(Call::good(), "signature-out-of-time").await;
        }
    }
}

#[tokio::test]
async fn a_call_without_signature_is_told_what_is_missing() {
    let service = Service::new();
    for missing in ["content-digest", "idempotency-key", "signature", "signature-input"] {
        let mut call = Call::good();
        call.headers.retain(|(name, _)| *name != missing);
        let reply = service.send(call).await;
        assert_eq!(reply.problem(), (401, "not-signed".into()));
        let detail: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(detail["detail"].as_str().unwrap().to_ascii_lowercase().contains(missing), "{detail}");
    }
    let bare = Call { headers: Vec::new(), ..Call::good() };
    service.refuses(Call { method: "GET", ..bare }, "not-signed").await;
    assert_eq!(service.handled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn less_than_everything_is_refused() {
    let service = Service::new();
    for component in ["\"@method\" ", "\"@path\" ", "\"@query\" ", "\"content-digest\" ", " \"idempotency-key\""] {
        service.refuses(Call::good().replace("signature-input", component, ""), "signature-malformed").await;
    }
    for parameter in [";created=1000000", ";keyid=\"new\"", ";alg=\"hmac-sha256\""] {
        service.refuses(Call::good().replace("signature-input", parameter, ""), "signature-malformed").await;
    }
}

#[tokio::test]
async fn a_header_that_is_there_twice_is_refused() {
    let service = Service::new();
    for header in ["content-digest", "idempotency-key", "signature", "signature-input"] {
        let mut call = Call::good();
        let again = call.headers.iter().find(|(name, _)| *name == header).unwrap().clone();
        call.headers.push(again);
        service.refuses(call, "signature-malformed").await;
    }
}

#[tokio::test]
async fn a_body_over_the_bound_is_not_read() {
    let service = Service::new();
    let long = [b'x'; 101];
    let reply = service.send(Call::signed("POST", "/charges", &long, &[key("new")])).await;
    assert_eq!(reply.problem(), (413, "request-too-large".into()));
    assert_eq!(service.send(Call::signed("POST", "/charges", &long[1..], &[key("new")])).await.status, 200);
    service.refuses(Call::signed("POST", "/charges", &long, &[key("nobody")]), "signing-key-unknown").await;
    assert_eq!(service.handled.load(Ordering::SeqCst), 1);
}

proptest! {
    #[test]
    fn garbage_is_refused(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 4)) {
        let mut call = Call::good();
        for ((_, header), value) in call.headers.iter_mut().zip(values) {
            *header = HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static("sig1=:"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let status = runtime.block_on(Service::new().send(call)).status;
        prop_assert_eq!(status, 401);
    }
}
