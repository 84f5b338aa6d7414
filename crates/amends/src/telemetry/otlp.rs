//! OTLP over HTTP in its JSON encoding (OpenTelemetry Protocol 1.x, "OTLP/HTTP").
//!
//! Written by hand, because the OpenTelemetry SDK with its OTLP exporter brings protobuf and some thirty crates into
//! every build, for a span API that draws its own ids and times, which here are given. This is one request of a
//! stable format, sent with the HTTP client that is there anyway.

use super::spans::Span;
use amends_core::text::hexadecimal;
use amends_core::time::Timestamp;
use anyhow::Context;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use std::time::Duration;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before each further attempt.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// `SPAN_KIND_CLIENT`.
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// A collector of traces.
pub(super) struct Collector {
    url: Url,
    http: reqwest::Client,
    service_name: String,
}

impl Collector {
    /// The collector whose base address is `endpoint`.
    pub(super) fn at(endpoint: &str, service_name: &str) -> anyhow::Result<Collector> {
        let base = endpoint.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/v1/traces")).context("the address of the collector is no URL")?;
        // The process may have chosen its cryptography already; then this changes nothing.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .context("no HTTP client for traces can be set up")?;
        Ok(Collector { url, http, service_name: service_name.to_owned() })
    }

    /// Sends spans; tries again where the protocol says that it can help.
    pub(super) async fn send(&self, spans: &[Span]) -> anyhow::Result<()> {
        let body = self.request(spans);
        let mut backoff = BACKOFF.iter();
        loop {
            let answer = self.http.post(self.url.clone()).json(&body).send().await;
            let (error, again) = match answer {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => {
                    (anyhow::anyhow!("the collector answered {}", response.status()), is_passing(response.status()))
                }
                Err(error) => (anyhow::Error::new(error), true),
            };
            match backoff.next().filter(|_| again) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(error),
            }
        }
    }

    fn request(&self, spans: &[Span]) -> Value {
        let spans: Vec<Value> = spans.iter().map(span).collect();
        json!({ "resourceSpans": [{
            "resource": { "attributes": [
                attribute("service.name", &self.service_name),
                attribute("service.version", env!("CARGO_PKG_VERSION")),
            ] },
            "scopeSpans": [{ "scope": { "name": "amends", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
        }] })
    }
}

/// The statuses that a sender may repeat its request after (OTLP, "Failures").
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn span(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut json = json!({
        "traceId": hexadecimal(&span.trace_id),
        "spanId": hexadecimal(&span.id),
        "name": span.name,
        "kind": if span.is_call { CLIENT } else { INTERNAL },
        "startTimeUnixNano": nanoseconds(span.began),
        "endTimeUnixNano": nanoseconds(span.ended),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent_id {
        json["parentSpanId"] = hexadecimal(&parent).into();
    }
    if let Some(message) = &span.error {
        json["status"] = json!({ "code": ERROR, "message": message });
    }
    json
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are texts in this encoding.
fn nanoseconds(at: Timestamp) -> String {
    format!("{}000000", at.0)
}
