//! The audit log: who did what, when and why.

use super::cursor::{self, List};
use super::extract::{Parameters, saga_id};
use super::problem::ApiProblem;
use super::reading::Turn;
use super::{Shared, wire};
use amends_client::{AuditEntry, AuditQuery, Page, Problem};
use amends_store as store;
use axum::Json;
use axum::extract::State;

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
        before: List::Audit.number(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let entries = app.store.audit(asked).await?;
    Ok(Json(cursor::page(List::Audit, limit, entries, |entry| entry.id.into(), wire::audit_entry)))
}
