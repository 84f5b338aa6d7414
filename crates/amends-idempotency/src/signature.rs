//! The layer that lets only signed calls through. What a signature is, `amends_core::signature` says.

use crate::layer::read_body;
use crate::problem::Problem;
use amends_core::signature::{
    ACTION_KEY, CONTENT_DIGEST, IDEMPOTENCY_KEY, Key, Received, Refusal, SIGNATURE, SIGNATURE_INPUT, Validity,
    Verified, verify,
};
use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tower::{Layer, Service};

/// Lets only calls through that a saga server has signed (RFC 9421), whatever their method. Everything else is answered 401
/// before the handler runs, and before anything is read of a body whose head is not signed.
///
/// Lay it around [`IdempotencyLayer`](crate::IdempotencyLayer), that is, after it: nothing of what is refused is stored then.
#[derive(Clone)]
pub struct SignatureLayer {
    verifier: Arc<Verifier>,
}

/// How a [`SignatureLayer`] behaves.
#[derive(Clone)]
pub struct SignatureOptions {
    /// How far from now a signature may have been made, before or after, in whole seconds: 5 minutes by default. As long as
    /// that, a call that somebody has overheard can be repeated; the idempotency key keeps it from taking effect again.
    pub tolerance: Duration,
    /// How many bytes a call's body may have: 1 MiB by default.
    pub request_bytes: usize,
    /// Where the time comes from.
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// The service that [`SignatureLayer`] makes of another.
#[derive(Clone)]
pub struct SignedOnly<S> {
    inner: S,
    verifier: Arc<Verifier>,
}

struct Verifier {
    keys: Vec<Key>,
    options: SignatureOptions,
}

impl SignatureLayer {
    /// A layer that takes what is signed by `key`, or by `other`, which is there while one key is being changed for the next.
    #[must_use]
    pub fn new(key: Key, other: Option<Key>, options: SignatureOptions) -> SignatureLayer {
        let keys = [key].into_iter().chain(other).collect();
        SignatureLayer { verifier: Arc::new(Verifier { keys, options }) }
    }
}

impl Default for SignatureOptions {
    fn default() -> SignatureOptions {
        SignatureOptions {
            tolerance: Duration::from_secs(5 * 60),
            request_bytes: 1024 * 1024,
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl<S> Layer<S> for SignatureLayer {
    type Service = SignedOnly<S>;

    fn layer(&self, inner: S) -> SignedOnly<S> {
        SignedOnly { inner, verifier: Arc::clone(&self.verifier) }
    }
}

impl<S> Service<Request> for SignedOnly<S>
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
        let verifier = Arc::clone(&self.verifier);
        Box::pin(async move {
            match verifier.admit(request).await {
                Ok(request) => inner.call(request).await.map(IntoResponse::into_response),
                Err(problem) => Ok(problem.into_response()),
            }
        })
    }
}

impl Verifier {
    /// The same request, read whole, if it is signed.
    async fn admit(&self, request: Request) -> Result<Request, Problem> {
        let (parts, body) = request.into_parts();
        let verified = self.verify(&parts).map_err(Problem::NotSigned)?;
        let body = read_body(body, self.options.request_bytes).await?;
        verified.with_body(&body).map_err(Problem::NotSigned)?;
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    fn verify<'a>(&self, parts: &'a Parts) -> Result<Verified<'a>, Refusal> {
        // Inside a nested router the path has lost its beginning.
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        let received = Received {
            method: parts.method.as_str(),
            path: uri.path(),
            query: uri.query(),
            idempotency_key: single(parts, IDEMPOTENCY_KEY)?,
            action_key: single(parts, ACTION_KEY)?,
            content_digest: single(parts, CONTENT_DIGEST)?,
            signature_input: single(parts, SIGNATURE_INPUT)?,
            signature: single(parts, SIGNATURE)?,
        };
        let since_epoch = (self.options.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let validity =
            Validity { now_seconds: since_epoch.as_secs(), tolerance_seconds: self.options.tolerance.as_secs() };
        verify(&received, &self.keys, validity)
    }
}

/// A header that may be there once. Were it there twice, the handler might read another one than was verified.
fn single<'a>(parts: &'a Parts, header: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = parts.headers.get_all(header).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Malformed { header, why: "it was sent more than once" });
    }
    value.to_str().map(Some).map_err(|_| Refusal::Malformed { header, why: "it is not printable ASCII" })
}
