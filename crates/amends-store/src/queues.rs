//! Queues as services use them: what a step sends to a participant, and what comes back.
//!
//! [`Queues`] is the seam. Every store implements it with rows of its own, and other queues implement it elsewhere. A message is
//! in exactly one of four states: ready (its time has come), in flight (somebody received it and has until a time to deal with
//! it), dead (it was received too often without being dealt with), or gone. It may come more than once, and in any order: whoever
//! receives it tells by its id what they have seen.

use crate::StoreError;
use amends_core::time::Timestamp;
use async_trait::async_trait;
use std::sync::Arc;

/// How large a message can be, in bytes.
pub const MESSAGE_BYTES: usize = 1 << 20;

/// How many dead messages are redriven at once.
pub const REDRIVEN: usize = 10_000;

/// Queues by their names.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Puts messages, each at its time. Whether each was put is told in their order; one whose id is in the queue counts as put
    /// and changes nothing, as far as the queue can see that.
    async fn send_to(&self, queue: &str, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError>;

    /// Receives messages that are ready. It may wait for some, up to `request.wait`, and may answer sooner with none: a store
    /// never waits.
    async fn receive_from(&self, queue: &str, request: ReceiveRequest) -> Result<Vec<Delivery>, QueueError>;

    /// Says what becomes of messages that were received. What came of it is told in their order.
    async fn handle(
        &self,
        queue: &str,
        handlings: Vec<(String, Handling)>,
        now: Timestamp,
    ) -> Result<Vec<Handled>, QueueError>;

    /// Dead messages, those that died first first. A queue that cannot list them shows some.
    async fn dead(&self, queue: &str, query: DeadQuery) -> Result<Vec<DeadMessage>, QueueError>;

    /// Makes dead messages ready again, those that died first first, so many a second and [`REDRIVEN`] at most; their receives are
    /// counted anew.
    async fn redrive(&self, queue: &str, redrive: NewRedrive) -> Result<Redrive, QueueError>;

    /// The last redrives, newest first.
    async fn redrives(&self, queue: &str, now: Timestamp) -> Result<Vec<Redrive>, QueueError>;

    /// Stops a redrive: what is not ready yet is dead again. `None` where there is none of this id.
    async fn cancel_redrive(&self, queue: &str, id: &str, now: Timestamp) -> Result<Option<Redrive>, QueueError>;

    /// How many messages there are, about.
    async fn depth(&self, queue: &str, now: Timestamp) -> Result<Depth, QueueError>;
}

/// A message that is to be put in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its sender's own id for it. A queue's own ids change when a message is redriven; this one does not.
    pub id: String,
    /// What it says.
    pub body: String,
    /// When it may be received, and not before.
    pub at: Timestamp,
}

/// What came of putting one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is durable.
    Done,
    /// The queue did not take it, for the reason given; the others may have been taken.
    Refused(Arc<str>),
}

/// What to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveRequest {
    /// How many at most.
    pub limit: usize,
    /// The time now.
    pub now: Timestamp,
    /// For how long to wait for one, in milliseconds, where the queue can.
    pub wait_ms: u64,
    /// For how long they are invisible to everyone else, in milliseconds.
    pub visibility_ms: u64,
    /// A message that was received this often and is ready again is dead. (Where the queue has a setting of its own, that counts.)
    pub receives_max: u32,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The sender's id for it.
    pub id: String,
    /// What it says.
    pub body: String,
    /// What to name it by when it is dealt with; another one at every receiving.
    pub receipt: String,
    /// How many times it was received, this time included.
    pub receives: u32,
}

/// What is to become of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It was dealt with, and goes.
    Acknowledge,
    /// It stays invisible until this time; the receipt holds on.
    Extend {
        /// Until then.
        until: Timestamp,
    },
    /// It was not dealt with, and is ready again at this time.
    Reject {
        /// From then on.
        at: Timestamp,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is so.
    Done,
    /// The receipt does not hold any more: the message was received again since, or is gone.
    Stale,
    /// The queue did not take it, for the reason given.
    Refused(Arc<str>),
}

/// Which dead messages to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadQuery {
    /// Only those after this one.
    pub after: Option<(Timestamp, String)>,
    /// How many at most.
    pub limit: usize,
}

/// A dead message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMessage {
    /// The sender's id for it.
    pub id: String,
    /// What it says.
    pub body: String,
    /// When it was to be ready first.
    pub sent_at: Timestamp,
    /// When it was given up.
    pub dead_at: Timestamp,
    /// How many times it was received.
    pub receives: u32,
}

/// Dead messages that are to be ready again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRedrive {
    /// Its id, where the queue does not give it one of its own.
    pub id: String,
    /// How many a second; at least one.
    pub per_second: u32,
    /// The time now.
    pub now: Timestamp,
}

/// How far a redrive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// Its id.
    pub id: String,
    /// When it began.
    pub at: Timestamp,
    /// How many a second.
    pub per_second: u32,
    /// How many messages it is about, as far as the queue knows.
    pub total: u64,
    /// How many of them are ready again, or have been.
    pub moved: u64,
    /// Whether it was cancelled.
    pub is_cancelled: bool,
}

/// How many messages a queue has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received.
    pub ready: u64,
    /// In flight, or put for later.
    pub invisible: u64,
    /// Given up.
    pub dead: u64,
}

/// Why a queue could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// It is kept by a store, which could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be reached, or refuses for now. Trying again can help; what was sent may have been put.
    #[error("the queue is not available: {0}")]
    Unavailable(Arc<str>),
    /// It refuses for good: there is no such queue, or no permission.
    #[error("the queue refuses: {0}")]
    Refused(Arc<str>),
}

/// How many redrives are shown.
pub(crate) const REDRIVES_SHOWN: usize = 20;

/// When the n-th message of a redrive is ready, for each n from 0.
pub(crate) fn redriven_at(redrive: &NewRedrive, number: usize) -> Timestamp {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    redrive.now.plus(number.saturating_mul(1_000) / u64::from(redrive.per_second.max(1)))
}

/// A receipt of a store's queue: what the receiving is called, and the message's id.
pub(crate) fn receipt(receiving: uuid::Uuid, id: &str) -> String {
    format!("{}.{id}", receiving.simple())
}

/// The receiving and the id that a receipt names; `None` where it is none of a store's.
pub(crate) fn read_receipt(receipt: &str) -> Option<(uuid::Uuid, &str)> {
    let (receiving, id) = receipt.split_once('.')?;
    Some((uuid::Uuid::try_parse(receiving).ok()?, id))
}
