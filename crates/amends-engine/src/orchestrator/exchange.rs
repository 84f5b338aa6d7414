//! What is handed in to the orchestrator, and what it hands out.

use super::BatchId;
use super::lanes::OutgoingCall;
use crate::{EngineError, Order, Snapshot};
use amends_core::answer::Answer;
use amends_core::definition::Definition;
use amends_core::machine::Event;
use amends_core::time::Timestamp;
use amends_store::{Commit, Incarnation, Offer, Outcome, PermitRequest, Receive, Received, Record, StoreError};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// Names a caller who waits for an answer.
pub type ReplyId = u64;
/// Names a call that is in flight.
pub type CallId = u64;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Somebody wants to start a saga.
    Start(Box<StartInput>),
    /// Somebody asks something of a saga that exists.
    Order {
        /// Who waits.
        reply: ReplyId,
        /// The saga.
        saga: Uuid,
        /// What is asked.
        order: Order,
    },
    /// Somebody waits for a saga to finish or to get stuck.
    Await {
        /// Who waits.
        reply: ReplyId,
        /// The saga.
        saga: Uuid,
    },
    /// Whoever waited for the saga to finish or to get stuck waits no longer.
    Forget {
        /// Who.
        reply: ReplyId,
        /// The saga.
        saga: Uuid,
    },
    /// Sagas of another orchestrator that has ended are due.
    Freed,
    /// Whether an orchestrator of a newer program is at work on the same store.
    Newer(bool),
    /// The batch of an [`Output::Commit`] was committed, or not.
    Committed {
        /// Which.
        batch: BatchId,
        /// What came of it.
        result: Result<Vec<Outcome>, StoreError>,
    },
    /// The answer to [`Output::Claim`].
    Claimed(Result<(Vec<Loaded>, Option<Timestamp>), StoreError>),
    /// The answer to [`Output::Acquire`].
    Acquired {
        /// The saga.
        saga: Uuid,
        /// What came of it.
        result: Result<Taken, StoreError>,
    },
    /// The answer to [`Output::Receive`].
    Received {
        /// Whose messages.
        participant: String,
        /// What came.
        result: Result<Received, StoreError>,
    },
    /// The answer to [`Output::Permits`].
    Permitted(Result<usize, StoreError>),
    /// A call has ended.
    Answered {
        /// Which.
        call: CallId,
        /// With what.
        answer: Answer,
        /// Milliseconds that it took.
        took_ms: u64,
    },
}

/// A start, with everything that had to be looked up or drawn for it.
#[derive(Debug)]
pub struct StartInput {
    /// Who waits for it to be accepted.
    pub reply: ReplyId,
    /// Who waits for it to finish or to get stuck, if anyone does.
    pub settled: Option<ReplyId>,
    /// The new saga's id.
    pub id: Uuid,
    /// The definition.
    pub definition: Arc<Definition>,
    /// The input.
    pub input: Arc<Value>,
    /// The trace context that it came with.
    pub traceparent: Option<String>,
}

/// A saga out of the store, with its definition or the reason why that cannot be read.
#[derive(Debug)]
pub struct Loaded {
    /// The saga.
    pub record: Record,
    /// Its definition.
    pub definition: Result<Arc<Definition>, String>,
}

/// What came of taking one saga from the store: [`amends_store::Acquired`], with the definition.
#[derive(Debug)]
pub enum Taken {
    /// It is this incarnation's now.
    Yours(Box<Loaded>),
    /// It is finished.
    Finished(Box<Loaded>),
    /// Another incarnation owns it.
    Elsewhere(Incarnation),
    /// There is none.
    Missing,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Commit a batch, or offer one again of which the store did not say what became.
    Commit {
        /// Which.
        batch: BatchId,
        /// Whether it may have been written.
        offer: Offer,
        /// What it is.
        commits: Arc<[Commit]>,
    },
    /// Claim what is due.
    Claim {
        /// How many at most.
        limit: usize,
    },
    /// Take one saga.
    Acquire {
        /// Which.
        saga: Uuid,
    },
    /// Receive messages.
    Receive(Receive),
    /// Ask for a share of the rate of compensations.
    Permits(PermitRequest),
    /// Call a participant.
    Call(Box<OutgoingCall>),
    /// Answer a caller.
    Reply {
        /// Whom.
        reply: ReplyId,
        /// With what.
        result: Result<Reply, EngineError>,
    },
    /// Tell whoever listens what was committed.
    Announce {
        /// The saga after the events.
        saga: Snapshot,
        /// The events with their numbers.
        events: Vec<(u64, Timestamp, Event)>,
    },
    /// The engine cannot go on.
    Fatal(EngineError),
}

/// What a caller is told.
#[derive(Debug)]
pub enum Reply {
    /// The saga was accepted.
    Accepted(Snapshot),
    /// The same work was accepted before, as this saga.
    Existing(Uuid),
    /// The saga now: after an order was carried out, or when it finished or got stuck.
    Saga(Snapshot),
}
