//! The relay: it takes what a store keeps for a queue of SQS there.
//!
//! What steps send is put into the store's queue by the commit that decides it. A relay receives it from there, sends it, and
//! acknowledges it once SQS has it. One that dies in between leaves its messages to whoever receives them after the lease: such
//! a message is sent twice, with the same id. So any number of relays may work on one store, and need not know of each other.

use amends_core::retry::RetryPolicy;
use amends_core::time::Timestamp;
use amends_store::StoreAndViews;
use amends_store::queues::{Delivery, Handling, NewMessage, QueueError, Queues, ReceiveRequest, Sent};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How many messages are received at once: a few batches on their way together.
const RECEIVED: usize = 4 * crate::BATCH;

/// How long it is before the store is asked again when there was nothing.
const IDLE: Duration = Duration::from_millis(200);

/// How long what is on its way gets to land when the relay is stopped. What does not is sent again later.
const GRACE: Duration = Duration::from_secs(2);

/// When it is tried again after the queue or the store could not.
const PATIENCE: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial_ms: 200, factor: 2.0, max_ms: 30_000, total_ms: u64::MAX };

/// When a message that was refused is tried again. It is never given up: what was sent is not to be lost, and a person may mend it.
const REFUSED: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial_ms: 2_000, factor: 2.0, max_ms: 900_000, total_ms: u64::MAX };

/// What takes the messages of one queue from a store to another place.
#[derive(Clone)]
pub struct Relay {
    /// What the queue is called, on both sides.
    pub queue: String,
    /// Where the messages come from.
    pub store: Arc<dyn StoreAndViews>,
    /// Where they go.
    pub queues: Arc<dyn Queues>,
    /// How long the messages that were received are this relay's alone, in milliseconds. What is not sent by half of it is given up
    /// for now.
    pub lease_ms: u64,
}

impl Relay {
    /// Relays until `stop` ends.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut failed: u32 = 0;
        loop {
            let passing = self.pass();
            tokio::pin!(passing);
            let passed = tokio::select! {
                passed = &mut passing => passed,
                () = &mut stop => {
                    // What is received after this is left to its lease.
                    let _ = tokio::time::timeout(GRACE, passing).await;
                    return;
                }
            };
            let pause = match passed {
                Ok(moved) => {
                    if failed > 0 {
                        tracing::info!(queue = self.queue, "messages are relayed again");
                    }
                    failed = 0;
                    if moved == RECEIVED { Duration::ZERO } else { IDLE }
                }
                Err(error) => {
                    if failed == 0 {
                        tracing::warn!(queue = self.queue, %error, "messages cannot be relayed; they stay in the store");
                    }
                    failed = failed.saturating_add(1);
                    Duration::from_millis(PATIENCE.delay_ms(failed, fastrand::u64(..), None))
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut stop => return,
            }
        }
    }

    /// Takes some messages over, and says how many were received.
    async fn pass(&self) -> Result<usize, QueueError> {
        let request = ReceiveRequest {
            limit: RECEIVED,
            now: self.store.time().await?,
            wait_ms: 0,
            visibility_ms: self.lease_ms,
            // However long SQS is away, nothing dies here.
            receives_max: u32::MAX,
        };
        let received = self.store.receive_from(&self.queue, request).await?;
        let batches = join_all(received.chunks(crate::BATCH).map(|batch| self.send(batch))).await;
        batches.into_iter().collect::<Result<(), QueueError>>()?;
        Ok(received.len())
    }

    /// Sends a batch and tells the store what came of it.
    async fn send(&self, batch: &[Delivery]) -> Result<(), QueueError> {
        // Their time has come, by the store's clock; SQS is not to wait for its own.
        let message =
            |delivery: &Delivery| NewMessage { id: delivery.id.clone(), body: delivery.body.clone(), at: Timestamp(0) };
        let sending = self.queues.send_to(&self.queue, batch.iter().map(message).collect());
        let sent = match tokio::time::timeout(Duration::from_millis(self.lease_ms / 2), sending).await {
            Ok(sent) => sent,
            Err(_) => Err(QueueError::Unavailable("no answer came within half the lease".into())),
        };
        let now = self.store.time().await?;
        let (handlings, failure) = match sent {
            Ok(sent) => {
                (batch.iter().zip(sent).map(|(delivery, sent)| self.follow(delivery, sent, now)).collect(), None)
            }
            // They are given back at once, so that they need not wait for the lease's end when the queue is there again.
            Err(error) => {
                let give_back = |delivery: &Delivery| (delivery.receipt.clone(), Handling::Reject { at: now });
                (batch.iter().map(give_back).collect(), Some(error))
            }
        };
        // One whose lease was lost meanwhile is another relay's, which sends it again.
        self.store.handle(&self.queue, handlings, now).await?;
        failure.map_or(Ok(()), Err)
    }

    /// What becomes of a message in the store.
    fn follow(&self, delivery: &Delivery, sent: Sent, now: Timestamp) -> (String, Handling) {
        let handling = match sent {
            Sent::Done => Handling::Acknowledge,
            Sent::Refused(why) => {
                let delay_ms = REFUSED.ceiling_ms(delivery.receives);
                tracing::warn!(queue = self.queue, id = delivery.id, %why, delay_ms, "a message was not taken");
                Handling::Reject { at: now.plus(delay_ms) }
            }
        };
        (delivery.receipt.clone(), handling)
    }
}
