//! Sagas: start one, look at one, list them, and give them orders.

use super::cursor::{self, List};
use super::extract::{Actor, AnyJson, JsonOf, Parameters, Segments, saga_id};
use super::problem::{self, ApiProblem};
use super::reading::Turn;
use super::{Shared, plan, prefer, wire};
use amends_client::{CompleteStep, DryRun, Page, Problem, Reason, Saga, SagaOrPlan, SagaQuery, SagaSummary};
use amends_core::limits;
use amends_core::machine::Command;
use amends_core::text::shortened;
use amends_engine::{EngineError, Order, StartRequest, Started};
use amends_store as store;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;
use uuid::Uuid;

/// Start a saga
///
/// The body is the saga's input: any JSON. It is accepted once it is durable. The same key with the same input answers
/// with the saga that exists; with another input it is refused.
#[utoipa::path(
    post,
    path = "/v1/sagas/{definition_or_id}",
    operation_id = "start_saga",
    tag = "sagas",
    params(
        ("definition_or_id" = String, Path, description = "The definition's name"),
        ("Prefer" = Option<String>, Header, description = "`wait=30` (RFC 7240): answer when the saga is finished or \
            stuck, or after so many seconds; at most 60"),
        ("traceparent" = Option<String>, Header, description = "The caller's trace (W3C Trace Context)"),
    ),
    request_body(content = serde_json::Value, description = "The input, at most 1 MiB and 64 levels deep"),
    responses(
        (status = 202, description = "Accepted: the saga as it stands", body = Saga, headers(
            ("Location" = String, description = "Where the saga is"),
            ("Amends-Created" = bool, description = "Whether this request created it"),
        )),
        (status = 200, description = "The saga that existed already, or one whose outcome was waited for", body = Saga),
        (status = 404, description = "There is no such definition", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The input does not fit, or the key was used with another input", body = Problem,
            content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again later", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    State(app): State<Shared>,
    Segments(definition): Segments<String>,
    headers: HeaderMap,
    AnyJson(input): AnyJson,
) -> Result<Response, ApiProblem> {
    let wait = prefer::wait_seconds(&headers)?;
    let request = StartRequest {
        definition: definition_name(definition)?,
        input: Arc::new(input),
        traceparent: traceparent(&headers),
        wait_ms: wait.map(|seconds| seconds * 1_000),
    };
    let started = app.engine.start_saga(request).await.map_err(|error| app.refusal(error))?;
    Ok(answer(&app, &started, wait))
}

fn answer(app: &Shared, started: &Started, wait: Option<u64>) -> Response {
    let saga = wire::saga(&started.saga, &app.redact);
    let settled = saga.status.is_finished() || saga.status == amends_client::SagaStatus::Stuck;
    let status = if !started.created || (wait.is_some() && settled) { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = HeaderValue::from_str(&format!("/v1/sagas/{}", saga.id)).expect("a UUID is a header's text");
    let created = HeaderValue::from_static(if started.created { "true" } else { "false" });
    let mut response = (status, Json(saga)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert("amends-created", created);
    if let Some(seconds) = wait {
        headers.insert("preference-applied", prefer::applied(seconds));
    }
    response
}

/// One saga
#[utoipa::path(
    get,
    path = "/v1/sagas/{definition_or_id}",
    operation_id = "get_saga",
    tag = "sagas",
    params(("definition_or_id" = String, Path, format = "uuid", description = "The saga's id")),
    responses(
        (status = 200, description = "The saga", body = Saga),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(State(app): State<Shared>, Segments(id): Segments<String>) -> Result<Json<Saga>, ApiProblem> {
    let (snapshot, _) = app.read(saga_id(&id)?).await?;
    Ok(Json(wire::saga(&snapshot, &app.redact)))
}

/// Sagas, newest first
#[utoipa::path(
    get,
    path = "/v1/sagas",
    operation_id = "list_sagas",
    tag = "sagas",
    params(SagaQuery),
    responses(
        (status = 200, description = "A page of sagas", body = Page<SagaSummary>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    Parameters(query): Parameters<SagaQuery>,
    _turn: Turn,
) -> Result<Json<Page<SagaSummary>>, ApiProblem> {
    let limit = cursor::limit(query.limit)?;
    let asked = store::SagaQuery {
        definition: query.definition,
        status: query.status.map(wire::stored_status),
        key: query.key,
        before: List::Sagas.id(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let sagas = app.store.sagas(asked).await?;
    Ok(Json(cursor::page(List::Sagas, limit, sagas, |saga| saga.id.as_u128(), |saga| wire::summary(saga, &app.redact))))
}

/// Stop a saga and undo what it did
#[utoipa::path(
    post,
    path = "/v1/sagas/{id}/cancel",
    operation_id = "cancel_saga",
    tag = "sagas",
    params(
        ("id" = String, Path, format = "uuid", description = "The saga's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        DryRun,
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The saga after the order; or what would come of it", body = SagaOrPlan),
        (status = 409, description = "It is past the point of no return, or finished", body = Problem,
            content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(dry_run): Parameters<DryRun>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<SagaOrPlan>, ApiProblem> {
    let operator = actor.because(&reason)?;
    order_or_plan(&app, &id, Order::Cancel(operator.clone()), Command::Cancel(operator), dry_run).await
}

/// Hold a saga: calls in flight end, no further call is made
#[utoipa::path(
    post,
    path = "/v1/sagas/{id}/pause",
    operation_id = "pause_saga",
    tag = "sagas",
    params(
        ("id" = String, Path, format = "uuid", description = "The saga's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        DryRun,
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The saga after the order; or what would come of it", body = SagaOrPlan),
        (status = 409, description = "It is held already, or finished", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn pause(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(dry_run): Parameters<DryRun>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<SagaOrPlan>, ApiProblem> {
    let operator = actor.because(&reason)?;
    order_or_plan(&app, &id, Order::Pause(operator.clone()), Command::Pause(operator), dry_run).await
}

/// Let a held saga go on
#[utoipa::path(
    post,
    path = "/v1/sagas/{id}/resume",
    operation_id = "resume_saga",
    tag = "sagas",
    params(
        ("id" = String, Path, format = "uuid", description = "The saga's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        DryRun,
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The saga after the order; or what would come of it", body = SagaOrPlan),
        (status = 409, description = "It is not held", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resume(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(dry_run): Parameters<DryRun>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<SagaOrPlan>, ApiProblem> {
    let operator = actor.because(&reason)?;
    order_or_plan(&app, &id, Order::Resume(operator.clone()), Command::Resume(operator), dry_run).await
}

/// End a waiting step well
#[utoipa::path(
    post,
    path = "/v1/sagas/{id}/steps/{step}/complete",
    operation_id = "complete_step",
    tag = "sagas",
    params(
        ("id" = String, Path, format = "uuid", description = "The saga's id"),
        ("step" = String, Path, description = "The step's name"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
    ),
    request_body = CompleteStep,
    responses(
        (status = 200, description = "The saga after it", body = Saga),
        (status = 409, description = "The step does not wait", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn complete(
    State(app): State<Shared>,
    Segments((id, step)): Segments<(String, String)>,
    actor: Actor,
    JsonOf(CompleteStep { output }): JsonOf<CompleteStep>,
) -> Result<Json<Saga>, ApiProblem> {
    order(
        &app,
        &id,
        Order::Complete { step, output: Arc::new(checked_output(output)?), operator: actor.without_reason() },
    )
    .await
}

/// End a waiting step badly: the saga compensates
#[utoipa::path(
    post,
    path = "/v1/sagas/{id}/steps/{step}/fail",
    operation_id = "fail_step",
    tag = "sagas",
    params(
        ("id" = String, Path, format = "uuid", description = "The saga's id"),
        ("step" = String, Path, description = "The step's name"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The saga after it", body = Saga),
        (status = 409, description = "The step does not wait", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn fail(
    State(app): State<Shared>,
    Segments((id, step)): Segments<(String, String)>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<Saga>, ApiProblem> {
    order(&app, &id, Order::Fail { step, operator: actor.because(&reason)? }).await
}

/// Carries out an order that a person gives, or tells what would come of it: `asked` and `command` are the same wish.
async fn order_or_plan(
    app: &Shared,
    id: &str,
    asked: Order,
    command: Command,
    DryRun { dry_run }: DryRun,
) -> Result<Json<SagaOrPlan>, ApiProblem> {
    if dry_run {
        return Ok(Json(SagaOrPlan::Plan(plan::foresee(app, saga_id(id)?, &command).await?)));
    }
    order(app, id, asked).await.map(|Json(saga)| Json(SagaOrPlan::Saga(Box::new(saga))))
}

async fn order(app: &Shared, id: &str, order: Order) -> Result<Json<Saga>, ApiProblem> {
    let id = saga_id(id)?;
    match app.engine.order(id, order).await {
        Ok(snapshot) => Ok(Json(wire::saga(&snapshot, &app.redact))),
        Err(EngineError::UnknownStep(step)) => Err(unknown_step(app, id, &step).await),
        Err(error) => Err(error.into()),
    }
}

/// Says which steps there are: whoever mistypes one has the saga before them, but not its definition.
async fn unknown_step(app: &Shared, id: Uuid, step: &str) -> ApiProblem {
    let steps = match app.read(id).await {
        Ok((snapshot, _)) => snapshot.definition.steps.iter().map(|step| step.name.clone()).collect(),
        Err(_) => Vec::new(),
    };
    let detail = format!("the saga has no step `{}`; its steps are {}", shortened(step), steps.join(", "));
    ApiProblem::new(problem::UNKNOWN_STEP, detail)
}

/// An output as it may be kept.
///
/// # Errors
/// Where it is too large.
pub(crate) fn checked_output(output: serde_json::Value) -> Result<serde_json::Value, ApiProblem> {
    if output.to_string().len() > limits::OUTPUT_BYTES {
        let detail = format!("`output` is larger than {} KiB, the most that is kept", limits::OUTPUT_BYTES / 1024);
        return Err(ApiProblem::new(problem::TOO_LARGE, detail));
    }
    Ok(output)
}

/// A name that cannot be a definition's is not looked for: it would only be repeated in an error.
fn definition_name(name: String) -> Result<String, ApiProblem> {
    if name.len() > limits::NAME_BYTES || name.chars().any(char::is_control) {
        let detail = format!(
            "there is no definition `{}`; names have at most {} characters",
            shortened(&name),
            limits::NAME_BYTES
        );
        return Err(ApiProblem::new(problem::UNKNOWN_DEFINITION, detail));
    }
    Ok(name)
}

/// The caller's trace. One that is malformed counts as none, as the standard has it.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?.trim();
    let single = values.next().is_none();
    (single && amends_engine::trace::parse(value).is_some()).then(|| value.to_owned())
}
