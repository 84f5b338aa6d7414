//! Requests to the API: its real router over a real engine and a store in memory.
//!
//! The bytes are a request as one writes it down: `METHOD path`, a line a header, an empty line, the body. In a path
//! `{saga}`, `{stuck}` and `{letter}` stand for what the server holds. Whatever is asked, the answer is no server error, and
//! what is refused leaves nothing behind.

use amends::api::{App, Followers, Health, HttpMetrics, Reading, router};
use amends_core::lint::{self, Known};
use amends_engine::{Engine, EngineOptions, Participant, Settings, StartRequest};
use amends_store::{AuditQuery, DeadLetterQuery, MemoryStore, Processes, StoreAndViews, Which};
use axum::Router;
use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) const WORDS: &[&str] = &[
    "GET ",
    "POST ",
    "PUT ",
    "DELETE ",
    "HEAD ",
    "OPTIONS ",
    "PATCH ",
    "/v1/sagas",
    "/v1/sagas/waits",
    "/v1/sagas/{saga}",
    "/v1/sagas/{stuck}",
    "/v1/dead-letters",
    "/v1/dead-letters/{letter}",
    "/v1/definitions/waits",
    "/v1/audit",
    "/v1/audit/head",
    "/v1/audit/export",
    "/v1/tokens",
    "/v1/statistics",
    "/metrics",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/cancel",
    "/pause",
    "/resume",
    "/events",
    "/steps/signal/complete",
    "/steps/signal/fail",
    "/retry",
    "/resolve",
    "/skip",
    "/versions/",
    "?limit=",
    "&cursor=",
    "?status=",
    "running",
    "?saga={saga}",
    "&closed=true",
    "?definition=",
    "?key=",
    "%00",
    "%ff",
    "%2f",
    "..",
    "\n",
    "content-type: application/json\n",
    "content-type: application/yaml\n",
    "content-length: ",
    "expect: 100-continue\n",
    "accept: text/event-stream\n",
    "last-event-id: ",
    "prefer: wait=",
    "traceparent: ",
    "amends-actor: ",
    "authorization: Bearer ",
    "host: ",
    "transfer-encoding: chunked\n",
    "idempotency-key: ",
    "\n\n",
    "{\"reason\": \"a test\"}",
    "{\"output\": ",
    "\"effect\": ",
    "\"done\"",
    "\"undone\"",
    "{\"id\": ",
    "saga: waits\nkey: \"{{ input.id }}\"\nsteps:\n  signal: { wait: 1h }\n",
    "\u{0}",
    "18446744073709551616",
    "-1",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "\\u0000",
    "\\ud800",
    "é",
    "🦀",
];

/// How many requests one server gets: it keeps all that it takes.
const REQUESTS: u32 = 2_000;
/// An answer that takes longer waits for something, as it may have been asked to; its caller leaves.
const PATIENCE: Duration = Duration::from_millis(200);

const WAITS: &str = "saga: waits\nkey: \"{{ input.id }}\"\nsteps:\n  signal: { wait: 1h }\n";
const STICKS: &str = "saga: sticks\nkey: \"{{ input.id }}\"\nsteps:\n  call: { kind: retriable, \
    action: { post: \"nobody:/works\" }, retry: { attempts: 1, initial: 1ms, total: 100ms } }\n";

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

pub(crate) fn run(bytes: &[u8]) {
    WORLD.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|world| world.left == 0) {
            *slot = Some(World::new());
        }
        // A world that something went wrong in is not used again.
        let mut world = slot.take().expect("it was just made");
        world.left -= 1;
        if let Some(request) = world.request(bytes) {
            let _ = world.send(request);
        }
        *slot = Some(world);
    });
}

/// A server without its listener.
struct World {
    runtime: Runtime,
    router: Router,
    store: Arc<dyn StoreAndViews>,
    names: Vec<(&'static str, String)>,
    left: u32,
    _health: watch::Sender<Health>,
}

impl World {
    fn new() -> World {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let store: Arc<dyn StoreAndViews> = Arc::new(MemoryStore::new(Processes::One));
        let (health, healthy) = watch::channel(Health::Running);
        let (router, names) = runtime.block_on(serve(store.clone(), healthy));
        World { runtime, router, store, names, left: REQUESTS, _health: health }
    }

    /// The request that the bytes say; `None` where they say none. What HTTP could not carry is left out or encoded,
    /// because hyper would refuse it before our own code sees any of it.
    fn request(&self, bytes: &[u8]) -> Option<Request<Body>> {
        let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
        let body = bytes.get(end + 2..).unwrap_or_default();
        let mut lines = bytes[..end].split(|byte| *byte == b'\n');
        let first = String::from_utf8_lossy(lines.next()?);
        let (method, path) = first.split_once(' ')?;
        let path = self.names.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
        let mut request = Request::new(Body::from(body.to_vec()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
        *request.uri_mut() = encoded(&path).parse::<Uri>().ok()?;
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                request.headers_mut().append(name, value);
            }
        }
        Some(request)
    }

    /// What was answered; `None` where that takes longer than anybody waits here.
    fn send(&self, request: Request<Body>) -> Option<StatusCode> {
        self.runtime.block_on(async {
            let before = self.holds().await;
            let exchange = tokio::time::timeout(PATIENCE, async {
                let response = self.router.clone().oneshot(request).await.expect("the router always answers");
                let (head, body) = response.into_parts();
                (head, receive(body).await)
            });
            let (head, body) = exchange.await.ok()?;
            let shown = String::from_utf8_lossy(&body);
            // Not even 503: the store is there, the engine runs, and nothing is in flight.
            assert!(head.status.as_u16() < 500, "{}: {shown}", head.status);
            if head.status.as_u16() >= 400 {
                judge_problem(head.status, &head.headers, &body);
                assert_eq!(self.holds().await, before, "{} left something behind: {shown}", head.status);
            }
            Some(head.status)
        })
    }

    /// What there is, as far as only requests change it.
    async fn holds(&self) -> Value {
        let statistics = self.store.statistics().await.expect("memory is there");
        let audit = AuditQuery { saga: None, before: None, limit: 1 };
        let audit = self.store.audit(audit).await.expect("memory is there");
        let definitions = self.store.definitions(Which::Current).await.expect("memory is there");
        let versions: Vec<_> = definitions.into_iter().map(|definition| definition.version).collect();
        json!([statistics.started, audit.first().map(|entry| entry.place.to_string()), versions])
    }
}

/// A path as it can be sent.
fn encoded(path: &str) -> String {
    let sendable = |byte: &u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(byte);
    let one = |byte: u8| if sendable(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(one).collect()
}

/// A refusal says so, and says what.
fn judge_problem(status: StatusCode, headers: &http::HeaderMap, body: &[u8]) {
    if body.is_empty() {
        // An answer to HEAD has none.
        return;
    }
    assert_eq!(headers[http::header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = serde_json::from_slice(body).expect("a problem is JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:amends:problem:")));
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
}

/// The body, or what there is of one that goes on live.
async fn receive(body: Body) -> Vec<u8> {
    let mut frames = body.into_data_stream();
    let mut kept = Vec::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(2), frames.next()).await {
        kept.extend_from_slice(&frame.expect("an answer does not break off"));
    }
    kept
}

async fn serve(
    store: Arc<dyn StoreAndViews>,
    health: watch::Receiver<Health>,
) -> (Router, Vec<(&'static str, String)>) {
    let mut settings = Settings::default();
    let nowhere = "http://127.0.0.1:1".parse().expect("it is a URL");
    settings.participants.insert("nobody".into(), Participant::at(nowhere));
    let options = EngineOptions { store: store.clone(), views: store.clone(), settings };
    let engine = Engine::start(options).await.expect("memory takes an engine");
    let mut names = Vec::new();
    for (name, definition, source) in [("{saga}", "waits", WAITS), ("{stuck}", "sticks", STICKS)] {
        let compiled = lint::compile(source).expect("the definition is valid");
        engine.put_definition(source, compiled, "the fuzzer").await.expect("memory takes a definition");
        let wait_ms = (definition == "sticks").then_some(30_000);
        let input = Arc::new(json!({ "id": "seed" }));
        let request = StartRequest { definition: definition.into(), input, traceparent: None, wait_ms };
        names.push((name, engine.start_saga(request).await.expect("it is accepted").saga.id.to_string()));
    }
    let letters = DeadLetterQuery { limit: 1, ..DeadLetterQuery::default() };
    let letters = store.dead_letters(letters).await.expect("memory is there");
    names.push(("{letter}", letters.first().expect("nobody listens, so it is stuck").id.clone()));
    let app = App {
        followers: Followers::of(&engine),
        engine,
        store,
        known: Known { participants: vec!["nobody".to_owned()], queues: Vec::new() },
        reading: Reading::default(),
        metrics: HttpMetrics::default(),
        auth: None,
        redact: Vec::new(),
        listening: SocketAddr::from((Ipv4Addr::LOCALHOST, 7700)),
        hosts: Vec::new(),
        body_read_timeout: Duration::from_secs(1),
        health,
    };
    (router(Arc::new(app)), names)
}

#[cfg(test)]
mod tests;
