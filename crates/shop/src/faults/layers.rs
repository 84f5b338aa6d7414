//! Where faults strike, and how they are seen and changed.

use super::{CrashPoint, Direction, Fault, FaultKind, Faults, Point, Target};
use crate::answer::{Answer, Refusal};
use crate::serving::Shop;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The layer outside the idempotency layer.
pub async fn around_the_transaction(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    let target = Target::of(&request);
    let mut place = 0;
    while let Some((fault, after)) = faults.strike(Point::Arrival, &target, place) {
        place = after;
        if let Some(answer) = suffer(&faults, fault).await {
            return answer;
        }
    }
    let answer = next.run(request).await;
    if !answer.status().is_success() {
        return answer;
    }
    place = 0;
    while let Some((fault, after)) = faults.strike(Point::Departure, &target, place) {
        place = after;
        suffer(&faults, fault).await;
    }
    answer
}

/// The layer inside the idempotency layer: only what the handler really runs for comes here.
pub async fn inside_the_transaction(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    let target = Target::of(&request);
    if let Some((fault, _)) = faults.strike(Point::Handler, &target, 0)
        && let Some(answer) = suffer(&faults, fault).await
    {
        return answer;
    }
    let answer = next.run(request).await;
    if answer.status().is_success()
        && let Some((fault, _)) = faults.strike(Point::Commit, &target, 0)
    {
        suffer(&faults, fault).await;
    }
    answer
}

/// `GET /faults`.
pub async fn show(State(shop): State<Shop>) -> Answer {
    let state = shop.faults.state();
    Answer::Done(json!({ "faults": state.armed, "firings": state.firings }))
}

/// `PUT /faults`: the body is the new list.
pub async fn replace(State(shop): State<Shop>, Json(faults): Json<Vec<Fault>>) -> Answer {
    if let Err(error) = faults.iter().try_for_each(Fault::check) {
        return Refusal::invalid(error.to_string());
    }
    shop.faults.replace(faults);
    show(State(shop)).await
}

/// Lets a fault happen; the answer that it gives, if it gives one.
async fn suffer(faults: &Faults, fault: FaultKind) -> Option<Response> {
    match fault {
        FaultKind::Decline => {
            Some(refusal(StatusCode::PAYMENT_REQUIRED, "declined", "The card was declined.").into_response())
        }
        FaultKind::OutOfStock => {
            Some(refusal(StatusCode::CONFLICT, "out-of-stock", "There is not enough of it.").into_response())
        }
        FaultKind::Latency { min_ms, max_ms } => {
            tokio::time::sleep(Duration::from_millis(faults.between(min_ms, max_ms))).await;
            None
        }
        FaultKind::Error { status } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(refusal(status, "fault", "This error was asked for.").into_response())
        }
        FaultKind::Forbidden => {
            Some(refusal(StatusCode::FORBIDDEN, "forbidden", "The credential is not the right one.").into_response())
        }
        FaultKind::RateLimit { retry_after_s } => {
            let answer = refusal(StatusCode::TOO_MANY_REQUESTS, "rate-limit", "Too many requests.");
            Some(([(header::RETRY_AFTER, HeaderValue::from(retry_after_s))], answer).into_response())
        }
        FaultKind::TimeoutAfterEffect { hold_ms } => {
            tokio::time::sleep(Duration::from_millis(hold_ms)).await;
            None
        }
        // The task that serves the connection unwinds, and with it goes the connection; no panic is reported.
        FaultKind::LostResponse => std::panic::resume_unwind(Box::new("the response was lost on purpose")),
        FaultKind::Crash { at: CrashPoint::BeforeEffect | CrashPoint::BeforeCommit | CrashPoint::AfterCommit } => {
            std::process::abort()
        }
    }
}

fn refusal(status: StatusCode, kind: &'static str, detail: &str) -> Refusal {
    Refusal { status, kind, detail: detail.to_owned() }
}

impl Target {
    fn of(request: &Request) -> Target {
        let direction = match (request.method(), request.headers().contains_key("amends-action-key")) {
            (&Method::GET | &Method::HEAD, _) => Direction::Probe,
            (_, true) => Direction::Compensation,
            (_, false) => Direction::Action,
        };
        Target {
            direction,
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            key: key(request.headers()),
        }
    }
}

/// The idempotency key, quoted or not, as people read it.
fn key(headers: &HeaderMap) -> String {
    let value = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.trim_matches('"').to_owned()
}
