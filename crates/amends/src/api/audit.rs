//! The audit log: who did what, when and why; and its chain, for whoever wants to verify it.

use super::cursor::{self, List};
use super::extract::{Parameters, saga_id};
use super::problem::{self, ApiProblem};
use super::reading::Turn;
use super::{Shared, wire};
use amends_client::{AuditEntry, AuditExport, AuditHead, AuditQuery, Page, Problem};
use amends_core::chain::{self, Hash, Head};
use amends_core::text::hexadecimal;
use amends_store::{self as store, StoreError};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header;

/// How many entries of an export are in memory at once.
const EXPORTED_AT_ONCE: usize = 200;

/// The audit log, newest first
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "list_audit",
    tag = "operations",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of the audit log", body = Page<AuditEntry>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    Parameters(query): Parameters<AuditQuery>,
    _turn: Turn,
) -> Result<Json<Page<AuditEntry>>, ApiProblem> {
    let limit = cursor::limit(query.limit)?;
    let asked = store::AuditQuery {
        saga: query.saga.as_deref().map(saga_id).transpose()?,
        before: List::Audit.place(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let entries = app.store.audit(asked).await?;
    Ok(Json(cursor::page(List::Audit, limit, entries, |entry| entry.place, wire::audit_entry)))
}

/// Where the chain of the audit log ends
///
/// Keep it elsewhere: whoever has it can tell later whether anything before it was changed.
#[utoipa::path(
    get,
    path = "/v1/audit/head",
    operation_id = "get_audit_head",
    tag = "operations",
    responses(
        (status = 200, description = "The last sealed entry", body = AuditHead),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn head(State(app): State<Shared>, _turn: Turn) -> Result<Json<AuditHead>, ApiProblem> {
    let Head { number, hash } = app.store.head().await?;
    Ok(Json(AuditHead { number, hash: hexadecimal(&hash) }))
}

/// The sealed part of the audit log, oldest first
///
/// Each line is an entry as it was sealed: JSON in the canonical form of RFC 8785. Without its member `hash` its SHA-256 is
/// `hash`.
#[utoipa::path(
    get,
    path = "/v1/audit/export",
    operation_id = "export_audit",
    tag = "operations",
    params(AuditExport),
    responses(
        (status = 200, description = "The entries, a line each", body = String, content_type = "application/x-ndjson"),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn export(
    State(app): State<Shared>,
    Parameters(AuditExport { after }): Parameters<AuditExport>,
) -> Result<Response, ApiProblem> {
    let after = after.unwrap_or(0);
    let previous = hash_of(&app, after).await?;
    let lines = stream::try_unfold((after, previous), move |(after, previous)| {
        let app = app.clone();
        async move { lines_after(&app, after, previous).await }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// The hash that the entry after this one names.
async fn hash_of(app: &Shared, number: u64) -> Result<Hash, ApiProblem> {
    let Some(before) = number.checked_sub(1) else { return Ok(Head::BEGINNING.hash) };
    let found = app.store.sealed(before, 1).await?.pop().and_then(|entry| entry.seal);
    found.filter(|seal| seal.number == number).map(|seal| seal.hash).ok_or_else(|| {
        let detail = format!(
            "`after` is {number}, and no entry of this number is sealed; GET /v1/audit/head says which is the last"
        );
        ApiProblem::new(problem::BAD_QUERY, detail)
    })
}

/// Some lines, and after which entry and hash the next ones begin; `None` where there are no more. Each time it waits for its share
/// of the time, so that a long log takes none from the sagas.
async fn lines_after(
    app: &Shared,
    mut after: u64,
    mut previous: Hash,
) -> Result<Option<(Bytes, (u64, Hash))>, StoreError> {
    let _turn = app.reading.turn().await;
    let mut lines = String::new();
    for entry in app.store.sealed(after, EXPORTED_AT_ONCE).await? {
        let Some(seal) = entry.seal else { continue };
        lines.push_str(&chain::line(entry.entry(), &previous, &seal));
        lines.push('\n');
        (after, previous) = (seal.number, seal.hash);
    }
    Ok((!lines.is_empty()).then(|| (lines.into(), (after, previous))))
}
