//! The tower layer: what a request must bring before anything is looked up.

use crate::execution::{Call, Execution, Handler};
use crate::in_flight::{Claim, InFlight, ScopedKey};
use crate::problem::Problem;
use crate::store::{Store, StoreError};
use amends_core::idempotency::{Direction, Fingerprint, FingerprintParts, parse_key};
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tower::{Layer, Service};
use tracing::Instrument;

/// Makes the routes that it is laid over idempotent. There are two ways to make one, and each says whose keys are
/// whose; a layer that does not know would answer one caller with what another was told.
///
/// Lay it over matched routes only (`Router::route_layer`), and inside whatever authenticates and limits callers, so
/// that their refusals are never stored.
#[derive(Clone)]
pub struct IdempotencyLayer {
    shared: Arc<Shared>,
}

/// How a layer behaves.
#[derive(Clone)]
pub struct Options {
    /// Whether a request without a key is refused (the default). Where it is not, such a request runs in a transaction of its
    /// own, and nothing keeps a repeat from running again.
    pub key_required: bool,
    /// How long a repeat waits for the first request, before it is answered 409. Zero by default.
    pub wait: Duration,
    /// How long an answer or a tombstone is kept: 30 days by default. It must be longer than any saga and its dead letters live,
    /// or a repeat runs again. An action can be undone even after that: its key is remembered.
    pub expiry: Duration,
    /// How many bytes a request's body may have: 1 MiB by default.
    pub request_bytes: usize,
    /// How many bytes of a response's body are kept: 256 KiB by default. A longer one is sent on and not replayed.
    pub response_bytes: usize,
    /// Which headers of an answer are kept and replayed.
    pub replayed_headers: Vec<HeaderName>,
    /// Where the time comes from.
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// The service that [`IdempotencyLayer`] makes of another.
#[derive(Clone)]
pub struct Idempotency<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What all requests of one layer have in common.
pub struct Shared {
    pub store: Store,
    pub options: Options,
    scope: Scope,
}

enum Scope {
    SingleCaller,
    Principal(PrincipalOf),
}

type PrincipalOf = Box<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const AMENDS_ACTION_KEY: &str = "amends-action-key";

impl IdempotencyLayer {
    /// A layer for a service whose requests all come from one caller, such as a saga server: all keys are that caller's.
    #[must_use]
    pub fn single_caller(store: Store, options: Options) -> IdempotencyLayer {
        IdempotencyLayer { shared: Arc::new(Shared { store, options, scope: Scope::SingleCaller }) }
    }

    /// A layer that keeps the keys of each principal apart. `principal` names the caller, usually by what authentication
    /// left in the request's extensions; a request for which it returns `None` or nothing but `""` is answered 401.
    #[must_use]
    pub fn by_principal(
        store: Store,
        options: Options,
        principal: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> IdempotencyLayer {
        IdempotencyLayer { shared: Arc::new(Shared { store, options, scope: Scope::Principal(Box::new(principal)) }) }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            key_required: true,
            wait: Duration::ZERO,
            expiry: Duration::from_secs(30 * 24 * 60 * 60),
            request_bytes: 1024 * 1024,
            response_bytes: 256 * 1024,
            replayed_headers: vec![
                header::CONTENT_TYPE,
                header::CONTENT_ENCODING,
                header::CONTENT_LANGUAGE,
                header::CONTENT_DISPOSITION,
                header::ETAG,
                header::LAST_MODIFIED,
                header::LINK,
                header::LOCATION,
            ],
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Idempotency<S> {
        Idempotency { inner, shared: Arc::clone(&self.shared) }
    }
}

impl<S> Service<Request> for Idempotency<S>
where
    S: Service<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that was polled ready is the one to call; its clone may not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let handler = move |request| -> Pin<Box<dyn Future<Output = Response> + Send>> {
            let answer = inner.call(request);
            Box::pin(async move { answer.await.into_response() })
        };
        if request.method().is_safe() {
            let mut handler = handler;
            return Box::pin(async move { Ok(handler(request).await) });
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.serve(request, Box::new(handler)).await.into_response()) })
    }
}

impl Shared {
    /// Reads the request, claims its key and runs it, in a task of its own: a client that goes away stops nothing.
    async fn serve(self: Arc<Self>, request: Request, handler: Handler) -> Result<Response, Problem> {
        let call = self.read(request).await?;
        let claim = self.claim(&call).await?;
        let execution = Execution { shared: self, call, claim };
        let run = tokio::spawn(execution.run(handler).in_current_span());
        match run.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => Err(Problem::HandlerFailed),
            Err(_cancelled) => Err(StoreError::ShuttingDown.into()),
        }
    }

    async fn read(&self, request: Request) -> Result<Call, Problem> {
        let (parts, body) = request.into_parts();
        let key = key(&parts, IDEMPOTENCY_KEY, "Idempotency-Key")?;
        let action_key = key_of_action(&parts, key.as_deref())?;
        if key.is_none() && (self.options.key_required || action_key.is_some()) {
            return Err(Problem::KeyMissing);
        }
        let scope = self.scope.of(&parts)?;
        let body = read_body(body, self.options.request_bytes).await?;
        let fingerprint = fingerprint(&parts, &body);
        let scoped = |key| ScopedKey { scope: scope.clone(), key };
        Ok(Call { key: key.map(scoped), action_key: action_key.map(scoped), fingerprint, parts, body })
    }

    /// Claims the request's key in this process; for a compensation, also waits until its action does not run.
    async fn claim(&self, call: &Call) -> Result<Option<Claim>, Problem> {
        let Some(key) = &call.key else { return Ok(None) };
        let deadline = tokio::time::Instant::now() + self.options.wait;
        let in_flight: &Arc<InFlight> = self.store.in_flight();
        let claim = loop {
            let run = match in_flight.claim(key, &call.fingerprint) {
                Ok(claim) => break claim,
                Err(run) => run,
            };
            // Another request under the same key is the client's mistake, which waiting does not mend.
            if run.fingerprint != call.fingerprint {
                return Err(Problem::OtherRequest);
            }
            tokio::time::timeout_at(deadline, run.ended()).await.map_err(|_| Problem::InFlight)?;
        };
        while let Some(run) = call.action_key.as_ref().and_then(|key| in_flight.find(key)) {
            tokio::time::timeout_at(deadline, run.ended()).await.map_err(|_| Problem::ActionInFlight)?;
        }
        Ok(Some(claim))
    }
}

impl Scope {
    fn of(&self, parts: &Parts) -> Result<String, Problem> {
        match self {
            Scope::SingleCaller => Ok(String::new()),
            Scope::Principal(principal) => {
                principal(parts).filter(|name| !name.is_empty()).ok_or(Problem::PrincipalMissing)
            }
        }
    }
}

impl Call {
    pub fn direction(&self) -> Direction {
        if self.action_key.is_some() { Direction::Compensation } else { Direction::Action }
    }
}

fn key(parts: &Parts, name: &str, header: &'static str) -> Result<Option<String>, Problem> {
    let values = parts.headers.get_all(name).iter().map(|value| value.as_bytes());
    parse_key(values).map_err(|error| Problem::KeyMalformed { header, error })
}

fn key_of_action(parts: &Parts, own: Option<&str>) -> Result<Option<String>, Problem> {
    let action = key(parts, AMENDS_ACTION_KEY, "Amends-Action-Key")?;
    if action.is_some() && action.as_deref() == own {
        return Err(Problem::ActionKeyIsOwnKey);
    }
    Ok(action)
}

/// A request's body, of at most `limit` bytes.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::RequestTooLarge { limit }),
        Err(_broken_off) => Err(Problem::RequestUnreadable),
    }
}

fn fingerprint(parts: &Parts, body: &[u8]) -> Fingerprint {
    Fingerprint::new(&FingerprintParts {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        content_type: parts.headers.get(header::CONTENT_TYPE).map_or(&[], |value| value.as_bytes()),
        body,
    })
}
