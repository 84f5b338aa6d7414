//! The keys whose requests run in this process right now.
//!
//! A claim inside a transaction is invisible to everyone else until its commit. This registry is how a duplicate in
//! the same process learns of it at once; a duplicate in another process waits for SQLite's lock instead.

use amends_core::idempotency::Fingerprint;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A key and the caller whose key it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopedKey {
    pub scope: String,
    pub key: String,
}

/// Which requests run.
#[derive(Default)]
pub struct InFlight {
    runs: Mutex<HashMap<ScopedKey, Run>>,
}

/// One request that runs.
#[derive(Clone)]
pub struct Run {
    /// What the request is.
    pub fingerprint: Fingerprint,
    ended: watch::Receiver<()>,
}

/// A key that is this request's until the claim is dropped.
pub struct Claim {
    registry: Arc<InFlight>,
    key: ScopedKey,
    /// Dropping it tells those who wait.
    _ending: watch::Sender<()>,
}

impl InFlight {
    /// Claims `key`, or tells which request has it.
    pub fn claim(self: &Arc<Self>, key: &ScopedKey, fingerprint: &Fingerprint) -> Result<Claim, Run> {
        match self.runs().entry(key.clone()) {
            Entry::Occupied(run) => Err(run.get().clone()),
            Entry::Vacant(place) => {
                let (ending, ended) = watch::channel(());
                place.insert(Run { fingerprint: fingerprint.clone(), ended });
                Ok(Claim { registry: Arc::clone(self), key: key.clone(), _ending: ending })
            }
        }
    }

    /// The request that has `key`, if one runs.
    pub fn find(&self, key: &ScopedKey) -> Option<Run> {
        self.runs().get(key).cloned()
    }

    /// No code that holds this lock can panic halfway through a change, so a poisoned one is whole.
    fn runs(&self) -> MutexGuard<'_, HashMap<ScopedKey, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Waits until the request has ended.
    pub async fn ended(mut self) {
        // Nothing is ever sent: the error is the sender's end, and so the request's.
        while self.ended.changed().await.is_ok() {}
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.registry.runs().remove(&self.key);
    }
}
