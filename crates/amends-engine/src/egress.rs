//! The one way out: every call to a participant is made here.
//!
//! It resolves a name once and dials only what that gave; it refuses addresses that no participant can have; it
//! follows no redirect; it bounds time and size; it verifies TLS. What comes back is an [`Answer`], and the line
//! between *nothing was sent* and *something may have been* is drawn on the careful side.

mod credentials;
mod guard;
mod tls;

#[cfg(test)]
mod tests;

use crate::orchestrator::OutgoingCall;
use crate::retry_after;
use crate::settings::{Participant, Settings};
use amends_core::answer::{Answer, Response};
use amends_core::limits;
use amends_core::text::innermost;
use amends_failpoints::failpoint;
use bytes::Bytes;
use guard::GuardedConnector;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tls::OwnClient;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);

/// The headers of a call, apart from those that the configuration adds.
const HEADERS: usize = 12;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const AMENDS_SAGA: HeaderName = HeaderName::from_static("amends-saga");
const AMENDS_STEP: HeaderName = HeaderName::from_static("amends-step");
const AMENDS_DIRECTION: HeaderName = HeaderName::from_static("amends-direction");
const AMENDS_ATTEMPT: HeaderName = HeaderName::from_static("amends-attempt");
const AMENDS_DEADLINE: HeaderName = HeaderName::from_static("amends-deadline");
const AMENDS_ACTION_KEY: HeaderName = HeaderName::from_static("amends-action-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

type HttpClient = Client<HttpsConnector<GuardedConnector>, Full<Bytes>>;

/// Makes calls to participants. It holds their connections.
pub(crate) struct Egress {
    participants: BTreeMap<String, Participant>,
    client: HttpClient,
    /// Of the participants that have TLS settings.
    own_clients: BTreeMap<String, OwnClient>,
}

impl Egress {
    /// A way out to the participants of the settings.
    ///
    /// # Errors
    /// Where the system's certificates cannot be used.
    pub(crate) fn new(settings: &Settings) -> Result<Egress, String> {
        // The process may have chosen its cryptography already; then this changes nothing.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig::builder().try_with_platform_verifier();
        let config = config.map_err(|error| format!("TLS cannot be set up: {error}"))?.with_no_client_auth();
        let connector = GuardedConnector::new(&settings.own_addresses);
        let own = settings.participants.iter().filter_map(|(name, participant)| {
            let tls = participant.tls.clone()?;
            Some((name.clone(), OwnClient::new(tls, connector.clone())))
        });
        Ok(Egress {
            participants: settings.participants.clone(),
            own_clients: own.collect(),
            client: client(config, connector),
        })
    }

    /// Makes a call and waits for its end, for no longer than it may take.
    pub(crate) async fn call(&self, call: OutgoingCall) -> Answer {
        let not_sent = |error: String| Answer::NotSent { error };
        let name = &call.request.participant;
        let Some(participant) = self.participants.get(name) else {
            return not_sent(format!("participant `{name}` is not configured; add [participants.{name}] with its url"));
        };
        let timeout = Duration::from_millis(call.request.timeout_ms);
        let (saga, step) = (call.saga, call.step_name.clone());
        let own_client = self.own_clients.get(name);
        let request = match self.request(participant, call).await {
            Ok(request) => request,
            Err(error) => return not_sent(error),
        };
        let client = match own_client {
            Some(own) => own.get().await,
            None => Ok(self.client.clone()),
        };
        let answer = match client {
            Ok(client) => exchange(&client, request, timeout).await,
            Err(error) => return not_sent(error),
        };
        if let Answer::Response(Response { status, body_dropped: Some(why), .. }) = &answer {
            // The step's output is null then, and somebody will wonder why.
            tracing::warn!(%saga, step, status, why, "the body of an answer is dropped");
        }
        answer
    }

    async fn request(&self, participant: &Participant, call: OutgoingCall) -> Result<Request<Full<Bytes>>, String> {
        let text = format!("{}{}", participant.url.as_str().trim_end_matches('/'), call.request.path);
        let cannot = |why: String| format!("the request to {text} cannot be made: {why}");
        let uri = Uri::try_from(&text).map_err(|error| cannot(error.to_string()))?;
        let method = Method::try_from(call.request.method.as_str()).map_err(|error| cannot(error.to_string()))?;
        let value = |value: String| HeaderValue::try_from(value).map_err(|error| cannot(error.to_string()));
        let mut headers = HeaderMap::with_capacity(HEADERS + participant.headers.len());
        headers.insert(IDEMPOTENCY_KEY, value(call.key)?);
        headers.insert(AMENDS_SAGA, value(call.saga.to_string())?);
        headers.insert(AMENDS_STEP, value(call.step_name)?);
        headers.insert(AMENDS_DIRECTION, HeaderValue::from_static(call.direction.as_str()));
        headers.insert(AMENDS_ATTEMPT, call.attempt.into());
        headers.insert(AMENDS_DEADLINE, value(deadline(SystemTime::now(), call.request.timeout_ms))?);
        headers.insert(TRACEPARENT, value(call.traceparent)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("amends/", env!("CARGO_PKG_VERSION"))));
        if let Some(key) = call.action_key {
            headers.insert(AMENDS_ACTION_KEY, value(key)?);
        }
        if call.request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        credentials::add_headers(&mut headers, participant).await?;
        let body = call.request.body.map_or_else(Bytes::new, Bytes::from);
        let mut request = Request::new(Full::new(body.clone()));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        credentials::sign(&mut request, &body, participant, SystemTime::now()).await?;
        Ok(request)
    }
}

/// A client that speaks TLS in this way, and plain HTTP where an address says so.
fn client(config: ClientConfig, connector: GuardedConnector) -> HttpClient {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector)
}

/// Sends a request and reads its answer. Whether something may have been sent is known by the connection: none of the
/// request's bytes leave before it has one, be it new or kept from an earlier call.
async fn exchange(client: &HttpClient, mut request: Request<Full<Bytes>>, timeout: Duration) -> Answer {
    let connection = capture_connection(&mut request);
    let exchange = async {
        match client.request(request).await {
            Ok(response) => receive(response).await,
            Err(error) if let Some(alert) = tls::refused_certificate(&error) => Answer::NotSent {
                error: format!(
                    "the participant ended TLS over the certificate that it was shown, or not shown: {alert:?}"
                ),
            },
            Err(error) if error.is_connect() => Answer::NotSent { error: innermost(&error) },
            Err(error) => Answer::Lost { error: format!("the connection broke: {}", innermost(&error)) },
        }
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(answer) => answer,
        Err(_) if connection.connection_metadata().is_none() => {
            Answer::NotSent { error: format!("no connection within {} ms", timeout.as_millis()) }
        }
        Err(_) => Answer::Lost { error: format!("no answer within {} ms", timeout.as_millis()) },
    }
}

/// Until when the attempt waits, as an HTTP date. That has whole seconds, so it is rounded up: a short timeout would
/// otherwise seem to be over before the request arrives.
fn deadline(now: SystemTime, timeout_ms: u64) -> String {
    let end = now + Duration::from_millis(timeout_ms);
    let past_second = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let up = if past_second == 0 { 0 } else { 1_000_000_000 - past_second };
    httpdate::fmt_http_date(end + Duration::from_nanos(up.into()))
}

/// Reads a response to its end, or to the bound.
async fn receive(response: http::Response<Incoming>) -> Answer {
    failpoint!(async CallAnswered);
    let status = response.status().as_u16();
    let headers = response.headers();
    let retry_after_ms =
        headers.get(RETRY_AFTER).and_then(|value| retry_after::parse(value.to_str().ok()?, SystemTime::now()));
    let is_text = is_declared_text(response.headers());
    let mut kept = Vec::new();
    let mut body = response.into_body();
    let mut body_dropped = None;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => kept.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(error) => {
                let error = format!("answered {status}, then the connection broke: {}", innermost(&error));
                return Answer::Lost { error };
            }
        }
        if kept.len() > limits::OUTPUT_BYTES {
            body_dropped = Some(format!("the answer is longer than {} bytes and is not kept", limits::OUTPUT_BYTES));
            kept.clear();
            break;
        }
    }
    let body = match parse(&kept, is_text) {
        Ok(body) => body,
        Err(why) => {
            body_dropped = Some(why);
            Value::Null
        }
    };
    Answer::Response(Response { status, retry_after_ms, body: Arc::new(body), body_dropped })
}

/// A body as JSON if it is JSON, otherwise as text; null if there is none.
fn parse(bytes: &[u8], is_text: bool) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
    if is_text {
        return Ok(text());
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if is_deeper(&value, limits::JSON_DEPTH) => {
            Err(format!("the answer is nested deeper than {} and is not kept", limits::JSON_DEPTH))
        }
        Ok(value) => Ok(value),
        Err(_) => Ok(text()),
    }
}

/// Whether a value is nested deeper than `bound`.
pub(crate) fn is_deeper(value: &Value, bound: usize) -> bool {
    match value {
        Value::Array(items) => bound == 0 || items.iter().any(|item| is_deeper(item, bound - 1)),
        Value::Object(fields) => bound == 0 || fields.values().any(|field| is_deeper(field, bound - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_declared_text(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| kind.starts_with("text/"))
}
