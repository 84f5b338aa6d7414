//! What is decided and not durable yet: what gathers for the next batch, and the batches on their way to the store.
//!
//! Whatever has gathered goes as soon as nothing else is on its way, however little it is, but for a moment in which calls that
//! will have their answers at once may still bring more: so sagas that go at the same pace stay together. Beside another batch
//! goes only a full one, or one that has waited for a store that is slow today: two halves cost the store nearly twice as much
//! as the whole, and are not much sooner there. A batch that the store could not take is offered again, until it is known what
//! became of it.

use super::STORE_RETRY_MS;
use crate::Settings;
use amends_core::time::Timestamp;
use amends_store::{Commit, Offer, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tells batches apart.
pub type BatchId = u64;

/// A batch that has been on its way for so long holds up no other.
const SLOW_MS: u64 = 100;
/// For how long after one batch the next waits for calls that are nearly there.
const STRAGGLERS_MS: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Commits {
    /// How many batches may be on their way at once.
    most: usize,
    /// How many commits make one that goes beside others.
    full: usize,
    /// Decided, for the next batch. A saga has at most one commit in here and in all batches together.
    gathered: Vec<Commit>,
    batches: BTreeMap<BatchId, Batch>,
    next: BatchId,
    /// When the last batch was known to be durable.
    landed: Timestamp,
    /// When what failed is offered again.
    retry_at: Option<Timestamp>,
    /// Why the store could not take the last batch; nothing new is accepted meanwhile.
    outage: Option<StoreError>,
}

#[derive(Debug)]
struct Batch {
    commits: Arc<[Commit]>,
    offer: Offer,
    /// When it was offered first.
    since: Timestamp,
    has_failed: bool,
}

impl Commits {
    pub(super) fn new(settings: &Settings) -> Commits {
        Commits {
            most: settings.commits_in_flight,
            full: settings.full_batch,
            gathered: Vec::new(),
            batches: BTreeMap::new(),
            next: 1,
            landed: Timestamp(0),
            retry_at: None,
            outage: None,
        }
    }

    pub(super) fn add(&mut self, commit: Commit) {
        let on_their_way = || self.batches.values().flat_map(|batch| batch.commits.iter());
        let has_another = || self.gathered.iter().chain(on_their_way()).any(|other| other.saga == commit.saga);
        debug_assert!(!has_another(), "saga {} has two commits at a time", commit.saga);
        self.gathered.push(commit);
    }

    /// What is to be offered to the store now. `more_comes`: calls from before the last batch will be answered at once.
    pub(super) fn offers(&mut self, now: Timestamp, more_comes: bool) -> Vec<(BatchId, Offer, Arc<[Commit]>)> {
        let mut offers = Vec::new();
        if self.retry_at.take_if(|at| *at <= now).is_some() {
            for (id, batch) in self.batches.iter_mut().filter(|(_, batch)| batch.has_failed) {
                batch.has_failed = false;
                offers.push((*id, batch.offer, batch.commits.clone()));
            }
            if offers.is_empty() {
                // Only starts had failed, and they were refused: the next one shows whether the store is back.
                self.outage = None;
            }
        }
        let enough = if self.waits_until(more_comes).is_none_or(|at| at <= now) { 1 } else { self.full };
        if self.outage.is_none() && self.batches.len() < self.most && self.gathered.len() >= enough {
            let commits: Arc<[Commit]> = std::mem::take(&mut self.gathered).into();
            let batch = Batch { commits: commits.clone(), offer: Offer::First, since: now, has_failed: false };
            self.batches.insert(self.next, batch);
            offers.push((self.next, Offer::First, commits));
            self.next += 1;
        }
        offers
    }

    /// The batch is durable, and no business of this any more.
    pub(super) fn durable(&mut self, batch: BatchId, now: Timestamp) -> Arc<[Commit]> {
        self.landed = now;
        if self.outage.take().is_some() {
            tracing::info!("the store takes commits again");
        }
        self.batches.remove(&batch).map(|batch| batch.commits).unwrap_or_default()
    }

    /// The store could not take a batch, and it is offered again later. Returns the starts that are given up, for nothing of
    /// them was written; everything else must be kept, and starts too where that is not known.
    pub(super) fn failed(&mut self, id: BatchId, error: &StoreError, now: Timestamp) -> Vec<Commit> {
        if self.outage.is_none() {
            tracing::error!(%error, "the store cannot take commits; they are offered again until it can");
        }
        self.outage = Some(error.clone());
        self.retry_at.get_or_insert(now.plus(STORE_RETRY_MS));
        let (mut starts, kept) = starts_apart(std::mem::take(&mut self.gathered));
        self.gathered = kept;
        let Some(mut batch) = self.batches.remove(&id) else { return starts };
        batch.has_failed = true;
        if matches!(error, StoreError::Unknown(_)) {
            batch.offer = Offer::Again;
        }
        if batch.offer == Offer::First {
            let (given_up, kept) = starts_apart(batch.commits.iter().cloned());
            starts.extend(given_up);
            batch.commits = kept.into();
        }
        if !batch.commits.is_empty() {
            self.batches.insert(id, batch);
        }
        starts
    }

    pub(super) fn outage(&self) -> Option<&StoreError> {
        self.outage.as_ref()
    }

    pub(super) fn wake_at(&self, more_comes: bool) -> Option<Timestamp> {
        let waits = self.outage.is_none() && self.batches.len() < self.most && !self.gathered.is_empty();
        [self.retry_at, self.waits_until(more_comes).filter(|_| waits)].into_iter().flatten().min()
    }

    /// Until when a batch that is not full waits for those that are on their way, or for what is to go with it.
    fn waits_until(&self, more_comes: bool) -> Option<Timestamp> {
        let others = self.batches.values().map(|batch| batch.since.plus(SLOW_MS)).max();
        others.or(more_comes.then(|| self.landed.plus(STRAGGLERS_MS)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.batches.is_empty()
    }
}

/// The starts among commits, and the others.
fn starts_apart(commits: impl IntoIterator<Item = Commit>) -> (Vec<Commit>, Vec<Commit>) {
    commits.into_iter().partition(|commit| commit.birth.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_core::machine::Status;
    use amends_store::{Rest, Row};
    use uuid::Uuid;

    fn commit(saga: u128) -> Commit {
        Commit {
            saga: Uuid::from_u128(saga),
            after: 1,
            birth: None,
            events: None,
            row: Row { status: Status::Running, paused: false, reason: None, rest: Rest::Owned },
            changes_row: true,
            writes: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// How many commits are in the batch that is offered now, if one is.
    fn offered(commits: &mut Commits) -> Option<usize> {
        commits.offers(Timestamp(0), false).first().map(|(.., batch)| batch.len())
    }

    #[test]
    fn beside_a_batch_on_its_way_goes_only_a_full_one() {
        let mut commits = Commits::new(&Settings { commits_in_flight: 2, full_batch: 3, ..Settings::default() });
        commits.add(commit(1));
        assert_eq!(offered(&mut commits), Some(1), "nothing else is on its way");
        (2..=3).for_each(|saga| commits.add(commit(saga)));
        assert_eq!(offered(&mut commits), None, "two are not enough");
        commits.add(commit(4));
        assert_eq!(offered(&mut commits), Some(3));
        (5..=8).for_each(|saga| commits.add(commit(saga)));
        assert_eq!(offered(&mut commits), None, "there are two");
        commits.durable(1, Timestamp(0));
        commits.durable(2, Timestamp(0));
        assert_eq!(offered(&mut commits), Some(4));
    }

    #[test]
    fn a_batch_that_hangs_holds_up_no_other_for_long() {
        let mut commits = Commits::new(&Settings { commits_in_flight: 2, full_batch: 3, ..Settings::default() });
        commits.add(commit(1));
        assert_eq!(offered(&mut commits), Some(1));
        assert_eq!(commits.wake_at(false), None, "nothing waits");
        commits.add(commit(2));
        assert_eq!(offered(&mut commits), None);
        assert_eq!(commits.wake_at(false), Some(Timestamp(SLOW_MS)));
        assert_eq!(commits.offers(Timestamp(SLOW_MS), false).len(), 1);
        commits.add(commit(3));
        assert_eq!(commits.wake_at(false), None, "there is no place for another");
    }

    #[test]
    fn after_a_batch_the_next_waits_a_moment_for_calls_that_are_nearly_there() {
        let mut commits = Commits::new(&Settings { commits_in_flight: 2, full_batch: 3, ..Settings::default() });
        commits.durable(0, Timestamp(10));
        commits.add(commit(1));
        assert!(commits.offers(Timestamp(10), true).is_empty());
        assert_eq!(commits.wake_at(true), Some(Timestamp(10 + STRAGGLERS_MS)), "for no longer");
        assert_eq!(commits.offers(Timestamp(10), false).len(), 1, "there are none");
        commits.durable(1, Timestamp(20));
        (2..=4).for_each(|saga| commits.add(commit(saga)));
        assert_eq!(commits.offers(Timestamp(20), true).len(), 1, "it is full");
    }
}
