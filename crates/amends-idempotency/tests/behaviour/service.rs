//! The service under test: each of its routes writes one effect and then behaves in its own way.

use amends_idempotency::rusqlite::{self, Connection};
use amends_idempotency::{IdempotencyLayer, Options, Store, Transaction, TransactionError};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tower::ServiceExt;

pub const DAY_SECONDS: u64 = 24 * 60 * 60;

pub struct Service {
    pub router: Router,
    pub signals: Arc<Signals>,
    folder: TempDir,
}

/// What the test and the service tell each other.
pub struct Signals {
    /// A permit for each held handler that has written its effect.
    pub entered: Semaphore,
    /// A permit lets one held handler answer.
    pub open: Semaphore,
    /// A permit for each request that the server has let go of.
    pub gone: Semaphore,
    /// A permit for each detached task that found its transaction ended.
    pub ended: Semaphore,
}

/// An answer as a client sees it.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Clone)]
pub enum Caller {
    Single,
    ByHeader,
}

impl Service {
    pub fn new() -> Service {
        Service::with(Options::default(), Caller::Single)
    }

    pub fn with(options: Options, caller: Caller) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("service.db")).unwrap();
        connection.busy_timeout(Duration::from_millis(200)).unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                 CREATE TABLE effects (id INTEGER PRIMARY KEY, what TEXT NOT NULL UNIQUE);
                 CREATE TABLE dangling (effect INTEGER REFERENCES effects (id) DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        let store = Store::new(connection).unwrap();
        let layer = match caller {
            Caller::Single => IdempotencyLayer::single_caller(store, options),
            Caller::ByHeader => IdempotencyLayer::by_principal(store, options, |parts| {
                parts.headers.get("x-user")?.to_str().ok().map(str::to_owned)
            }),
        };
        let none = || Semaphore::new(0);
        let signals = Arc::new(Signals { entered: none(), open: none(), gone: none(), ended: none() });
        let router = Router::new()
            .route("/scripted", any(scripted))
            .route("/other", any(scripted))
            .route("/free", any(async || "free"))
            .route("/held", post(held))
            .route("/panic", post(panics))
            .route("/panic-inside", post(panics_inside))
            .route("/panic-elsewhere", post(panics_elsewhere))
            .route("/stream", post(streams))
            .route("/commits", post(commits))
            .route("/breaks", post(breaks))
            .route("/dangling", post(dangling))
            .route("/late", post(late))
            .route("/keys", post(keys))
            .with_state(Arc::clone(&signals))
            .route_layer(layer);
        Service { router, signals, folder }
    }

    /// A service whose time the test sets, in seconds.
    pub fn timed() -> (Service, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(1_000_000));
        let time = Arc::clone(&seconds);
        let clock = Arc::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(time.load(Ordering::SeqCst)));
        (Service::with(Options { clock, ..Options::default() }, Caller::Single), seconds)
    }

    pub async fn send(&self, request: Request) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub fn database(&self) -> Connection {
        Connection::open(self.folder.path().join("service.db")).unwrap()
    }

    /// How many effects were committed.
    pub fn effects(&self) -> i64 {
        self.count("effects")
    }

    pub fn records(&self) -> i64 {
        self.count("amends_idempotency")
    }

    /// How many keys are remembered whose records have expired and gone.
    pub fn remembered(&self) -> i64 {
        self.count("amends_idempotency_effect")
    }

    fn count(&self, table: &str) -> i64 {
        self.database().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// Serves on loopback, and tells by `gone` when the server lets go of a request.
    pub async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let watched = axum::middleware::from_fn_with_state(Arc::clone(&self.signals), tell_when_gone);
        let router = self.router.clone().layer(watched);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

impl Reply {
    /// The last part of a problem's type, and the status.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["status"], self.status);
        let kind = body["type"].as_str().unwrap().strip_prefix("urn:amends:problem:").unwrap();
        (self.status, kind.to_owned())
    }

    pub fn asks_again(&self) -> bool {
        self.headers.contains_key("retry-after")
    }

    pub fn replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }

    pub fn null_compensation(&self) -> bool {
        self.headers.get("amends-null-compensation").is_some_and(|value| value == "true")
    }
}

/// A POST with a key.
pub fn keyed(path: &str, key: &str, body: impl Into<Body>) -> Request {
    Request::post(path).header("idempotency-key", key).body(body.into()).unwrap()
}

/// A compensation of the action under `action_key`.
pub fn undo(path: &str, key: &str, action_key: &str, body: impl Into<Body>) -> Request {
    let request = Request::post(path).header("idempotency-key", key).header("amends-action-key", action_key);
    request.body(body.into()).unwrap()
}

/// A script for the route that does as it is told.
pub fn answer(status: u16) -> String {
    json!({ "status": status }).to_string()
}

async fn write(transaction: &Transaction, what: &str) -> Result<(), TransactionError> {
    let what = what.to_owned();
    transaction.with(move |database| insert(database, &what)).await
}

/// The name is unique in each run, so that an effect that happens twice is two rows and not an error.
fn insert(database: &Connection, what: &str) -> rusqlite::Result<()> {
    database
        .execute("INSERT INTO effects (what) SELECT ?1 || '-' || (SELECT count(*) FROM effects)", [what])
        .map(|_| ())
}

/// Answers with the status, headers and body that the request asks for.
async fn scripted(transaction: Transaction, Json(script): Json<Value>) -> Result<Response, TransactionError> {
    write(&transaction, "scripted").await?;
    let status = StatusCode::from_u16(script["status"].as_u64().unwrap() as u16).unwrap();
    let mut response = (status, script["body"].as_str().unwrap_or("answered").to_owned()).into_response();
    let headers: HashMap<String, String> = serde_json::from_value(script["headers"].clone()).unwrap_or_default();
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).unwrap();
        response.headers_mut().append(HeaderName::try_from(name).unwrap(), value);
    }
    Ok(response)
}

async fn held(State(signals): State<Arc<Signals>>, transaction: Transaction) -> Result<StatusCode, TransactionError> {
    write(&transaction, "held").await?;
    signals.entered.add_permits(1);
    signals.open.acquire().await.unwrap().forget();
    Ok(StatusCode::CREATED)
}

async fn panics(transaction: Transaction) -> StatusCode {
    write(&transaction, "panic").await.unwrap();
    panic!("as it was told to");
}

async fn panics_inside(transaction: Transaction) -> StatusCode {
    let panicking = transaction.with(|database| {
        insert(database, "panic")?;
        panic!("as it was told to")
    });
    panicking.await.unwrap()
}

/// Panics while a task of its own still has the transaction.
async fn panics_elsewhere(State(signals): State<Arc<Signals>>, transaction: Transaction) -> StatusCode {
    write(&transaction, "panic").await.unwrap();
    tokio::spawn(async move {
        signals.open.acquire().await.unwrap().forget();
        drop(transaction);
    });
    panic!("as it was told to");
}

async fn streams(transaction: Transaction) -> Result<Response, TransactionError> {
    write(&transaction, "stream").await?;
    // A mapped body does not know its length.
    let stream = Full::new(Bytes::from_static(b"a stream")).map_frame(|frame| frame);
    Ok(([("location", "/streams/1")], Body::new(stream)).into_response())
}

/// Commits by itself, hides the error and goes on writing.
async fn commits(transaction: Transaction) -> StatusCode {
    let committed = transaction.with(|database| {
        insert(database, "before")?;
        let refused = database.execute_batch("COMMIT").is_err();
        insert(database, "after").map(|()| refused)
    });
    assert!(committed.await.unwrap_or(true), "the commit must be refused");
    StatusCode::CREATED
}

/// Breaks its transaction by a statement that rolls it back, and goes on writing.
async fn breaks(transaction: Transaction) -> StatusCode {
    let broken = transaction.with(|database| {
        database.execute("INSERT INTO effects (id, what) VALUES (1, 'one')", [])?;
        let _conflict = database.execute("INSERT OR ROLLBACK INTO effects (id, what) VALUES (1, 'one')", []);
        let _alone = insert(database, "outside the transaction");
        Ok(())
    });
    broken.await.unwrap();
    assert!(matches!(write(&transaction, "later").await, Err(TransactionError::Ended)));
    StatusCode::CREATED
}

/// Writes what the commit will refuse.
async fn dangling(transaction: Transaction) -> Result<StatusCode, TransactionError> {
    write(&transaction, "dangling").await?;
    transaction.with(|database| database.execute("INSERT INTO dangling VALUES (4711)", [])).await?;
    Ok(StatusCode::CREATED)
}

/// Leaves a task behind that writes once the answer is on its way.
async fn late(State(signals): State<Arc<Signals>>, transaction: Transaction) -> StatusCode {
    tokio::spawn(async move {
        signals.open.acquire().await.unwrap().forget();
        assert!(matches!(write(&transaction, "late").await, Err(TransactionError::Ended)));
        signals.ended.add_permits(1);
    });
    StatusCode::CREATED
}

async fn keys(transaction: Transaction) -> Json<Value> {
    Json(json!({ "key": transaction.key(), "action_key": transaction.action_key() }))
}

async fn tell_when_gone(State(signals): State<Arc<Signals>>, request: Request, next: Next) -> Response {
    struct Tell(Arc<Signals>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.gone.add_permits(1);
        }
    }
    let _tells_when_dropped = Tell(signals);
    next.run(request).await
}
