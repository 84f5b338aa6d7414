//! Dead letters: what the machine gave up on, and a person's decision about it.

use super::cursor::{self, List};
use super::extract::{Actor, JsonOf, Parameters, Segments, saga_id};
use super::problem::{self, ApiProblem};
use super::reading::Turn;
use super::{Shared, plan, sagas, wire};
use amends_client::{
    ActionQuery, DeadLetter, DeadLetterGroup, DeadLetterOrPlan, DeadLetterQuery, Decision, EditDeadLetter, Effect,
    GroupQuery, Page, Problem, Reason, ResolveDeadLetter,
};
use amends_core::machine::{Command, Operator, Settlement};
use amends_core::text::shortened;
use amends_core::time::{Timestamp, parse_duration};
use amends_engine::Order;
use amends_store as store;
use axum::Json;
use axum::extract::State;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// Dead letters, newest first
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    operation_id = "list_dead_letters",
    tag = "dead letters",
    params(DeadLetterQuery),
    responses(
        (status = 200, description = "A page of dead letters", body = Page<DeadLetter>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    Parameters(query): Parameters<DeadLetterQuery>,
    _turn: Turn,
) -> Result<Json<Page<DeadLetter>>, ApiProblem> {
    let limit = cursor::limit(query.limit)?;
    let opened_before = match query.older_than.as_deref().map(age_ms).transpose()? {
        Some(age_ms) => Some(Timestamp(app.store.time().await?.0.saturating_sub(age_ms))),
        None => None,
    };
    let asked = store::DeadLetterQuery {
        definition: query.definition,
        saga: query.saga.as_deref().map(saga_id).transpose()?,
        step: query.step,
        participant: query.participant,
        fingerprint: query.fingerprint,
        opened_before,
        closed: query.closed,
        before: List::DeadLetters.number(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let letters = app.store.dead_letters(asked).await?;
    Ok(Json(cursor::page(
        List::DeadLetters,
        limit,
        letters,
        |letter| letter.place.into(),
        |letter| wire::dead_letter(letter, &app.redact),
    )))
}

/// Open dead letters, those alike together
#[utoipa::path(
    get,
    path = "/v1/dead-letters/groups",
    operation_id = "list_dead_letter_groups",
    tag = "dead letters",
    params(GroupQuery),
    responses(
        (status = 200, description = "A page of groups, those with the newest dead letters first",
            body = Page<DeadLetterGroup>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn groups(
    State(app): State<Shared>,
    Parameters(query): Parameters<GroupQuery>,
    _turn: Turn,
) -> Result<Json<Page<DeadLetterGroup>>, ApiProblem> {
    let limit = cursor::limit(query.limit)?;
    let before = List::Groups.number(query.cursor.as_deref())?;
    let groups = app.store.dead_letter_groups(store::GroupQuery { before, limit: limit + 1 }).await?;
    Ok(Json(cursor::page(
        List::Groups,
        limit,
        groups,
        |group| group.sample.place.into(),
        |group| wire::dead_letter_group(group, &app.redact),
    )))
}

/// One dead letter
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{id}",
    operation_id = "get_dead_letter",
    tag = "dead letters",
    params(("id" = String, Path, pattern = r"^[0-9a-f-]{36}\.[0-9]+$", description = "The dead letter's id: the saga's id, a dot, a number")),
    responses(
        (status = 200, description = "The dead letter", body = DeadLetter),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
) -> Result<Json<DeadLetter>, ApiProblem> {
    let id = LetterId::parse(&id)?;
    let letter = wire::dead_letter(find(&app, &id).await?, &app.redact);
    // A saga that cannot be read is what the letter is about then, so that is no error.
    let Ok((snapshot, history)) = app.read(id.saga).await else {
        let decisions = if letter.closed_at.is_none() { vec![Decision::Retry] } else { Vec::new() };
        return Ok(Json(DeadLetter { decisions, ..letter }));
    };
    let step = letter.step.as_deref().and_then(|step| snapshot.definition.step(step));
    let events = (1..).zip(&history).filter(|(_, (_, event))| step.is_some() && event.step() == step);
    let attempts =
        events.map(|(sequence, (at, event))| wire::event(&snapshot, (sequence, *at, event), &app.redact)).collect();
    let death = snapshot.saga.dead().find(|(_, death)| death.letter == id.number);
    let decisions = match (&letter.closed_at, &letter.step) {
        (Some(_), _) => Vec::new(),
        (None, None) => vec![Decision::Retry],
        (None, Some(_)) => wire::decisions(&snapshot, id.number),
    };
    let call = death.and_then(|(step, death)| plan::call(&snapshot, (step, death.direction), &app.redact));
    let saga_status = Some(wire::status(snapshot.saga.status()));
    let seen = Some(snapshot.saga.sequence);
    Ok(Json(DeadLetter { decisions, seen, saga_status, call, attempts, ..letter }))
}

/// Try the call again, with a fresh budget of attempts and the same key
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/retry",
    operation_id = "retry_dead_letter",
    tag = "dead letters",
    params(
        ("id" = String, Path, pattern = r"^[0-9a-f-]{36}\.[0-9]+$", description = "The dead letter's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        ActionQuery,
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The dead letter, settled; or what would come of it", body = DeadLetterOrPlan),
        (status = 409, description = "It is not open any more", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(query): Parameters<ActionQuery>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<DeadLetterOrPlan>, ApiProblem> {
    settle(&app, &id, Settlement::Retry, actor.because(&reason)?, query).await
}

/// Say what is the case, as found out elsewhere
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/resolve",
    operation_id = "resolve_dead_letter",
    tag = "dead letters",
    params(
        ("id" = String, Path, pattern = r"^[0-9a-f-]{36}\.[0-9]+$", description = "The dead letter's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        ActionQuery,
    ),
    request_body = ResolveDeadLetter,
    responses(
        (status = 200, description = "The dead letter, settled; or what would come of it", body = DeadLetterOrPlan),
        (status = 409, description = "It is not open any more", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resolve(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(query): Parameters<ActionQuery>,
    actor: Actor,
    JsonOf(resolution): JsonOf<ResolveDeadLetter>,
) -> Result<Json<DeadLetterOrPlan>, ApiProblem> {
    let operator = actor.because(&resolution.reason)?;
    let settlement = match (resolution.effect, resolution.output) {
        (Effect::Done, output) => Settlement::Done { output: Arc::new(sagas::checked_output(output)?) },
        (Effect::Undone, Value::Null) => Settlement::Undone,
        (Effect::Undone, _) => {
            let detail = "an effect that is not there has no output; leave `output` out, or say `\"effect\": \"done\"`";
            return Err(ApiProblem::new(problem::BAD_BODY, detail));
        }
    };
    settle(&app, &id, settlement, operator, query).await
}

/// Leave the step as it is and let the saga go on without it
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/skip",
    operation_id = "skip_dead_letter",
    tag = "dead letters",
    params(
        ("id" = String, Path, pattern = r"^[0-9a-f-]{36}\.[0-9]+$", description = "The dead letter's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        ActionQuery,
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The dead letter, settled; or what would come of it", body = DeadLetterOrPlan),
        (status = 409, description = "It is not open any more", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn skip(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(query): Parameters<ActionQuery>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<DeadLetterOrPlan>, ApiProblem> {
    settle(&app, &id, Settlement::Skip, actor.because(&reason)?, query).await
}

/// Try the action again with another body, under another key
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/edit",
    operation_id = "edit_dead_letter",
    tag = "dead letters",
    params(
        ("id" = String, Path, pattern = r"^[0-9a-f-]{36}\.[0-9]+$", description = "The dead letter's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        ActionQuery,
    ),
    request_body = EditDeadLetter,
    responses(
        (status = 200, description = "The dead letter, settled; or what would come of it", body = DeadLetterOrPlan),
        (status = 409, description = "It is not open any more, or the step may have happened", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn edit(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(query): Parameters<ActionQuery>,
    actor: Actor,
    JsonOf(EditDeadLetter { body, reason }): JsonOf<EditDeadLetter>,
) -> Result<Json<DeadLetterOrPlan>, ApiProblem> {
    settle(&app, &id, Settlement::Edit { body: Arc::new(plan::checked_body(body)?) }, actor.because(&reason)?, query)
        .await
}

/// Undo what the saga did, this step too if it may have happened
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/turn-around",
    operation_id = "turn_around_dead_letter",
    tag = "dead letters",
    params(
        ("id" = String, Path, pattern = r"^[0-9a-f-]{36}\.[0-9]+$", description = "The dead letter's id"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
        ActionQuery,
    ),
    request_body = Reason,
    responses(
        (status = 200, description = "The dead letter, settled; or what would come of it", body = DeadLetterOrPlan),
        (status = 409, description = "It is not open any more, or the saga is past its point of no return", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn turn_around(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(query): Parameters<ActionQuery>,
    actor: Actor,
    JsonOf(Reason { reason }): JsonOf<Reason>,
) -> Result<Json<DeadLetterOrPlan>, ApiProblem> {
    settle(&app, &id, Settlement::TurnAround, actor.because(&reason)?, query).await
}

/// Milliseconds.
fn age_ms(text: &str) -> Result<u64, ApiProblem> {
    parse_duration(text).map_err(|_| {
        let detail = "`older_than` must be a number with a unit (ms, s, m, h, d), such as `2h`";
        ApiProblem::new(problem::BAD_QUERY, detail)
    })
}

async fn settle(
    app: &Shared,
    id: &str,
    settlement: Settlement,
    operator: Operator,
    ActionQuery { dry_run, seen }: ActionQuery,
) -> Result<Json<DeadLetterOrPlan>, ApiProblem> {
    let id = LetterId::parse(id)?;
    let letter = find(app, &id).await?;
    if let Some((at, resolution)) = letter.closed {
        let detail = format!("the dead letter was settled at {at}: {resolution}; look at the saga as it is now");
        return Err(ApiProblem::new(problem::CONFLICT, detail));
    }
    if dry_run {
        if letter.step.is_none() {
            let detail = "the saga as a whole could not be read, so nobody can tell what would come of it";
            return Err(ApiProblem::new(problem::CONFLICT, detail));
        }
        let command = Command::Settle { letter: id.number, settlement, operator, seen };
        return Ok(Json(DeadLetterOrPlan::Plan(plan::foresee(app, id.saga, &command).await?)));
    }
    app.engine.order(id.saga, Order::Settle { letter: id.number, settlement, operator, seen }).await?;
    let settled = wire::dead_letter(find(app, &id).await?, &app.redact);
    Ok(Json(DeadLetterOrPlan::Settled(Box::new(settled))))
}

async fn find(app: &Shared, id: &LetterId) -> Result<store::DeadLetter, ApiProblem> {
    let text = id.to_string();
    app.store.dead_letter(&text).await?.ok_or_else(|| {
        let detail = format!("there is no dead letter {text}; GET /v1/dead-letters lists those that are open");
        ApiProblem::new(problem::UNKNOWN_DEAD_LETTER, detail)
    })
}

/// The id of a dead letter.
struct LetterId {
    saga: Uuid,
    number: u64,
}

impl LetterId {
    fn parse(text: &str) -> Result<LetterId, ApiProblem> {
        let parts = text.split_once('.').and_then(|(saga, number)| {
            Some(LetterId { saga: Uuid::try_parse(saga).ok()?, number: number.parse().ok()? })
        });
        parts.ok_or_else(|| {
            let detail = format!(
                "`{}` is not the id of a dead letter; an id is a saga's id, a dot and a number",
                shortened(text)
            );
            ApiProblem::new(problem::BAD_ID, detail)
        })
    }
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.saga, self.number)
    }
}
