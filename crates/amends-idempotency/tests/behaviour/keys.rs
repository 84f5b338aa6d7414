//! What a request must bring, and whose keys are whose.

use crate::service::{Caller, Service, answer, keyed};
use amends_idempotency::Options;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;

fn scripted() -> axum::http::request::Builder {
    Request::post("/scripted").header("content-type", "application/json")
}

/// A JSON request to the scripted route.
fn request(key: &str, status: u16) -> Request {
    scripted().header("idempotency-key", key).body(answer(status).into()).unwrap()
}

#[tokio::test]
async fn a_missing_key_is_refused_where_one_is_required() {
    let service = Service::new();
    let reply = service.send(scripted().body(answer(201).into()).unwrap()).await;
    assert_eq!(reply.problem(), (400, "idempotency-key-missing".into()));
    assert_eq!((service.effects(), service.records()), (0, 0));
}

#[tokio::test]
async fn without_a_key_a_request_runs_in_a_transaction_where_none_is_required() {
    let service = Service::with(Options { key_required: false, ..Options::default() }, Caller::Single);
    for (status, effects) in [(201, 1), (201, 2), (500, 2), (402, 2)] {
        let reply = service.send(scripted().body(answer(status).into()).unwrap()).await;
        assert_eq!((reply.status, service.effects()), (status, effects));
    }
    assert_eq!(service.records(), 0);
    let compensation = scripted().header("amends-action-key", "a").body(answer(200).into()).unwrap();
    assert_eq!(service.send(compensation).await.problem(), (400, "idempotency-key-missing".into()));
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused() {
    let service = Service::new();
    for key in ["", "\"\"", "\"open", "a,b", "a b", &"k".repeat(256)] {
        let reply = service.send(request(key, 201)).await;
        assert_eq!(reply.problem(), (400, "idempotency-key-malformed".into()), "{key}");
    }
    let repeated = scripted().header("idempotency-key", "k").header("idempotency-key", "k");
    let reply = service.send(repeated.body(answer(201).into()).unwrap()).await;
    assert_eq!(reply.problem(), (400, "idempotency-key-malformed".into()));
    for action_key in ["\"open", "own"] {
        let request = scripted().header("idempotency-key", "own").header("amends-action-key", action_key);
        let reply = service.send(request.body(answer(200).into()).unwrap()).await;
        assert_eq!(reply.problem(), (400, "idempotency-key-malformed".into()), "{action_key}");
    }
    assert_eq!((service.effects(), service.records()), (0, 0));
}

#[tokio::test]
async fn quoted_and_bare_are_the_same_key() {
    let service = Service::new();
    assert_eq!(service.send(request("\"k\"", 201)).await.status, 201);
    assert!(service.send(request("k", 201)).await.replayed());
    assert_eq!(service.effects(), 1);
}

#[tokio::test]
async fn a_safe_method_ignores_the_key() {
    let service = Service::new();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        for key in ["k", "\"malformed"] {
            let request = Request::builder().method(&method).uri("/free").header("idempotency-key", key);
            let reply = service.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!((reply.status, reply.replayed()), (200, false), "{method}");
        }
    }
    assert_eq!(service.records(), 0);
    // A handler that wants to write has no transaction there, and is told so.
    let get = Request::get("/scripted").header("content-type", "application/json").body(answer(200).into()).unwrap();
    assert_eq!(service.send(get).await.problem(), (500, "no-transaction".into()));
}

#[tokio::test]
async fn every_other_method_honours_the_key() {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let service = Service::new();
        let request = || {
            let request = Request::builder().method(&method).uri("/scripted").header("idempotency-key", "k");
            request.header("content-type", "application/json").body(Body::from(answer(201))).unwrap()
        };
        assert!(!service.send(request()).await.replayed());
        assert!(service.send(request()).await.replayed(), "{method}");
        assert_eq!(service.effects(), 1);
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let service = Service::new();
    assert_eq!(service.send(request("k", 201)).await.status, 201);
    let json = |builder: axum::http::request::Builder| {
        builder.header("content-type", "application/json").header("idempotency-key", "k")
    };
    let others = [
        json(Request::post("/scripted")).body(answer(202).into()).unwrap(),
        json(Request::post("/scripted?query")).body(answer(201).into()).unwrap(),
        json(Request::post("/other")).body(answer(201).into()).unwrap(),
        json(Request::put("/scripted")).body(answer(201).into()).unwrap(),
        keyed("/scripted", "k", answer(201)),
    ];
    for other in others {
        let about = format!("{other:?}");
        let reply = service.send(other).await;
        assert_eq!(reply.problem(), (422, "idempotency-key-reused".into()), "{about}");
        assert!(!reply.asks_again());
    }
    assert_eq!(service.effects(), 1);
    assert!(service.send(request("k", 201)).await.replayed(), "the record is unchanged");
}

#[tokio::test]
async fn each_principal_has_keys_of_its_own() {
    let service = Service::with(Options::default(), Caller::ByHeader);
    let from = |user: &str| {
        let request = scripted().header("idempotency-key", "k").header("x-user", user);
        request.body(Body::from(answer(201))).unwrap()
    };
    assert!(!service.send(from("ann")).await.replayed());
    assert!(!service.send(from("bob")).await.replayed(), "what one caller was answered leaked to another");
    assert!(service.send(from("ann")).await.replayed());
    assert_eq!(service.effects(), 2);
    assert_eq!(service.send(from("")).await.problem(), (401, "principal-missing".into()));
    assert_eq!(service.send(request("k", 201)).await.problem(), (401, "principal-missing".into()));
    assert_eq!(service.effects(), 2);
}

#[tokio::test]
async fn a_handler_can_see_the_keys() {
    let service = Service::new();
    let reply = service.send(keyed("/keys", "\"a\"", Body::empty())).await;
    assert_eq!(&reply.body[..], br#"{"action_key":null,"key":"a"}"#);
}

#[tokio::test]
async fn a_request_over_the_bound_is_refused_before_anything_is_done() {
    let service = Service::with(Options { request_bytes: 100, ..Options::default() }, Caller::Single);
    let request = |bytes: usize| {
        let script = format!("{{\"status\":201,\"pad\":\"{}\"}}", "x".repeat(bytes - 23));
        assert_eq!(script.len(), bytes);
        scripted().header("idempotency-key", "k").body(Body::from(script)).unwrap()
    };
    assert_eq!(service.send(request(101)).await.problem(), (413, "request-too-large".into()));
    assert_eq!((service.effects(), service.records()), (0, 0));
    assert_eq!(service.send(request(100)).await.status, 201);
}
