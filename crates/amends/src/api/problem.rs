//! Every error that a caller can meet, with its status and its stable type (RFC 9457). The one place where errors
//! of the engine, the store and the framework become answers.

use crate::auth::Refusal;
use amends_client::{Diagnostic, Problem};
use amends_core::text::innermost;
use amends_engine::{EngineError, Unreadable};
use amends_store::StoreError;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// What every type begins with.
const PREFIX: &str = "urn:amends:problem:";

/// A kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of its type.
    pub name: &'static str,
    /// The status it is answered with.
    pub status: u16,
    /// It in a few words.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident $name:literal $status:literal $title:literal)*) => {
        $(pub(crate) const $constant: &Kind = &Kind { name: $name, status: $status, title: $title };)*

        /// Every kind there is.
        pub const ALL: &[&Kind] = &[$($constant),*];
    };
}

kinds! {
    // The request as a message.
    UNKNOWN_ADDRESS "unknown-address" 404 "There is nothing at this address"
    METHOD_NOT_ALLOWED "method-not-allowed" 405 "This address does not take this method"
    WRONG_HOST "wrong-host" 421 "The request is meant for another server"
    ADDRESS_TOO_LONG "address-too-long" 414 "The address is too long"
    HEADERS_TOO_LARGE "headers-too-large" 431 "The headers are too large"
    BODY_TIMEOUT "body-timeout" 408 "The body came too slowly"
    BODY_BROKEN "body-broken" 400 "The body broke off"
    TOO_LARGE "too-large" 413 "The body is too large"
    UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" 415 "The body is of a type that is not taken here"
    // Who sent it.
    UNAUTHENTICATED "unauthenticated" 401 "A token is needed"
    FORBIDDEN "forbidden" 403 "The caller may not do this"
    ISSUER_UNAVAILABLE "issuer-unavailable" 503 "The issuer of tokens does not answer"
    // What it says.
    NOT_UTF8 "not-utf8" 400 "The text is not UTF-8"
    MALFORMED_JSON "malformed-json" 400 "The body is not JSON"
    TOO_DEEP "too-deep" 400 "The JSON is nested too deep"
    DUPLICATE_KEY "duplicate-key" 400 "The JSON has a key twice"
    INEXACT_NUMBER "inexact-number" 400 "A number cannot be kept exactly"
    BAD_BODY "bad-body" 400 "The body does not have the right fields"
    BAD_ADDRESS "bad-address" 400 "The address cannot be read"
    BAD_ID "bad-id" 400 "The id is not one"
    BAD_QUERY "bad-query" 400 "The query cannot be understood"
    BAD_CURSOR "bad-cursor" 400 "The cursor is not from this list"
    BAD_HEADER "bad-header" 400 "A header cannot be understood"
    BAD_REASON "bad-reason" 400 "A reason is needed"
    // What there is not.
    UNKNOWN_DEFINITION "unknown-definition" 404 "There is no such definition"
    UNKNOWN_SAGA "unknown-saga" 404 "There is no such saga"
    UNKNOWN_STEP "unknown-step" 404 "The saga has no such step"
    UNKNOWN_DEAD_LETTER "unknown-dead-letter" 404 "There is no such dead letter"
    UNKNOWN_QUEUE "unknown-queue" 404 "There is no such queue"
    UNKNOWN_REDRIVE "unknown-redrive" 404 "There is no such redrive"
    UNKNOWN_TOKEN "unknown-token" 404 "There is no such token"
    // What does not fit.
    BAD_INPUT "bad-input" 422 "The input does not fit the definition"
    KEY_REUSED "key-reused" 422 "The key was used with another input"
    BAD_DEFINITION "bad-definition" 422 "The definition is not valid"
    OTHER_NAME "other-name" 422 "The definition has another name"
    CONFLICT "conflict" 409 "The state does not allow it"
    // What is wrong here and not there.
    BUSY_SAGA "busy-saga" 503 "Somebody else is working on the saga"
    OVERLOADED "overloaded" 503 "Too many sagas are in flight"
    TOO_MANY_READS "too-many-reads" 429 "More is read than there is time for"
    STOPPING "stopping" 503 "The server is stopping"
    STORE_UNAVAILABLE "store-unavailable" 503 "The store is not available"
    QUEUE_UNAVAILABLE "queue-unavailable" 503 "The queue cannot be used"
    STORE_DAMAGED "store-damaged" 500 "The store is damaged"
    UNREADABLE_SAGA "unreadable-saga" 500 "The saga cannot be read"
    INTERNAL "internal" 500 "The server made a mistake"
}

/// A problem on its way to the caller.
#[derive(Debug)]
pub struct ApiProblem {
    kind: &'static Kind,
    detail: String,
    diagnostics: Vec<Diagnostic>,
}

impl ApiProblem {
    /// A problem of this kind; `detail` says what is wrong here and how to mend it.
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> ApiProblem {
        ApiProblem { kind, detail: detail.into(), diagnostics: Vec::new() }
    }

    /// What is wrong here and how to mend it.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn with_diagnostics(self, diagnostics: Vec<Diagnostic>) -> ApiProblem {
        ApiProblem { diagnostics, ..self }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> &'static Kind {
        self.kind
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).expect("the table has only statuses that exist")
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = Problem {
            kind: format!("{PREFIX}{}", self.kind.name),
            title: self.kind.title.to_owned(),
            status: self.kind.status,
            detail: self.detail,
            diagnostics: self.diagnostics,
        };
        let body = serde_json::to_vec(&problem).expect("a problem is plain data");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Part of the body may still be on its way: what comes after it on this connection cannot be told apart.
        if [TOO_LARGE, BODY_TIMEOUT, BODY_BROKEN].contains(&self.kind) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<EngineError> for ApiProblem {
    fn from(error: EngineError) -> ApiProblem {
        let detail = error.to_string();
        let kind = match error {
            EngineError::UnknownDefinition { nearest: Some(_), .. } => UNKNOWN_DEFINITION,
            EngineError::UnknownDefinition { nearest: None, .. } => {
                return ApiProblem::new(
                    UNKNOWN_DEFINITION,
                    format!("{detail}; GET /v1/definitions lists those there are"),
                );
            }
            EngineError::BadInput(_) => BAD_INPUT,
            EngineError::KeyReused { .. } => KEY_REUSED,
            EngineError::UnknownSaga(_) => UNKNOWN_SAGA,
            EngineError::UnknownStep(_) => UNKNOWN_STEP,
            EngineError::Conflict(_) => CONFLICT,
            EngineError::Elsewhere(_) | EngineError::MovedOn | EngineError::ForNewer(_) => BUSY_SAGA,
            EngineError::Unreadable(_) => UNREADABLE_SAGA,
            EngineError::Overloaded => OVERLOADED,
            EngineError::Stopping => {
                return ApiProblem::new(STOPPING, "the server is stopping; repeat the request when it is back");
            }
            EngineError::Broken => STORE_UNAVAILABLE,
            EngineError::Store(error) => return ApiProblem::from(error),
        };
        ApiProblem::new(kind, detail)
    }
}

impl From<StoreError> for ApiProblem {
    fn from(error: StoreError) -> ApiProblem {
        match error {
            StoreError::Unavailable(why) => ApiProblem::new(
                STORE_UNAVAILABLE,
                format!("the store is not available: {why}; try again in a few seconds"),
            ),
            StoreError::Unknown(why) => ApiProblem::new(
                STORE_UNAVAILABLE,
                format!(
                    "the store did not answer, so it is not known whether this took effect: {why}; repeat the request: the \
                     same key finds the same saga"
                ),
            ),
            StoreError::Fenced => ApiProblem::new(
                STORE_UNAVAILABLE,
                "another process has taken over the store, so it is not known whether this took effect; \
                 repeat the request: the same key finds the same saga",
            ),
            StoreError::Damaged(why) => {
                tracing::error!(%why, "the store is damaged");
                ApiProblem::new(STORE_DAMAGED, "the store cannot be read; the server's log says why")
            }
        }
    }
}

impl From<Refusal> for ApiProblem {
    fn from(refusal: Refusal) -> ApiProblem {
        match refusal {
            Refusal::Invalid(why) => ApiProblem::new(UNAUTHENTICATED, format!("{why}; ask an admin for another token")),
            Refusal::NoKeys => ApiProblem::new(
                ISSUER_UNAVAILABLE,
                "the keys of the token's issuer cannot be fetched, so it cannot be judged; the server's log says why",
            ),
            Refusal::Store(error) => ApiProblem::from(error),
        }
    }
}

impl From<Unreadable> for ApiProblem {
    fn from(error: Unreadable) -> ApiProblem {
        ApiProblem::new(
            UNREADABLE_SAGA,
            format!("{error}; GET /v1/dead-letters?saga={} shows what can be done about it", error.id),
        )
    }
}

impl From<PathRejection> for ApiProblem {
    fn from(rejection: PathRejection) -> ApiProblem {
        ApiProblem::new(BAD_ADDRESS, format!("{}; percent-encode UTF-8", innermost(&rejection)))
    }
}

impl From<QueryRejection> for ApiProblem {
    fn from(rejection: QueryRejection) -> ApiProblem {
        ApiProblem::new(BAD_QUERY, format!("the query cannot be understood: {}", innermost(&rejection)))
    }
}
