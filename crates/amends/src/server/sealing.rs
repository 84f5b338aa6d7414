//! Seals the audit log: once a second, whichever of the servers on a store comes to it.
//!
//! What is not sealed yet is in the store all the same, so nothing is lost where a server ends: the next one seals it. The end of the
//! chain goes to the log, because a chain proves nothing to somebody who has not kept an earlier end elsewhere.

use amends_store::{AuditLog, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

#[cfg(test)]
mod tests;

const EVERY: Duration = Duration::from_secs(1);
/// How many entries are sealed in one transaction.
const AT_ONCE: usize = 500;

/// Seals until it is ended, which it can be at any time.
pub(super) async fn run(store: Arc<impl AuditLog + ?Sized>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        match seal_all(&*store).await {
            Ok(()) => is_failing = false,
            // It is said once and not every second.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "the audit log cannot be sealed; it is tried again");
            }
            Err(error) => tracing::debug!(%error, "the audit log cannot be sealed"),
        }
    }
}

/// Seals all there is, unless another server is at it.
async fn seal_all(store: &(impl AuditLog + ?Sized)) -> Result<(), StoreError> {
    while let Some(head) = store.seal(AT_ONCE).await? {
        tracing::info!(%head, "the audit log was sealed");
    }
    Ok(())
}
