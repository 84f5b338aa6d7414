//! What the layer answers by itself, as `application/problem+json` (RFC 9457). The types are stable.
//!
//! A 409 with `Retry-After` means *ask again*; one without means that asking again changes nothing.

use crate::store::StoreError;
use amends_core::idempotency::KeyError;
use amends_core::signature::Refusal;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why the layer answers in place of the handler.
#[derive(Debug)]
pub enum Problem {
    KeyMissing,
    KeyMalformed { header: &'static str, error: KeyError },
    ActionKeyIsOwnKey,
    PrincipalMissing,
    RequestTooLarge { limit: usize },
    RequestUnreadable,
    OtherRequest,
    InFlight,
    ActionInFlight,
    OutcomeUnknown,
    CompensatedBeforeAction,
    AnswerNotKept { status: u16, location: Option<String> },
    StoreUnavailable,
    HandlerFailed,
    TransactionFailed,
    NotBehindTheLayer,
    NotSigned(Refusal),
}

/// After how many seconds a client may ask again.
const RETRY_AFTER_SECONDS: u32 = 1;

impl Problem {
    /// Status, the last part of the type's URN, and the title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Problem::KeyMissing => {
                (StatusCode::BAD_REQUEST, "idempotency-key-missing", "The request needs an idempotency key")
            }
            Problem::KeyMalformed { .. } | Problem::ActionKeyIsOwnKey => {
                (StatusCode::BAD_REQUEST, "idempotency-key-malformed", "The key cannot be used")
            }
            Problem::PrincipalMissing => (StatusCode::UNAUTHORIZED, "principal-missing", "It is not known who calls"),
            Problem::RequestTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "request-too-large", "The request's body is too large")
            }
            Problem::RequestUnreadable => {
                (StatusCode::BAD_REQUEST, "request-unreadable", "The request's body could not be read")
            }
            Problem::OtherRequest => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The key belongs to another request")
            }
            Problem::InFlight => (StatusCode::CONFLICT, "request-in-flight", "The first request still runs"),
            Problem::ActionInFlight => (StatusCode::CONFLICT, "action-in-flight", "The action to undo still runs"),
            Problem::OutcomeUnknown => (StatusCode::CONFLICT, "outcome-unknown", "The outcome is not known"),
            Problem::CompensatedBeforeAction => {
                (StatusCode::CONFLICT, "compensated-before-action", "The action was compensated before it came")
            }
            Problem::AnswerNotKept { .. } => {
                (StatusCode::CONFLICT, "answer-not-kept", "The answer is not there any more")
            }
            Problem::StoreUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "The service's store cannot be used")
            }
            Problem::HandlerFailed => (StatusCode::INTERNAL_SERVER_ERROR, "handler-failed", "The handler failed"),
            Problem::TransactionFailed => {
                (StatusCode::INTERNAL_SERVER_ERROR, "transaction-failed", "The transaction failed")
            }
            Problem::NotBehindTheLayer => {
                (StatusCode::INTERNAL_SERVER_ERROR, "no-transaction", "The route has no transaction")
            }
            Problem::NotSigned(refusal) => {
                let (kind, title) = kind_of(refusal);
                (StatusCode::UNAUTHORIZED, kind, title)
            }
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::KeyMissing => "Send an Idempotency-Key header, the same one on every attempt.".to_owned(),
            Problem::KeyMalformed { header, error } => format!("{header}: {error}."),
            Problem::ActionKeyIsOwnKey => {
                "A compensation needs a key of its own; Amends-Action-Key holds the action's.".to_owned()
            }
            Problem::PrincipalMissing => "Keys are kept for each caller, and this request names none.".to_owned(),
            Problem::RequestTooLarge { limit } => format!("The body may have {limit} bytes. Nothing was done."),
            Problem::RequestUnreadable => "The body broke off. Nothing was done.".to_owned(),
            Problem::OtherRequest => {
                "The key was first used with another method, path, query, content type or body.".to_owned()
            }
            Problem::InFlight => "Ask again with the same key to get its answer.".to_owned(),
            Problem::ActionInFlight => "Ask again with the same key once the action has ended.".to_owned(),
            Problem::OutcomeUnknown => "Whether the first request took effect is not known.".to_owned(),
            Problem::CompensatedBeforeAction => {
                "Its compensation has been answered already, so the action has no effect and never will.".to_owned()
            }
            Problem::AnswerNotKept { status, .. } => format!(
                "The request was run once and answered {status}, with a body too large to keep; it is not run again."
            ),
            Problem::StoreUnavailable => "The idempotency records cannot be reached. Nothing was done.".to_owned(),
            Problem::HandlerFailed | Problem::TransactionFailed => "Nothing that was written was kept.".to_owned(),
            Problem::NotBehindTheLayer => {
                "The handler asks for a transaction, but the idempotency layer does not stand before it.".to_owned()
            }
            Problem::NotSigned(refusal) => format!("The call is not taken: {refusal}. Nothing was done."),
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Problem::InFlight | Problem::ActionInFlight | Problem::StoreUnavailable => {
                Some((header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS)))
            }
            Problem::AnswerNotKept { location, .. } => {
                let location = HeaderValue::from_str(location.as_deref()?).ok()?;
                Some((header::LOCATION, location))
            }
            Problem::KeyMissing
            | Problem::KeyMalformed { .. }
            | Problem::ActionKeyIsOwnKey
            | Problem::PrincipalMissing
            | Problem::RequestTooLarge { .. }
            | Problem::RequestUnreadable
            | Problem::OtherRequest
            | Problem::OutcomeUnknown
            | Problem::CompensatedBeforeAction
            | Problem::HandlerFailed
            | Problem::TransactionFailed
            | Problem::NotBehindTheLayer
            | Problem::NotSigned(_) => None,
        }
    }
}

/// The last part of the type's URN, and the title.
fn kind_of(refusal: &Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::NotSigned { .. } => ("not-signed", "The call is not signed"),
        Refusal::Malformed { .. } | Refusal::OtherComponents { .. } => {
            ("signature-malformed", "The signature does not have the right form")
        }
        Refusal::UnknownKey { .. } => ("signing-key-unknown", "The signing key is not known"),
        Refusal::OutOfTime { .. } => ("signature-out-of-time", "The signature is of another time"),
        Refusal::DigestDiffers => ("content-digest-differs", "The body is not the one that was signed"),
        Refusal::SignatureDiffers { .. } => ("signature-differs", "The signature does not fit"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind();
        let mut body = json!({
            "type": format!("urn:amends:problem:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        if let Problem::AnswerNotKept { status, .. } = self {
            body["original_status"] = status.into();
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.header());
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "the idempotency records cannot be reached");
        Problem::StoreUnavailable
    }
}
