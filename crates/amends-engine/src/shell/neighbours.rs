//! Other orchestrators on the same store: signs of life, taking over from those that give none, and what reached one of them
//! and is another's to do.

use super::catalogue::Catalogue;
use super::driver::Letter;
use crate::orchestrator::{Input, Reply, ReplyId};
use crate::{EngineError, Order};
use amends_store::{FORMAT, Incarnation, Item, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// How often an orchestrator looks into its inbox.
const INBOX: Duration = Duration::from_millis(200);

/// Who an orchestrator is while it is between two incarnations.
pub(super) const NOBODY: Incarnation = Uuid::nil();

/// What came of an order that was left for another orchestrator.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    UnknownSaga,
    UnknownStep(String),
    Unreadable,
    Conflict(String),
    MovedOn,
    ForNewer,
    Failed(String),
}

/// An orchestrator among others.
#[derive(Clone)]
pub(super) struct Neighbour {
    pub(super) store: Arc<dyn Store>,
    pub(super) catalogue: Arc<Catalogue>,
    /// Who it is now.
    pub(super) me: watch::Receiver<Incarnation>,
    pub(super) letters: mpsc::WeakUnboundedSender<Letter>,
    pub(super) next_reply: Arc<AtomicU64>,
}

impl Neighbour {
    /// Renews the lease at a third of its length, until the engine ends. It does nothing else, so that nothing keeps it waiting.
    pub(super) async fn give_signs_of_life(self, lease: Duration) {
        let mut rounds = rounds(lease / 3);
        while self.letters.strong_count() > 0 {
            rounds.tick().await;
            let (me, asked) = (*self.me.borrow(), Instant::now());
            if me == NOBODY {
                continue;
            }
            let renewed = tokio::time::timeout(lease / 3, self.store.renew(me)).await;
            self.tell(match renewed {
                Ok(Ok(now)) => Letter::Renewed { asked, answered: Instant::now(), now },
                Ok(Err(StoreError::Fenced)) => Letter::Fenced(me),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "no sign of life could be given");
                    continue;
                }
                Err(_) => {
                    tracing::warn!("no sign of life could be given: the store does not answer");
                    continue;
                }
            });
        }
    }

    /// Looks for others that give no signs of life or are newer, and for what they have stored; until the engine ends.
    pub(super) async fn keep_watch(self, lease: Duration) {
        let mut rounds = rounds(lease / 6);
        while self.letters.strong_count() > 0 {
            rounds.tick().await;
            match self.store.take_over().await {
                Ok(0) => {}
                Ok(_) => {
                    self.tell(Letter::Freed);
                }
                Err(error) => tracing::warn!(%error, "it could not be seen whether another orchestrator has ended"),
            }
            match self.store.newest_format().await {
                Ok(newest) => drop(self.tell(Letter::Newer(newest > FORMAT))),
                Err(error) => tracing::warn!(%error, "it could not be seen whether there is a newer program"),
            }
            if let Err(error) = self.catalogue.refresh().await {
                tracing::warn!(%error, "it could not be seen whether there are new definitions");
            }
        }
    }

    /// Does what others leave for this one; until the engine ends.
    pub(super) async fn look_into_inbox(self) {
        let mut in_hand = BTreeSet::new();
        let mut rounds = rounds(INBOX);
        while self.letters.strong_count() > 0 {
            rounds.tick().await;
            let me = *self.me.borrow();
            let Ok(items) = self.store.inbox(me).await else { continue };
            // What is answered or withdrawn need not be remembered.
            in_hand.retain(|id| items.iter().any(|item| item.id == *id));
            for item in items {
                if in_hand.insert(item.id) {
                    tokio::spawn(self.clone().carry_out(item));
                }
            }
        }
    }

    async fn carry_out(self, item: Item) {
        let answer = match serde_json::from_slice::<Order>(&item.body) {
            Ok(order) => match self.ask(item.saga, order).await {
                Ok(_) => Answer::Done,
                // Its sender finds out by itself whose the saga is now.
                Err(EngineError::Elsewhere(_)) => return,
                Err(error) => Answer::of(&error),
            },
            Err(error) => Answer::Failed(format!("the other orchestrator does not understand it: {error}")),
        };
        let answer = serde_json::to_vec(&answer).expect("an answer is plain data");
        if let Err(error) = self.store.answer(item.id, answer).await {
            tracing::warn!(%error, saga = %item.saga, "an answer could not be left for another orchestrator");
        }
    }

    async fn ask(&self, saga: Uuid, order: Order) -> Result<Reply, EngineError> {
        let reply: ReplyId = self.next_reply.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let input = Input::Order { reply, saga, order };
        if !self.tell(Letter::Ask { input, callers: vec![(reply, sender)] }) {
            return Err(EngineError::Stopping);
        }
        receiver.await.unwrap_or(Err(EngineError::Stopping))
    }

    /// Whether there is still an engine to tell.
    fn tell(&self, letter: Letter) -> bool {
        self.letters.upgrade().is_some_and(|letters| letters.send(letter).is_ok())
    }
}

fn rounds(period: Duration) -> tokio::time::Interval {
    let mut rounds = tokio::time::interval(period);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    rounds
}

impl Answer {
    fn of(error: &EngineError) -> Answer {
        match error {
            EngineError::UnknownSaga(_) => Answer::UnknownSaga,
            EngineError::UnknownStep(step) => Answer::UnknownStep(step.clone()),
            EngineError::Unreadable(_) => Answer::Unreadable,
            EngineError::Conflict(why) => Answer::Conflict(why.clone()),
            EngineError::MovedOn => Answer::MovedOn,
            EngineError::ForNewer(_) => Answer::ForNewer,
            error => Answer::Failed(error.to_string()),
        }
    }

    pub(super) fn read(bytes: &[u8], saga: Uuid) -> Result<(), EngineError> {
        match serde_json::from_slice(bytes) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::UnknownSaga) => Err(EngineError::UnknownSaga(saga)),
            Ok(Answer::UnknownStep(step)) => Err(EngineError::UnknownStep(step)),
            Ok(Answer::Unreadable) => Err(EngineError::Unreadable(saga)),
            Ok(Answer::Conflict(why)) => Err(EngineError::Conflict(why)),
            Ok(Answer::MovedOn) => Err(EngineError::MovedOn),
            Ok(Answer::ForNewer) => Err(EngineError::ForNewer(saga)),
            Ok(Answer::Failed(why)) => Err(EngineError::Store(StoreError::Unavailable(why.into()))),
            Err(error) => Err(EngineError::Store(StoreError::Unavailable(
                format!("the other orchestrator's answer is not understood: {error}").into(),
            ))),
        }
    }
}
