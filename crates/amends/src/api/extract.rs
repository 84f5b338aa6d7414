//! What handlers take out of a request. Each way that it can be wrong is a problem of its own.

use super::problem::{self, ApiProblem};
use super::{Shared, json};
use crate::auth::Caller;
use amends_core::limits;
use amends_core::machine::Operator;
use amends_core::text::shortened;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

/// How much of a body that is too large is read and thrown away, so that its sender can read the answer: one that
/// is still sending when the connection closes often never sees it.
const DRAINED_BYTES: usize = 16 * 1024 * 1024;
/// How long an actor's name may be, in characters.
const ACTOR_CHARS: usize = 128;

/// Parts of the path.
pub(crate) struct Segments<T>(pub(crate) T);

/// The query.
pub(crate) struct Parameters<T>(pub(crate) T);

/// Who acts: the caller, the header `Amends-Actor`, or the one for the other.
pub(crate) struct Actor(String);

/// Any JSON as the body.
pub(crate) struct AnyJson(pub(crate) Value);

/// A body of JSON with these fields.
pub(crate) struct JsonOf<T>(pub(crate) T);

/// A definition as the body.
pub(crate) struct Source(pub(crate) String);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Segments<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiProblem> {
        let Path(segments) = Path::from_request_parts(parts, app).await?;
        Ok(Segments(segments))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Parameters<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiProblem> {
        let Query(parameters) = Query::try_from_uri(&parts.uri)?;
        Ok(Parameters(parameters))
    }
}

impl FromRequestParts<Shared> for Actor {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiProblem> {
        let caller = parts.extensions.get::<Caller>().map(|caller| caller.name.as_str());
        let Some(value) = parts.headers.get("amends-actor") else {
            return Ok(Actor(caller.unwrap_or("anonymous").to_owned()));
        };
        let name = std::str::from_utf8(value.as_bytes()).unwrap_or_default().trim();
        let printable = !name.is_empty() && !name.chars().any(char::is_control);
        if !printable || name.chars().count() > ACTOR_CHARS {
            let detail =
                format!("`Amends-Actor` must be 1 to {ACTOR_CHARS} printable characters: the name of whoever acts");
            return Err(ApiProblem::new(problem::BAD_HEADER, detail));
        }
        Ok(Actor(match caller {
            // What is said in the header is not proved, so the one who says it stands before it.
            Some(caller) => format!("{caller} for {name}"),
            None => name.to_owned(),
        }))
    }
}

impl Actor {
    /// As logs show it.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// The actor, where no reason is asked for.
    pub(crate) fn without_reason(self) -> Operator {
        Operator { actor: self.0, reason: String::new() }
    }

    /// The actor together with the reason they give.
    ///
    /// # Errors
    /// Where the reason is empty or out of bounds.
    pub(crate) fn because(self, reason: &str) -> Result<Operator, ApiProblem> {
        Ok(Operator { actor: self.0, reason: checked_reason(reason)? })
    }
}

impl FromRequest<Shared> for AnyJson {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiProblem> {
        expect_json(request.headers())?;
        let bytes = read_body(request, app, limits::INPUT_BYTES).await?;
        json::read(&bytes).map(AnyJson)
    }
}

impl<T: DeserializeOwned> FromRequest<Shared> for JsonOf<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiProblem> {
        expect_json(request.headers())?;
        // The largest of these bodies carries an output and a reason.
        let bytes = read_body(request, app, limits::OUTPUT_BYTES + 4 * limits::REASON_BYTES).await?;
        json::read_as(&bytes).map(JsonOf)
    }
}

impl FromRequest<Shared> for Source {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiProblem> {
        const TAKEN: [&str; 5] = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain"];
        let media_type = media_type(request.headers());
        if !media_type.as_deref().is_none_or(|media_type| TAKEN.contains(&media_type) || is_json(media_type)) {
            let detail = "send the definition as `Content-Type: application/yaml` or `application/json`";
            return Err(ApiProblem::new(problem::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = read_body(request, app, limits::DEFINITION_BYTES).await?;
        json::text(&bytes).map(|text| Source(text.to_owned()))
    }
}

/// Reads the id of a saga.
///
/// # Errors
/// Where it is not a UUID.
pub(crate) fn saga_id(text: &str) -> Result<Uuid, ApiProblem> {
    Uuid::try_parse(text).map_err(|_| {
        let detail = format!(
            "`{}` is not the id of a saga; an id is a UUID, such as 0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a",
            shortened(text)
        );
        ApiProblem::new(problem::BAD_ID, detail)
    })
}

/// A reason as it goes into the audit log.
///
/// # Errors
/// Where it is empty or out of bounds.
fn checked_reason(reason: &str) -> Result<String, ApiProblem> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(ApiProblem::new(
            problem::BAD_REASON,
            "`reason` is empty; say in a sentence why, for the audit log",
        ));
    }
    if reason.len() > limits::REASON_BYTES {
        let detail = format!("`reason` has {} bytes; {} are kept", reason.len(), limits::REASON_BYTES);
        return Err(ApiProblem::new(problem::BAD_REASON, detail));
    }
    if reason.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(ApiProblem::new(problem::BAD_REASON, "`reason` has control characters in it; write plain text"));
    }
    Ok(reason.to_owned())
}

/// A page of the web can make a browser send a plain form anywhere, also to the loopback, but not JSON by its name:
/// insisting on it keeps such pages out.
fn expect_json(headers: &HeaderMap) -> Result<(), ApiProblem> {
    match media_type(headers) {
        Some(media_type) if is_json(&media_type) => Ok(()),
        Some(_) | None => {
            Err(ApiProblem::new(problem::UNSUPPORTED_MEDIA_TYPE, "send the body with `Content-Type: application/json`"))
        }
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let essence = value.to_str().unwrap_or("unreadable").split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Reads a body up to `limit` bytes, in the time that the configuration gives it.
async fn read_body(request: Request, app: &Shared, limit: usize) -> Result<Bytes, ApiProblem> {
    let too_large = || {
        let detail = format!("the body is larger than {} KiB, the most that is taken here", limit / 1024);
        ApiProblem::new(problem::TOO_LARGE, detail)
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced: Option<usize> = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    let asks_first = request.headers().contains_key(header::EXPECT);
    if announced.is_some_and(|length| length > limit && (asks_first || length > DRAINED_BYTES)) {
        return Err(too_large());
    }
    let time = app.body_read_timeout;
    match tokio::time::timeout(time, collect(request.into_body(), limit)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => Err(ApiProblem::new(problem::BODY_BROKEN, format!("the body broke off: {error}"))),
        Err(_) => {
            let detail = format!("the body did not arrive within {} ms; send it faster", time.as_millis());
            Err(ApiProblem::new(problem::BODY_TIMEOUT, detail))
        }
    }
}

/// The whole body, or `None` where it is larger than `limit`.
async fn collect(mut body: Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= limit {
            kept.extend_from_slice(&data);
        } else if length > DRAINED_BYTES {
            break;
        }
    }
    Ok((length <= limit).then(|| kept.freeze()))
}
