//! Tokens: make one, list them, revoke one. What is done here is in the audit log, and nothing of a token's text is.

use super::cursor::{self, List};
use super::extract::{Actor, JsonOf, Parameters, Segments};
use super::problem::{self, ApiProblem};
use super::reading::Turn;
use super::{Shared, wire};
use crate::auth::{self, Authenticator};
use amends_client::{CreatedToken, NewToken, Page, Problem, Token, TokenQuery};
use amends_core::text::shortened;
use amends_core::time::{Timestamp, parse_duration};
use amends_store::{self as store, Deed, StoredToken};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use uuid::Uuid;

/// How long a token's name may be, in bytes.
const NAME_BYTES: usize = 64;
/// The shortest time for which a token can be made.
const LEAST_MS: u64 = 1_000;

/// Make a token
///
/// The answer is the only one that has its text: the server keeps a digest of it.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    operation_id = "create_token",
    tag = "tokens",
    params(("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log")),
    request_body = NewToken,
    responses(
        (status = 201, description = "The token, this once", body = CreatedToken),
        (status = 409, description = "The server knows no callers", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(app): State<Shared>,
    actor: Actor,
    JsonOf(asked): JsonOf<NewToken>,
) -> Result<Response, ApiProblem> {
    authenticator(&app)?;
    let created_at = app.store.time().await?;
    let (name, expires_at) = (checked_name(asked.name)?, expiry(asked.expires_in.as_deref(), created_at)?);
    let (token, digest) = auth::draw().map_err(|_| {
        tracing::error!("the system gives no random bytes");
        ApiProblem::new(problem::INTERNAL, "the system gives no random bytes")
    })?;
    let role = asked.role.to_string();
    let stored = StoredToken { id: Uuid::now_v7(), name, role, digest, created_at, expires_at, revoked_at: None };
    let subject = format!("{} {} {}", stored.id, stored.name, stored.role);
    app.store.put_token(stored.clone(), deed(&actor, "make token", subject, created_at)).await?;
    tracing::info!(id = %stored.id, name = stored.name, role = stored.role, by = actor.name(), "a token was made");
    let created = CreatedToken { about: wire::token(stored), token };
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Tokens, newest first, with those that are not valid any more
#[utoipa::path(
    get,
    path = "/v1/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    params(TokenQuery),
    responses(
        (status = 200, description = "A page of tokens, without their texts", body = Page<Token>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    Parameters(query): Parameters<TokenQuery>,
    _turn: Turn,
) -> Result<Json<Page<Token>>, ApiProblem> {
    let limit = cursor::limit(query.limit)?;
    let asked = store::TokenQuery { before: List::Tokens.id(query.cursor.as_deref())?, limit: limit + 1 };
    let tokens = app.store.tokens(asked).await?;
    Ok(Json(cursor::page(List::Tokens, limit, tokens, |token| token.id.as_u128(), wire::token)))
}

/// Revoke a token
///
/// It holds at once on this server and within five seconds on every other. One that was revoked before stays as it is.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    operation_id = "revoke_token",
    tag = "tokens",
    params(
        ("id" = String, Path, format = "uuid", description = "The token's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
    ),
    responses(
        (status = 200, description = "The token, which is revoked", body = Token),
        (status = 404, description = "There is no such token", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    actor: Actor,
) -> Result<Json<Token>, ApiProblem> {
    let id = token_id(&id)?;
    let at = app.store.time().await?;
    let revoked = app.store.revoke_token(id, deed(&actor, "revoke token", id.to_string(), at)).await?;
    let token = revoked.ok_or_else(|| {
        ApiProblem::new(problem::UNKNOWN_TOKEN, format!("there is no token {id}; GET /v1/tokens lists those there are"))
    })?;
    if let Some(authenticator) = &app.auth {
        authenticator.forget();
    }
    tracing::info!(%id, name = token.name, by = actor.name(), "a token was revoked");
    Ok(Json(wire::token(token)))
}

fn deed(actor: &Actor, action: &str, subject: String, at: Timestamp) -> Deed {
    Deed { actor: actor.name().to_owned(), action: action.to_owned(), subject, at }
}

/// Tokens that somebody makes while everybody may would let them in for good once callers are told apart.
fn authenticator(app: &Shared) -> Result<&Authenticator, ApiProblem> {
    app.auth.as_ref().ok_or_else(|| {
        let detail = "this server lets everybody do everything, so no token is made; configure [auth] first";
        ApiProblem::new(problem::CONFLICT, detail)
    })
}

fn token_id(text: &str) -> Result<Uuid, ApiProblem> {
    Uuid::try_parse(text).map_err(|_| {
        let detail = format!("`{}` is not the id of a token; GET /v1/tokens lists those there are", shortened(text));
        ApiProblem::new(problem::BAD_ID, detail)
    })
}

/// A name that stays one word in the audit log, whatever is written beside it.
fn checked_name(name: String) -> Result<String, ApiProblem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(fits) {
        let detail = format!("`name` must be 1 to {NAME_BYTES} letters, digits and `.`, `_`, `@`, `-`");
        return Err(ApiProblem::new(problem::BAD_BODY, detail));
    }
    Ok(name)
}

fn expiry(expires_in: Option<&str>, created_at: Timestamp) -> Result<Option<Timestamp>, ApiProblem> {
    let Some(text) = expires_in else { return Ok(None) };
    match parse_duration(text) {
        Ok(ms) if ms >= LEAST_MS => Ok(Some(created_at.plus(ms))),
        Ok(_) | Err(_) => {
            let detail = "`expires_in` must be a number with a unit (s, m, h, d) of at least a second, such as \"90d\"";
            Err(ApiProblem::new(problem::BAD_BODY, detail))
        }
    }
}
