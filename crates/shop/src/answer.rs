//! What a service answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A handler's answer.
#[derive(Debug)]
pub enum Answer {
    /// 201: something is there that was not.
    Created(Value),
    /// 200.
    Done(Value),
    /// 202: something was begun.
    Accepted(Value),
    /// A refusal, after which nothing has changed.
    Refused(Refusal),
}

/// Why a service refuses, as `application/problem+json`.
#[derive(Debug)]
pub struct Refusal {
    /// The response's status.
    pub status: StatusCode,
    /// The last part of the problem's type.
    pub kind: &'static str,
    /// One sentence for people.
    pub detail: String,
}

impl Refusal {
    /// 409, to stay: asking again changes nothing, so there is no `Retry-After`.
    pub fn conflict(kind: &'static str, detail: impl Into<String>) -> Answer {
        Refusal { status: StatusCode::CONFLICT, kind, detail: detail.into() }.into()
    }

    /// 422: the request makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Answer {
        Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, kind: "invalid-request", detail: detail.into() }.into()
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Answer {
        Refusal { status: StatusCode::NOT_FOUND, kind: "not-found", detail: detail.into() }.into()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        Answer::Refused(refusal)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Answer::Created(body) => (StatusCode::CREATED, Json(body)).into_response(),
            Answer::Done(body) => Json(body).into_response(),
            Answer::Accepted(body) => (StatusCode::ACCEPTED, Json(body)).into_response(),
            Answer::Refused(refusal) => refusal.into_response(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:amends:shop:{}", self.kind),
            "title": self.kind.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
