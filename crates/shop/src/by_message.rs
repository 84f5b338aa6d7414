//! Performs what comes by message: the payment service as one that lives off a queue of Amends's store.
//!
//! Each command is passed to the service's own router as the request that it would be over HTTP, so it meets the same
//! idempotency records: its key, fingerprint, tombstone and stored answer are the same either way. The answer is given
//! first and the message acknowledged after; whatever happens in between, the message comes again and is answered alike.
//! Nothing is remembered here, and nothing is tried again but by the message's coming again.

#[cfg(test)]
mod tests;

use crate::payment;
use amends_client::{
    Client, Error, HandleMessage, HandleMessages, QueueMessage, ReceiveMessages, Reply, ReplyOutcome, Then,
};
use anyhow::Context;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response, header};
use serde::Deserialize;
use serde_json::Value;
use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval_at, timeout};
use tower::ServiceExt;

/// Takes commands from a queue, several at a time.
#[derive(Clone)]
pub struct Workers {
    pub client: Client,
    pub queue: String,
    /// The service's own routes, with all their layers.
    pub service: Router,
}

/// A command as Amends sends it, as far as it matters here.
#[derive(Deserialize)]
struct Command {
    id: String,
    direction: Direction,
    idempotency_key: String,
    action_key: Option<String>,
    traceparent: String,
    /// In milliseconds since 1970.
    not_after: u64,
    body: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Direction {
    Action,
    Compensation,
}

/// What the service's answer means to whoever sent the command.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It can be told what became of it; of what is not done, after how many seconds to try again.
    Answer(ReplyOutcome, Option<u64>),
    /// That is not known yet: the command is to come again in so many seconds.
    Later(u64),
}

/// What becomes of the message.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It was dealt with.
    Over,
    /// It comes again in so many seconds.
    Again(u64),
    /// Nothing is said about it, as if this process had died: it comes again when its time is over.
    Silence,
}

/// For how long a receive waits for a message, and so how long a worker takes to see that it is to stop.
const WAIT: &str = "2s";
/// Short, so that another worker soon has what one that died was at; whoever works longer extends it.
const VISIBILITY: &str = "5s";
const BETWEEN_EXTENSIONS: Duration = Duration::from_millis(1_500);
/// How long a worker waits before it asks again a server that does not answer.
const PAUSE: Duration = Duration::from_millis(500);
/// When a message comes again where nothing else is known.
const AGAIN_S: u64 = 1;
/// More than any answer of this service has.
const ANSWER_BYTES: usize = 1024 * 1024;

impl Workers {
    /// Works on `count` commands at a time until the other end of `stopping` is dropped, and ends what is begun by then.
    pub async fn work(self, count: usize, stopping: watch::Receiver<()>) {
        let workers = (0..count).map(|_| self.clone().work_alone(stopping.clone()));
        workers.collect::<JoinSet<()>>().join_all().await;
    }

    async fn work_alone(self, mut stopping: watch::Receiver<()>) {
        let one = ReceiveMessages { limit: Some(1), wait: Some(WAIT.into()), visibility: Some(VISIBILITY.into()) };
        while stopping.has_changed().is_ok() {
            match self.client.receive(&self.queue, &one).await {
                Ok(received) => {
                    for message in received.items {
                        self.deal_with(message).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(queue = self.queue, %error, "nothing can be received");
                    let _over_or_stopped = timeout(PAUSE, stopping.changed()).await;
                }
            }
        }
    }

    async fn deal_with(&self, message: QueueMessage) {
        let receipt = message.receipt.clone();
        let fate = tokio::select! {
            fate = self.perform(message) => fate,
            never = self.keep(&receipt) => match never {},
        };
        match fate {
            Fate::Over => self.handle(&receipt, Then::Acknowledge, None).await,
            Fate::Again(seconds) => self.handle(&receipt, Then::Reject, Some(format!("{seconds}s"))).await,
            Fate::Silence => {}
        }
    }

    /// Keeps the message from others as long as it is worked on.
    async fn keep(&self, receipt: &str) -> Infallible {
        let mut turns = interval_at(tokio::time::Instant::now() + BETWEEN_EXTENSIONS, BETWEEN_EXTENSIONS);
        loop {
            turns.tick().await;
            self.handle(receipt, Then::Extend, Some(VISIBILITY.into())).await;
        }
    }

    /// What the server does not hear, or what comes too late, does no harm: the message comes again.
    async fn handle(&self, receipt: &str, then: Then, after: Option<String>) {
        let messages = vec![HandleMessage { receipt: receipt.to_owned(), then, after }];
        if let Err(error) = self.client.handle(&self.queue, &HandleMessages { messages }).await {
            tracing::warn!(queue = self.queue, %error, "the queue was not told what becomes of a message");
        }
    }

    async fn perform(&self, message: QueueMessage) -> Fate {
        let command: Command = match serde_json::from_value(message.body) {
            Ok(command) => command,
            Err(error) => {
                tracing::warn!(message = message.id, %error, "this is no command");
                return Fate::Again(AGAIN_S);
            }
        };
        if now_ms() > command.not_after {
            tracing::info!(command = command.id, "a command came too late, and was not begun with");
            return Fate::Over;
        }
        let (to, direction) = (command.id.clone(), command.direction);
        let request = match command.into_request() {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(command = to, "no request can be made of a command: {error:#}");
                return Fate::Again(AGAIN_S);
            }
        };
        // In a task of its own, so that a handler's panic ends the request and not the worker.
        let Ok(Ok(response)) = tokio::spawn(self.service.clone().oneshot(request)).await else {
            return Fate::Silence;
        };
        let (status, retry_after_s) = (response.status().as_u16(), retry_after_s(response.headers()));
        match judge(direction, status, retry_after_s) {
            Verdict::Later(seconds) => Fate::Again(seconds),
            Verdict::Answer(outcome, retry_after_s) => {
                let retry_after = retry_after_s.map(|seconds| format!("{seconds}s"));
                let reply = Reply { to, outcome, output: Value::Null, error: None, retry_after };
                self.answer(told(reply, response).await).await
            }
        }
    }

    async fn answer(&self, reply: Reply) -> Fate {
        match self.client.reply(&reply).await {
            Ok(_) => Fate::Over,
            // Nobody waits for it any more: another attempt was answered, or the saga has ended.
            Err(Error::Refused(problem)) if matches!(problem.status, 404 | 409) => Fate::Over,
            Err(error) => {
                tracing::warn!(command = reply.to, %error, "an answer was not taken");
                Fate::Again(AGAIN_S)
            }
        }
    }
}

impl Command {
    /// The request that the command would be over HTTP.
    fn into_request(self) -> anyhow::Result<Request<Body>> {
        let path = match self.direction {
            Direction::Action => payment::CHARGES,
            Direction::Compensation => payment::REFUNDS,
        };
        let mut request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", self.idempotency_key)
            .header("traceparent", self.traceparent);
        if let Some(action_key) = self.action_key {
            request = request.header("amends-action-key", action_key);
        }
        request.body(Body::from(self.body.to_string())).context("its keys fit no header")
    }
}

/// Says what Amends would make of such an answer over HTTP, except that what is unknown there is found out here: the
/// command comes again and meets its record.
fn judge(direction: Direction, status: u16, retry_after_s: Option<u64>) -> Verdict {
    match (status, retry_after_s, direction) {
        (200..=299, _, _) | (410, _, Direction::Compensation) => Verdict::Answer(ReplyOutcome::Done, None),
        (429, seconds, _) => Verdict::Answer(ReplyOutcome::NotDone, seconds),
        (409 | 425, Some(seconds), _) => Verdict::Later(seconds),
        (300..=407 | 409..=424 | 426..=499, _, _) => Verdict::Answer(ReplyOutcome::Refused, None),
        (_, seconds, _) => Verdict::Later(seconds.unwrap_or(AGAIN_S)),
    }
}

/// The reply with what the response says: the output of what is done, a sentence about what is not.
async fn told(reply: Reply, response: Response<Body>) -> Reply {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), ANSWER_BYTES).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match reply.outcome {
        ReplyOutcome::Done => Reply { output: body, ..reply },
        ReplyOutcome::Refused | ReplyOutcome::NotDone => {
            let detail = body["detail"].as_str().unwrap_or("no reason was given");
            Reply { error: Some(format!("answered {status}: {detail}")), ..reply }
        }
    }
}

fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
