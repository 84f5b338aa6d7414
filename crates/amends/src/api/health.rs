//! How the server is: for those who restart it, those who send it work, and those who count.

use super::problem::{self, ApiProblem};
use super::reading::Turn;
use super::{Health, Shared, wire};
use amends_client::{Problem, Statistics};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use uuid::Uuid;

/// Whether the process lives
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "is_alive",
    tag = "operations",
    security(),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"))
)]
pub(crate) async fn alive() -> &'static str {
    "alive\n"
}

/// Whether the server takes work: the store answers and the engine runs
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "is_ready",
    tag = "operations",
    security(),
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(State(app): State<Shared>) -> Result<&'static str, ApiProblem> {
    let health = app.health.borrow().clone();
    match health {
        Health::Running => {}
        Health::Stopping => return Err(ApiProblem::new(problem::STOPPING, "the server is stopping")),
        Health::Failed(why) => {
            return Err(ApiProblem::new(problem::STORE_UNAVAILABLE, format!("the engine cannot go on: {why}")));
        }
    }
    if let Some(why) = app.engine.gauges().store_outage {
        return Err(ApiProblem::new(problem::STORE_UNAVAILABLE, why));
    }
    // There is never a saga with this id; what counts is that the store answers.
    app.store.saga(Uuid::nil()).await?;
    Ok("ready\n")
}

/// Counts of what happened
#[utoipa::path(
    get,
    path = "/v1/statistics",
    operation_id = "get_statistics",
    tag = "operations",
    responses(
        (status = 200, description = "The counts", body = Statistics),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn statistics(State(app): State<Shared>, _turn: Turn) -> Result<Json<Statistics>, ApiProblem> {
    Ok(Json(wire::statistics(&app.store.statistics().await?)))
}

/// Metrics for Prometheus, in the OpenMetrics text format
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "operations",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn metrics(State(app): State<Shared>) -> Result<Response, ApiProblem> {
    let statistics = app.store.statistics().await?;
    // An audit log that is damaged is no reason to show nothing.
    let sealed = app.store.head().await.ok().map(|head| head.number);
    let text = app.metrics.render(statistics, app.engine.gauges(), sealed).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        ApiProblem::new(problem::INTERNAL, "the metrics cannot be written; the server's log says why")
    })?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
