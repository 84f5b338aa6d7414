//! Takes in the answers to what was sent by message, from the queues that are configured for them.
//!
//! A message is acknowledged when its answer is durable, or when nobody waits for it. What cannot be read is left to come again until
//! it is dead, where somebody finds it; so is what the engine cannot take for now, and the queue rests meanwhile.

use crate::api::{App, Queue};
use crate::config::Config;
use amends_engine::EngineError;
use amends_engine::message::Answer;
use amends_store::queues::{Delivery, Handling, QueueError, ReceiveRequest};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

const AT_ONCE: usize = 10;
/// For how long to wait for an answer, in milliseconds, where the queue can.
const WAIT_MS: u64 = 20_000;
/// How often to look where it cannot.
const LOOK: Duration = Duration::from_millis(200);
/// How long a queue rests after something went wrong, at first and at most.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Takes in the answers from every queue that holds some.
pub(super) fn start(config: &Config, app: &Arc<App>) -> Vec<JoinHandle<()>> {
    let answered = config.queues.iter().filter(|(_, queue)| queue.holds_replies);
    answered.map(|(name, _)| tokio::spawn(run(app.clone(), name.clone()))).collect()
}

/// Takes in answers until it is ended, which it can be at any time.
async fn run(app: Arc<App>, name: String) {
    let Some(queue) = app.queues.get(&name) else { return };
    let mut rest = REST.0;
    loop {
        match take_some(&app, &name, queue).await {
            Ok(0) => sleep(LOOK).await,
            Ok(_) => rest = REST.0,
            Err(why) => {
                tracing::warn!(queue = name, %why, "answers cannot be taken in for now; it is tried again");
                sleep(rest).await;
                rest = (rest * 2).min(REST.1);
            }
        }
    }
}

/// Receives some answers and deals with them. Returns how many they were.
async fn take_some(app: &App, name: &str, queue: &Queue) -> Result<usize, String> {
    let failed = |error: QueueError| error.to_string();
    let now = app.store.time().await.map_err(|error| error.to_string())?;
    let (visibility_ms, receives_max) = (queue.visibility_ms, queue.receives);
    let request = ReceiveRequest { limit: AT_ONCE, now, wait_ms: WAIT_MS, visibility_ms, receives_max };
    let received = queue.kept_by.receive_from(name, request).await.map_err(failed)?;
    let taken = join_all(received.iter().map(|delivery| take(app, delivery)));
    tokio::pin!(taken);
    let mut thirds = interval(Duration::from_millis(visibility_ms / 3));
    thirds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    thirds.tick().await;
    let taken = loop {
        tokio::select! {
            taken = &mut taken => break taken,
            _ = thirds.tick() => extend(app, name, queue, &received).await.map_err(failed)?,
        }
    };
    let dealt_with = received.iter().zip(&taken).filter(|(_, taken)| taken.is_ok());
    let handlings = dealt_with.map(|(delivery, _)| (delivery.receipt.clone(), Handling::Acknowledge)).collect();
    queue.kept_by.handle(name, handlings, now).await.map_err(failed)?;
    let busy = taken.into_iter().filter_map(Result::err).find_map(|left| match left {
        Left::ForLater(why) => Some(why),
        Left::Unreadable => None,
    });
    busy.map_or(Ok(received.len()), Err)
}

/// Those that are being dealt with stay invisible to others.
async fn extend(app: &App, name: &str, queue: &Queue, received: &[Delivery]) -> Result<(), QueueError> {
    let now = app.store.time().await?;
    let until = now.plus(queue.visibility_ms);
    let handlings = received.iter().map(|delivery| (delivery.receipt.clone(), Handling::Extend { until })).collect();
    queue.kept_by.handle(name, handlings, now).await?;
    Ok(())
}

/// Why a message stays in the queue.
enum Left {
    /// It is no answer.
    Unreadable,
    /// The engine cannot take it for now.
    ForLater(String),
}

async fn take(app: &App, delivery: &Delivery) -> Result<(), Left> {
    let answer: Answer = serde_json::from_str(&delivery.body).map_err(|error| {
        // The error itself may quote what came.
        let (line, column) = (error.line(), error.column());
        tracing::warn!(message = delivery.id, line, column, "what came from a queue is no answer; see docs/queues.md");
        Left::Unreadable
    })?;
    let to = answer.to.clone();
    match app.engine.reply(answer).await {
        Ok(_) => Ok(()),
        Err(EngineError::Conflict(why)) => {
            tracing::info!(command = to, why, "nobody waits for an answer that came");
            Ok(())
        }
        Err(error @ (EngineError::UnknownSaga(_) | EngineError::UnknownStep(_))) => {
            tracing::warn!(command = to, %error, "an answer came to what was never sent");
            Ok(())
        }
        Err(EngineError::BadInput(why)) => {
            tracing::warn!(message = delivery.id, why, "what came from a queue is no answer");
            Err(Left::Unreadable)
        }
        Err(error) => Err(Left::ForLater(error.to_string())),
    }
}
