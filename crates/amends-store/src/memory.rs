//! A store in memory: the model that every other store is compared with, and the one that simulations drive.
//!
//! It is meant to be obviously right rather than fast: one plain value behind one lock, ordered collections only
//! (the same calls give the same answers, in the same order, every time), and async methods that never wait.
//! Nothing is written anywhere; what it holds ends with it.

mod queues;
mod state;

use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, QueueError, ReceiveRequest,
    Redrive, Sent,
};
use crate::{
    Acquired, AuditEntry, AuditLog, AuditQuery, Claimed, Commit, DeadLetter, DeadLetterGroup, DeadLetterQuery, Deed,
    Forget, GroupQuery, Incarnation, Offer, Outcome, PermitRequest, Queues, Receive, Received, Record, SagaQuery,
    Statistics, Store, StoreError, StoredDefinition, StoredToken, Summary, TokenDigest, TokenQuery, Tokens, Views,
    Which,
};
use amends_core::chain::Head;
use amends_core::time::Timestamp;
use async_trait::async_trait;
use state::State;
use std::sync::{Arc, Mutex, MutexGuard};
use uuid::Uuid;

/// How many orchestrator processes a store serves at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// One, as SQLite does: whoever enlists is the only one, and every other incarnation is known to be dead.
    One,
    /// Several live side by side; an incarnation ends when it is retired.
    Several,
}

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(processes: Processes) -> MemoryStore {
        MemoryStore { state: Mutex::new(State::new(processes)) }
    }

    /// As [`Store::permits`], at this time.
    #[must_use]
    pub fn permits_at(&self, now: Timestamp, request: PermitRequest) -> usize {
        self.state().permits(now, &request)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no method panics while it holds the lock")
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn enlist(&self, me: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.state().enlist(me, now)
    }

    async fn retire(&self, whom: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.state().retire(whom, now);
        Ok(())
    }

    async fn commit(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.state().commit(me, &batch, Offer::First)
    }

    async fn commit_again(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.state().commit(me, &batch, Offer::Again)
    }

    async fn claim(&self, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, StoreError> {
        self.state().claim(me, now, limit)
    }

    async fn acquire(&self, me: Incarnation, saga: Uuid) -> Result<Acquired, StoreError> {
        self.state().acquire(me, saga)
    }

    async fn receive(&self, me: Incarnation, request: Receive) -> Result<Received, StoreError> {
        self.state().receive(me, &request)
    }

    async fn permits(&self, request: PermitRequest) -> Result<usize, StoreError> {
        let now = self.time().await?;
        Ok(self.permits_at(now, request))
    }

    async fn forget(&self, request: Forget) -> Result<Vec<Uuid>, StoreError> {
        Ok(self.state().forget(&request))
    }

    async fn put_definition(&self, definition: StoredDefinition, deed: Deed) -> Result<bool, StoreError> {
        Ok(self.state().put_definition(definition, deed))
    }

    async fn definitions(&self, which: Which) -> Result<Vec<StoredDefinition>, StoreError> {
        Ok(self.state().definitions(&which))
    }
}

#[async_trait]
impl Views for MemoryStore {
    async fn saga(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        Ok(self.state().saga(id))
    }

    async fn sagas(&self, query: SagaQuery) -> Result<Vec<Summary>, StoreError> {
        Ok(self.state().sagas(&query))
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.state().dead_letters(&query))
    }

    async fn dead_letter_groups(&self, query: GroupQuery) -> Result<Vec<DeadLetterGroup>, StoreError> {
        Ok(self.state().dead_letter_groups(&query))
    }

    async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        Ok(self.state().dead_letter(id))
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.state().audit(&query))
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        Ok(self.state().statistics())
    }
}

#[async_trait]
impl Tokens for MemoryStore {
    async fn put_token(&self, token: StoredToken, deed: Deed) -> Result<(), StoreError> {
        self.state().put_token(token, deed)
    }

    async fn token(&self, digest: TokenDigest) -> Result<Option<StoredToken>, StoreError> {
        Ok(self.state().token(&digest))
    }

    async fn tokens(&self, query: TokenQuery) -> Result<Vec<StoredToken>, StoreError> {
        Ok(self.state().tokens(query))
    }

    async fn revoke_token(&self, id: Uuid, deed: Deed) -> Result<Option<StoredToken>, StoreError> {
        Ok(self.state().revoke_token(id, deed))
    }
}

#[async_trait]
impl AuditLog for MemoryStore {
    async fn seal(&self, limit: usize) -> Result<Option<Head>, StoreError> {
        Ok(self.state().seal(limit))
    }

    async fn sealed(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.state().sealed(after, limit))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.state().head())
    }
}

#[async_trait]
impl Queues for MemoryStore {
    async fn send_to(&self, queue: &str, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        let sent = vec![Sent::Done; messages.len()];
        let mut state = self.state();
        messages.into_iter().for_each(|message| state.queues.put(queue, message));
        Ok(sent)
    }

    async fn receive_from(&self, queue: &str, request: ReceiveRequest) -> Result<Vec<Delivery>, QueueError> {
        Ok(self.state().queues.receive(queue, &request))
    }

    async fn handle(
        &self,
        queue: &str,
        handlings: Vec<(String, Handling)>,
        now: Timestamp,
    ) -> Result<Vec<Handled>, QueueError> {
        let mut state = self.state();
        let handle = |(receipt, handling): (String, _)| state.queues.handle(queue, &receipt, handling, now);
        Ok(handlings.into_iter().map(handle).collect())
    }

    async fn dead(&self, queue: &str, query: DeadQuery) -> Result<Vec<DeadMessage>, QueueError> {
        Ok(self.state().queues.dead(queue, &query))
    }

    async fn redrive(&self, queue: &str, redrive: NewRedrive) -> Result<Redrive, QueueError> {
        Ok(self.state().queues.redrive(queue, redrive))
    }

    async fn redrives(&self, queue: &str, now: Timestamp) -> Result<Vec<Redrive>, QueueError> {
        Ok(self.state().queues.redrives(queue, now))
    }

    async fn cancel_redrive(&self, queue: &str, id: &str, now: Timestamp) -> Result<Option<Redrive>, QueueError> {
        Ok(self.state().queues.cancel_redrive(queue, id, now))
    }

    async fn depth(&self, queue: &str, now: Timestamp) -> Result<Depth, QueueError> {
        Ok(self.state().queues.depth(queue, now))
    }
}
