//! Forgetting what ended long ago, and what else a store needs done now and then.
//!
//! It is nobody's in particular: where several orchestrators share a store, each does so, and what one does is nothing to do
//! for the next. A few sagas are forgotten at a time, with a pause in between, so that the work goes before it.

#[cfg(test)]
mod tests;

use amends_core::time::Timestamp;
use amends_store::{Forget, Incarnation, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// How long it rests between two rounds.
const ROUND: Duration = Duration::from_secs(3_600);
/// How many sagas are forgotten in one transaction.
const BATCH: usize = 250;
/// How long it rests between two transactions.
const PAUSE: Duration = Duration::from_millis(50);

/// Who looks after how much a store holds.
pub(super) struct Retention {
    pub(super) store: Arc<dyn Store>,
    /// For how long a finished saga is kept; `None` for ever.
    pub(super) retention_ms: Option<u64>,
    /// The driver's incarnation: when there is none to be told of any more, the engine has ended.
    pub(super) me: watch::Receiver<Incarnation>,
}

impl Retention {
    /// Does a round at once and then every hour, until the engine ends. It does not wait for a round to end then: the store is
    /// to be closed, and what was begun is done by the store or undone.
    pub(super) async fn run(self) {
        let mut me = self.me.clone();
        tokio::select! {
            _ = me.wait_for(|_| false) => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "room could not be made in the store; it is tried again in an hour");
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        let now = self.store.time().await?;
        let finished_before = self.retention_ms.map(|retention_ms| Timestamp(now.0.saturating_sub(retention_ms)));
        let forgotten = match finished_before {
            Some(finished_before) => self.forget(now, finished_before).await,
            None => Ok(()),
        };
        // Room is made ahead of time whatever came of that.
        self.store.keep_up(finished_before).await.and(forgotten)
    }

    async fn forget(&self, now: Timestamp, finished_before: Timestamp) -> Result<(), StoreError> {
        let mut request = Forget { finished_before, after: Uuid::nil(), limit: BATCH, now };
        let mut count = 0;
        loop {
            let forgotten = self.store.forget(request).await?;
            count += forgotten.len();
            match forgotten.last() {
                Some(last) if forgotten.len() == BATCH => request.after = *last,
                Some(_) | None => break,
            }
            tokio::time::sleep(PAUSE).await;
        }
        if count > 0 {
            tracing::info!(count, "forgot sagas that have been finished for longer than the retention");
        }
        Ok(())
    }
}
