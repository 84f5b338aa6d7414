//! The queues: what services receive, deal with and answer, and what nobody could deal with.

use super::extract::{Actor, JsonOf, Segments};
use super::problem::{self, ApiProblem};
use super::sagas::checked_output;
use super::{App, Shared, wire};
use amends_client::{
    DeadMessage, HandleMessages, HandledMessage, Items, NewMessage, Problem, QueueDepth, QueueMessage, ReceiveMessages,
    Redrive, RedriveMessages, Reply, ReplyOutcome, Saga, Then,
};
use amends_core::answer;
use amends_core::limits::OUTPUT_BYTES;
use amends_core::text::shortened;
use amends_core::time::parse_duration;
use amends_engine::message::Answer;
use amends_store::queues::{self, DeadQuery, Handling, NewRedrive, QueueError, Queues, ReceiveRequest, Sent};
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How many messages are received or dealt with at once.
const AT_ONCE: usize = 100;
/// For how long a request waits for a message at most, in milliseconds.
const WAIT_MS: u64 = 20_000;
/// How often it looks for one.
const LOOK: Duration = Duration::from_millis(200);
/// For how long a message can be kept back or be invisible, in milliseconds.
const DELAY_MS: u64 = 12 * 3_600_000;
/// How many dead messages are shown.
const DEAD_SHOWN: usize = 100;

/// A queue that is configured.
pub struct Queue {
    /// What keeps it.
    pub kept_by: Arc<dyn Queues>,
    /// Whether the store does.
    pub is_in_store: bool,
    /// How often a message is received before it is dead.
    pub receives: u32,
    /// How long a message that was received stays invisible, in milliseconds, if nothing is said.
    pub visibility_ms: u64,
}

/// Answer a command that was received from a queue
///
/// Whoever cannot send to a reply queue says so here what became of a command.
#[utoipa::path(
    post,
    path = "/v1/replies",
    operation_id = "reply",
    tag = "queues",
    request_body = Reply,
    responses(
        (status = 200, description = "The saga after it", body = Saga),
        (status = 409, description = "Nobody waits for this answer (any more)", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reply(State(app): State<Shared>, JsonOf(reply): JsonOf<Reply>) -> Result<Json<Saga>, ApiProblem> {
    let error = reply.error.unwrap_or_default();
    let said = match reply.outcome {
        ReplyOutcome::Done => answer::Reply::Done { output: Arc::new(checked_output(reply.output)?) },
        ReplyOutcome::Refused => answer::Reply::Refused { error },
        ReplyOutcome::NotDone => {
            let retry_after_ms = duration(reply.retry_after.as_deref(), "retry_after")?;
            answer::Reply::NotDone { error, retry_after_ms }
        }
    };
    let snapshot = app.engine.reply(Answer { to: reply.to, reply: said }).await?;
    Ok(Json(wire::saga(&snapshot, &app.redact)))
}

/// The queues, and how many messages each has
#[utoipa::path(
    get,
    path = "/v1/queues",
    operation_id = "list_queues",
    tag = "queues",
    responses(
        (status = 200, description = "The queues of the configuration", body = Items<QueueDepth>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(app): State<Shared>) -> Result<Json<Items<QueueDepth>>, ApiProblem> {
    let now = app.store.time().await?;
    let mut items = Vec::new();
    for (name, queue) in &app.queues {
        let queues::Depth { ready, invisible, dead } = queue.kept_by.depth(name, now).await?;
        items.push(QueueDepth { name: name.clone(), is_in_store: queue.is_in_store, ready, invisible, dead });
    }
    Ok(Json(Items { items }))
}

/// Put a message in a queue
///
/// One with the same id that is there already stays as it is.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/messages",
    operation_id = "send_message",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    request_body = NewMessage,
    responses(
        (status = 200, description = "It is durable", body = NewMessage),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn send(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
    JsonOf(message): JsonOf<NewMessage>,
) -> Result<Json<NewMessage>, ApiProblem> {
    let queue = find(&app, &name)?;
    let body = message.body.to_string();
    if message.id.is_empty() || message.id.len() > 256 || body.len() > OUTPUT_BYTES {
        let detail = format!("`id` has 1 to 256 bytes, and `body` at most {OUTPUT_BYTES}");
        return Err(ApiProblem::new(problem::BAD_BODY, detail));
    }
    let delay_ms = duration(message.delay.as_deref(), "delay")?.unwrap_or_default();
    let at = app.store.time().await?.plus(delay_ms);
    let sent = queue.kept_by.send_to(&name, vec![queues::NewMessage { id: message.id.clone(), body, at }]).await?;
    match sent.into_iter().next() {
        Some(Sent::Refused(why)) => Err(ApiProblem::new(problem::CONFLICT, format!("the queue refuses it: {why}"))),
        Some(Sent::Done) | None => Ok(Json(message)),
    }
}

/// Receive messages of a queue
///
/// They are invisible to others until they are dealt with, or their time is over; then they come again.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/receive",
    operation_id = "receive_messages",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    request_body = ReceiveMessages,
    responses(
        (status = 200, description = "Messages, perhaps none", body = Items<QueueMessage>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn receive(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
    JsonOf(asked): JsonOf<ReceiveMessages>,
) -> Result<Json<Items<QueueMessage>>, ApiProblem> {
    let queue = find(&app, &name)?;
    let limit = asked.limit.unwrap_or(10);
    if !(1..=AT_ONCE).contains(&limit) {
        return Err(ApiProblem::new(problem::BAD_BODY, format!("`limit` is 1 to {AT_ONCE}")));
    }
    let wait_ms = duration(asked.wait.as_deref(), "wait")?.unwrap_or_default().min(WAIT_MS);
    let visibility_ms = duration(asked.visibility.as_deref(), "visibility")?.unwrap_or(queue.visibility_ms).max(1_000);
    let until = Instant::now() + Duration::from_millis(wait_ms);
    loop {
        let now = app.store.time().await?;
        let left = until.saturating_duration_since(Instant::now());
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(WAIT_MS);
        let request = ReceiveRequest { limit, now, wait_ms, visibility_ms, receives_max: queue.receives };
        let received = queue.kept_by.receive_from(&name, request).await?;
        if !received.is_empty() || Instant::now() >= until || app.is_stopping() {
            let items = received.into_iter().map(wire::queue_message).collect();
            return Ok(Json(Items { items }));
        }
        sleep(LOOK.min(left)).await;
    }
}

/// Say what becomes of messages that were received
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/handle",
    operation_id = "handle_messages",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    request_body = HandleMessages,
    responses(
        (status = 200, description = "What came of each, in their order", body = Items<HandledMessage>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn handle(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
    JsonOf(HandleMessages { messages }): JsonOf<HandleMessages>,
) -> Result<Json<Items<HandledMessage>>, ApiProblem> {
    let queue = find(&app, &name)?;
    if !(1..=AT_ONCE).contains(&messages.len()) {
        return Err(ApiProblem::new(problem::BAD_BODY, format!("`messages` has 1 to {AT_ONCE} members")));
    }
    let now = app.store.time().await?;
    let mut handlings = Vec::new();
    for message in messages {
        let after_ms = duration(message.after.as_deref(), "after")?;
        let handling = match message.then {
            Then::Acknowledge => Handling::Acknowledge,
            Then::Extend => Handling::Extend { until: now.plus(after_ms.unwrap_or(queue.visibility_ms)) },
            Then::Reject => Handling::Reject { at: now.plus(after_ms.unwrap_or_default()) },
        };
        handlings.push((message.receipt, handling));
    }
    let receipts: Vec<String> = handlings.iter().map(|(receipt, _)| receipt.clone()).collect();
    let handled = queue.kept_by.handle(&name, handlings, now).await?;
    let items = receipts.into_iter().zip(handled).map(|(receipt, handled)| wire::handled_message(receipt, handled));
    Ok(Json(Items { items: items.collect() }))
}

/// Dead messages of a queue, those that died first first
///
/// At most 100, and of a queue in Amazon SQS a sample. What they say is not shown.
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/dead",
    operation_id = "list_dead_messages",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    responses(
        (status = 200, description = "Dead messages", body = Items<DeadMessage>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn dead(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
) -> Result<Json<Items<DeadMessage>>, ApiProblem> {
    let query = DeadQuery { after: None, limit: DEAD_SHOWN };
    let found = find(&app, &name)?.kept_by.dead(&name, query).await?;
    Ok(Json(Items { items: found.into_iter().map(wire::dead_message).collect() }))
}

/// Make dead messages ready again, so many a second
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/redrives",
    operation_id = "redrive_messages",
    tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue's name"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the log"),
    ),
    request_body = RedriveMessages,
    responses(
        (status = 200, description = "How far it is", body = Redrive),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redrive(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
    actor: Actor,
    JsonOf(asked): JsonOf<RedriveMessages>,
) -> Result<Json<Redrive>, ApiProblem> {
    let queue = find(&app, &name)?;
    let operator = actor.because(&asked.reason)?;
    if !(1..=500).contains(&asked.per_second) {
        return Err(ApiProblem::new(problem::BAD_BODY, "`per_second` is 1 to 500"));
    }
    let redrive =
        NewRedrive { id: Uuid::now_v7().to_string(), per_second: asked.per_second, now: app.store.time().await? };
    let begun = queue.kept_by.redrive(&name, redrive).await?;
    tracing::info!(
        queue = name,
        redrive = begun.id,
        messages = begun.total,
        by = operator.actor,
        "dead messages are redriven"
    );
    Ok(Json(wire::redrive(begun)))
}

/// The last redrives of a queue, newest first
#[utoipa::path(
    get,
    path = "/v1/queues/{queue}/redrives",
    operation_id = "list_redrives",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue's name")),
    responses(
        (status = 200, description = "The last 20", body = Items<Redrive>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redrives(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
) -> Result<Json<Items<Redrive>>, ApiProblem> {
    let found = find(&app, &name)?.kept_by.redrives(&name, app.store.time().await?).await?;
    Ok(Json(Items { items: found.into_iter().map(wire::redrive).collect() }))
}

/// Stop a redrive: what is not ready yet is dead again
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/redrives/{id}/cancel",
    operation_id = "cancel_redrive",
    tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue's name"),
        ("id" = String, Path, description = "The redrive's id"),
    ),
    responses(
        (status = 200, description = "How far it was", body = Redrive),
        (status = 404, description = "There is no such redrive", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel_redrive(
    State(app): State<Shared>,
    Segments((name, id)): Segments<(String, String)>,
    actor: Actor,
) -> Result<Json<Redrive>, ApiProblem> {
    let found = find(&app, &name)?.kept_by.cancel_redrive(&name, &id, app.store.time().await?).await?;
    let cancelled = found.ok_or_else(|| {
        let detail = format!(
            "there is no redrive `{}` of this queue; GET /v1/queues/{name}/redrives lists them",
            shortened(&id)
        );
        ApiProblem::new(problem::UNKNOWN_REDRIVE, detail)
    })?;
    tracing::info!(queue = name, redrive = id, by = actor.name(), "a redrive was cancelled");
    Ok(Json(wire::redrive(cancelled)))
}

fn find<'a>(app: &'a App, name: &str) -> Result<&'a Queue, ApiProblem> {
    app.queues.get(name).ok_or_else(|| {
        let detail = format!("no queue `{}` is configured; GET /v1/queues lists those there are", shortened(name));
        ApiProblem::new(problem::UNKNOWN_QUEUE, detail)
    })
}

/// A duration of a body, in milliseconds.
fn duration(text: Option<&str>, field: &str) -> Result<Option<u64>, ApiProblem> {
    let Some(text) = text else { return Ok(None) };
    match parse_duration(text) {
        Ok(ms) if ms <= DELAY_MS => Ok(Some(ms)),
        Ok(_) => Err(ApiProblem::new(problem::BAD_BODY, format!("`{field}` is twelve hours at most"))),
        Err(why) => Err(ApiProblem::new(problem::BAD_BODY, format!("`{field}`: {why}"))),
    }
}

impl From<QueueError> for ApiProblem {
    fn from(error: QueueError) -> ApiProblem {
        match error {
            QueueError::Store(error) => ApiProblem::from(error),
            QueueError::Unavailable(_) => {
                ApiProblem::new(problem::QUEUE_UNAVAILABLE, format!("{error}; try again in a few seconds"))
            }
            QueueError::Refused(_) => ApiProblem::new(problem::CONFLICT, error.to_string()),
        }
    }
}
