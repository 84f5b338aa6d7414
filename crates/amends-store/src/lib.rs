//! Where sagas are kept.
//!
//! [`Store`] is what the engine needs: whole decisions go in, and what must be worked on comes out. [`Views`] is
//! what people read; it never touches what the engine writes hot. [`Tokens`] is who may call the API, and
//! [`AuditLog`] seals what is written of people's deeds. A store knows nothing of what an event means: the
//! events of a commit are counted, have a time and are bytes, and every rule about sagas lives in `amends-core`.
//!
//! Invariants that every implementation keeps, and that the conformance suite checks:
//!
//! - A batch of commits is one transaction: all of it is durable when [`Store::commit`] answers, or none of it.
//! - A saga's events are numbered from 1 without gaps; a commit that does not follow the last one changes nothing.
//! - One saga per definition and business key.
//! - A saga has at most one owner, and an incarnation that was retired can commit nothing.
//! - What is sealed of the audit log is numbered from 1 without gaps, and neither changed nor deleted.
//! - A message is in exactly one of ready (its time has come), in flight (invisible until its time comes) or gone.

use amends_core::machine::Status;
use amends_core::time::Timestamp;
use async_trait::async_trait;
use queues::NewMessage;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

mod audit;
mod columns;
pub mod conformance;
mod memory;
mod permits;
mod postgres;
pub mod queues;
mod sqlite;
mod tokens;

pub use audit::{AuditEntry, AuditLog, AuditQuery, Deed};
pub use memory::{MemoryStore, Processes};
pub use postgres::{PostgresError, PostgresOptions, PostgresStore, migrate_postgres};
pub use queues::Queues;
pub use sqlite::{Migration, OnFatal, OpenError, SqliteOptions, SqliteStore, migrate};
pub use tokens::{StoredToken, TokenDigest, TokenQuery, Tokens};

/// One start of one orchestrator process.
pub type Incarnation = Uuid;

/// The format of what this program keeps in a store: the language of definitions, and the events. It is raised with every change
/// that the program before it could not read.
pub const FORMAT: u32 = 2;

/// What the engine needs of a store. Every method is atomic and durable when it answers.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes `me` an incarnation that can own sagas, and frees the sagas of incarnations that are known to be
    /// dead: they become due at `now`. Messages that those have received can be received again. Orphans, of which there
    /// should be none ([`Statistics::orphans`]), become due too.
    async fn enlist(&self, me: Incarnation, now: Timestamp) -> Result<(), StoreError>;

    /// Ends an incarnation: it can commit nothing from here on, its sagas become due at `now`, and the messages that it
    /// received and has not dealt with can be received again.
    async fn retire(&self, whom: Incarnation, now: Timestamp) -> Result<(), StoreError>;

    /// Commits a batch of decisions in one transaction. The outcomes are in the order of the batch; a commit
    /// whose outcome is not [`Outcome::Committed`] has changed nothing, and does not hinder the others. A saga's first
    /// commit makes it; every later one is its owner's.
    async fn commit(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError>;

    /// Offers a batch again whose first commit came to [`StoreError::Unknown`]. What of it was written is committed, and is
    /// not written twice; the rest is judged as by [`Store::commit`]. A store that always answers is never asked this.
    async fn commit_again(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.commit(me, batch).await
    }

    /// Takes sagas that nobody owns and whose time has come, oldest first, and makes `me` their owner.
    async fn claim(&self, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, StoreError>;

    /// Takes one saga, whether or not its time has come, unless another incarnation owns it.
    async fn acquire(&self, me: Incarnation, saga: Uuid) -> Result<Acquired, StoreError>;

    /// Receives messages for one participant: those whose time has come, oldest first. They become invisible
    /// until `request.invisible_until`. Messages of sagas that another incarnation owns are that one's to receive.
    async fn receive(&self, me: Incarnation, request: Receive) -> Result<Received, StoreError>;

    /// How many of the wanted compensations may begin now, where several processes share the store and so the rate. One that has
    /// the store to itself keeps to the rate by itself.
    async fn permits(&self, request: PermitRequest) -> Result<usize, StoreError> {
        Ok(request.wanted)
    }

    /// How many commits it can work on at once.
    fn commits_in_flight(&self) -> usize {
        1
    }

    /// For how long an incarnation is taken to live without a sign of life; `None` where the store is one process's, which
    /// holds it for as long as it lives.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// What time it is, for every process that shares the store.
    async fn time(&self) -> Result<Timestamp, StoreError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)))
    }

    /// A sign of life. Returns the store's time.
    async fn renew(&self, _me: Incarnation) -> Result<Timestamp, StoreError> {
        self.time().await
    }

    /// Ends the incarnations that gave no sign of life for the length of a lease, as [`Store::retire`] does by the store's
    /// time, and goes on with what others began to end and did not. Returns how many there were.
    async fn take_over(&self) -> Result<usize, StoreError> {
        Ok(0)
    }

    /// The newest [`FORMAT`] of the orchestrators that are alive. What this one cannot read may be for another.
    async fn newest_format(&self) -> Result<u32, StoreError> {
        Ok(FORMAT)
    }

    /// Leaves something for the incarnation that owns a saga, which looks after its inbox.
    async fn leave(&self, _item: Item) -> Result<(), StoreError> {
        Err(StoreError::Damaged("this store is one process's: there is nobody to leave anything for".into()))
    }

    /// What was left for this incarnation and is not answered.
    async fn inbox(&self, _me: Incarnation) -> Result<Vec<Item>, StoreError> {
        Ok(Vec::new())
    }

    /// Answers what was left.
    async fn answer(&self, _item: Uuid, _answer: Vec<u8>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Takes the answer to what was left, if there is one. Once it is withdrawn nobody finds what was left any more.
    async fn collect(&self, _item: Uuid, _patience: Patience) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    /// Forgets finished sagas, lowest ids first, with all that is kept of them but the audit log and the counts; their keys are
    /// free then. A saga stays while a dead letter of it is open or its double click's claim holds. Returns whom it forgot,
    /// in the order of the ids; several processes may do so at once.
    async fn forget(&self, request: Forget) -> Result<Vec<Uuid>, StoreError>;

    /// What a store needs done now and then, whoever does it: it makes room ahead of time, gives back the room of sagas that
    /// finished before this time and are all forgotten, and keeps small what grows with time.
    async fn keep_up(&self, _finished_before: Option<Timestamp>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Stores a definition and makes it the current one of its name. Returns whether anything changed; if so, the deed is in the
    /// audit log.
    async fn put_definition(&self, definition: StoredDefinition, deed: Deed) -> Result<bool, StoreError>;

    /// Definitions: the current one of every name, or one by its version.
    async fn definitions(&self, which: Which) -> Result<Vec<StoredDefinition>, StoreError>;
}

/// What people read. Pages are newest first.
#[async_trait]
pub trait Views: Send + Sync {
    /// One saga with its whole history.
    async fn saga(&self, id: Uuid) -> Result<Option<Record>, StoreError>;
    /// A page of sagas.
    async fn sagas(&self, query: SagaQuery) -> Result<Vec<Summary>, StoreError>;
    /// A page of dead letters.
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError>;
    /// Open dead letters, those alike together. A group's place is that of its newest one.
    async fn dead_letter_groups(&self, query: GroupQuery) -> Result<Vec<DeadLetterGroup>, StoreError>;
    /// One dead letter by its id.
    async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, StoreError>;
    /// A page of the audit log.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError>;
    /// The counts that the commits kept, and the wake-up invariant measured.
    async fn statistics(&self) -> Result<Statistics, StoreError>;
}

/// A whole store: what the engine needs, what people read, who may call, what people did, and the queues that services use.
pub trait StoreAndViews: Store + Views + Tokens + AuditLog + Queues {}

impl<T: Store + Views + Tokens + AuditLog + Queues> StoreAndViews for T {}

/// One saga's decision: everything that follows from it, to be written at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The saga.
    pub saga: Uuid,
    /// How many events it had when the decision was made.
    pub after: u64,
    /// Present in a saga's first commit, and only there.
    pub birth: Option<Birth>,
    /// What was decided; a birth always has some. `None` where only the row changes: a saga is put back to rest, or set aside
    /// because it cannot be read.
    pub events: Option<StoredEvents>,
    /// The row after this commit.
    pub row: Row,
    /// Whether `row` differs from the one that the store holds. Where it does not, a store may leave it unwritten.
    pub changes_row: bool,
    /// What else is written with it.
    pub writes: Vec<Write>,
    /// What is counted, in the minute of the given time.
    pub counts: Vec<Count>,
}

/// What is known of a saga from its beginning on and never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Birth {
    /// The definition's name.
    pub definition: String,
    /// The definition's version.
    pub version: String,
    /// The business key: unique together with the definition's name.
    pub key: String,
    /// A digest of the input: a second start with the same key must have the same.
    pub fingerprint: String,
    /// A start that renders the same digest until the given time is the same work. It is a claim that goes in and
    /// not a property of the saga: what is read back says `None`.
    pub dedupe: Option<Dedupe>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// The double click's claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Dedupe {
    /// Digest of the rendered text.
    pub digest: String,
    /// Until when it holds, this time excluded; a claim whose time has passed is overwritten.
    pub until: Timestamp,
}

/// The events that one commit added, as they are stored: an event's number is its place in the history.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvents {
    /// How many they are; at least one.
    pub count: u64,
    /// When they were decided: all of them at one moment.
    pub at: Timestamp,
    /// What happened, encoded by the engine.
    pub body: Vec<u8>,
}

/// What a saga's row says besides its birth: a cached copy of what its events add up to, kept for lists and for
/// finding what is due. A test compares it with the fold. It rests [`Rest::Finished`] exactly where its status is completed
/// or compensated, and a store's lists may count on that.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where the saga stands.
    pub status: Status,
    /// Whether a person holds it.
    pub paused: bool,
    /// Why it compensates or is stuck.
    pub reason: Option<String>,
    /// Who looks after it now.
    pub rest: Rest,
}

/// Who looks after a saga, or what will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The incarnation that commits this keeps it in memory and works on it.
    Owned,
    /// Nobody: it is due at this time, and whoever finds it then claims it.
    Until(Timestamp),
    /// Nobody: a queue message, an open dead letter or a person's hold keeps it.
    Parked,
    /// Nobody needs to: it is finished since this time.
    Finished(Timestamp),
}

/// What is written with a decision besides its events.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Puts the message for a step's compensation in the queue, or moves the one that is there to another time;
    /// either way its receives are counted from 0 again, because a new try was decided.
    PutMessage {
        /// The step's name.
        step: String,
        /// Whose turn it is.
        participant: String,
        /// When it may be received, and not before.
        at: Timestamp,
    },
    /// Moves the message for a step's compensation to another time, if there is one; its receives count on, and it can
    /// be received anew.
    MoveMessage {
        /// The step's name.
        step: String,
        /// When it may be received, and not before.
        at: Timestamp,
    },
    /// Makes all messages of this saga wait until they are moved; their receives count on.
    HoldMessages,
    /// Takes the message for a step's compensation out of the queue: it was dealt with.
    DeleteMessage {
        /// The step's name.
        step: String,
    },
    /// Puts a dead letter in front of people.
    OpenDeadLetter {
        /// Unique for ever: a second one is refused as damage, and the whole batch with it.
        id: String,
        /// The step; `None` where the saga itself cannot be read.
        step: Option<String>,
        /// `action`, `compensation` or `saga`.
        direction: String,
        /// `done`, `undone` or `unknown`.
        claim: String,
        /// What went wrong last.
        error: String,
        /// What dead letters alike have in common.
        fingerprint: String,
        /// The participant of the call that was given up, if it was a call.
        participant: Option<String>,
        /// When it was opened.
        at: Timestamp,
    },
    /// Settles a dead letter of this saga. One that is settled already keeps its first resolution.
    CloseDeadLetter {
        /// Its id.
        id: String,
        /// What was decided, by whom and why.
        resolution: String,
        /// When.
        at: Timestamp,
    },
    /// Settles the open dead letters that are about this saga as a whole.
    CloseSagaDeadLetter {
        /// Why.
        resolution: String,
        /// When.
        at: Timestamp,
    },
    /// Puts a message in a queue that services use. One whose id is there already stays as it is.
    Send {
        /// The queue's name.
        queue: String,
        /// The message.
        message: NewMessage,
    },
    /// Adds to the audit log.
    Audit {
        /// Who did it.
        actor: String,
        /// What was done.
        action: String,
        /// The step it concerned, if it concerned one.
        step: Option<String>,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// One thing to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The definition it is counted under.
    pub definition: String,
    /// What it is.
    pub counter: Counter,
    /// When it happened; counts are kept by the minute.
    pub at: Timestamp,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Counter {
    Started,
    Completed,
    Compensated,
    DeadLettered,
}

/// What became of one commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is durable.
    Committed,
    /// A saga with this definition and key exists: nothing was written.
    Exists {
        /// Its id.
        saga: Uuid,
        /// Whether it was started with the same input.
        same_input: bool,
    },
    /// Another start of the same work came first: nothing was written.
    Duplicate {
        /// The saga that it made.
        saga: Uuid,
    },
    /// The saga has moved on, or is not this incarnation's: nothing was written. Drop it from memory.
    Stale,
}

impl Outcome {
    /// Whether a commit may have met this refusal because it stands in the store already.
    fn may_be_for_itself(&self, commit: &Commit) -> bool {
        match self {
            Outcome::Exists { saga, same_input } => *saga == commit.saga && *same_input,
            Outcome::Stale => commit.birth.is_none(),
            Outcome::Duplicate { .. } | Outcome::Committed => false,
        }
    }
}

/// Whether a batch may have been written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// By [`Store::commit`].
    First,
    /// By [`Store::commit_again`].
    Again,
}

/// Something left for another incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its own id.
    pub id: Uuid,
    /// For whom.
    pub to: Incarnation,
    /// The saga that it is about.
    pub saga: Uuid,
    /// What it is, encoded by the engine.
    pub body: Vec<u8>,
}

/// Whether what was left is to stay there if nobody has answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It stays.
    Wait,
    /// It is withdrawn.
    GiveUp,
}

/// Sagas that were claimed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// The sagas, with their histories.
    pub records: Vec<Record>,
    /// When the next saga will be due, as far as is known now.
    pub next_due: Option<Timestamp>,
}

/// A saga as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// What never changes.
    pub birth: Birth,
    /// What its row says.
    pub row: Row,
    /// Its history from the first event on, commit by commit, as far as it has no hole.
    pub events: Vec<StoredEvents>,
    /// The number of its last event, which the next commit must follow: as many as there are, unless some are missing.
    pub sequence: u64,
    /// Why some of this could not be read, if it could not. Something harmless stands for it then, and whoever would
    /// work on the saga must set it aside: one saga's damage is not the others'.
    pub damage: Option<String>,
}

/// What came of trying to take one saga.
#[derive(Clone, Debug, PartialEq)]
pub enum Acquired {
    /// It is this incarnation's now (or was already).
    Yours(Box<Record>),
    /// It is finished: nobody can own it.
    Finished(Box<Record>),
    /// Another incarnation owns it.
    Elsewhere(Incarnation),
    /// There is no such saga.
    Missing,
}

/// What to receive.
#[derive(Clone, Debug, PartialEq)]
pub struct Receive {
    /// Whose messages.
    pub participant: String,
    /// How many at most.
    pub limit: usize,
    /// The time now.
    pub now: Timestamp,
    /// Until when the messages stay invisible to everyone else.
    pub invisible_until: Timestamp,
}

/// What was received.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Received {
    /// The messages.
    pub messages: Vec<Message>,
    /// When the participant's next message can be received, as far as is known now.
    pub next_at: Option<Timestamp>,
}

/// A message: the compensation of this step of this saga is to be performed.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The saga.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// How many times it was received since it was put, this time included.
    pub receives: u32,
}

/// Asks for a share of the rate of compensations that all orchestrators on a store have together. If each permit is used
/// within the given time of the asking, or not at all, no second, wherever it begins, sees more of them used than the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermitRequest {
    /// How many could begin.
    pub wanted: usize,
    /// How many may begin in a second, by all.
    pub per_second: u32,
    /// For how long after the asking a permit can be used, in milliseconds.
    pub use_within_ms: u64,
}

/// What to forget. An id tells when its saga was born (UUID version 7), so no id from that time on is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// Sagas that finished before this time.
    pub finished_before: Timestamp,
    /// Only sagas whose id comes after this one; nil for all of them.
    pub after: Uuid,
    /// How many at most.
    pub limit: usize,
    /// The time now, by which a double click's claim holds or does not.
    pub now: Timestamp,
}

/// A definition as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDefinition {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// As it was written.
    pub source: String,
    /// When this version was stored first.
    pub created_at: Timestamp,
}

/// Which definitions.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// The current one of every name.
    Current,
    /// The one of this version.
    Version(String),
}

/// A saga in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// What never changes.
    pub birth: Birth,
    /// What its row says.
    pub row: Row,
}

/// Which sagas to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SagaQuery {
    /// Only of this definition.
    pub definition: Option<String>,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only with this key.
    pub key: Option<String>,
    /// Only sagas whose id comes before this one (ids sort by time).
    pub before: Option<Uuid>,
    /// How many at most.
    pub limit: usize,
}

/// A dead letter as it is stored.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "as in Write::OpenDeadLetter and Birth")]
pub struct DeadLetter {
    pub id: String,
    pub saga: Uuid,
    pub definition: String,
    pub key: String,
    pub step: Option<String>,
    pub direction: String,
    pub claim: String,
    pub error: String,
    pub fingerprint: String,
    pub participant: Option<String>,
    pub opened_at: Timestamp,
    /// When it was settled and how; `None` while it is open.
    pub closed: Option<(Timestamp, String)>,
    /// Its place in the list: pages go by it.
    pub place: u64,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetterQuery {
    /// Only of this definition.
    pub definition: Option<String>,
    /// Only of this saga.
    pub saga: Option<Uuid>,
    /// Only of the step with this name.
    pub step: Option<String>,
    /// Only those whose call was this participant's.
    pub participant: Option<String>,
    /// Only those with this fingerprint.
    pub fingerprint: Option<String>,
    /// Only those that were opened before this.
    pub opened_before: Option<Timestamp>,
    /// The settled ones too.
    pub closed: bool,
    /// Only those whose place is before this one.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

/// Open dead letters with the same fingerprint.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterGroup {
    /// How many there are, at least 1.
    pub count: u64,
    /// When the first of them was opened.
    pub oldest_at: Timestamp,
    /// When the last of them was opened.
    pub newest_at: Timestamp,
    /// The one with the highest place: it stands for the others.
    pub sample: DeadLetter,
}

/// Which groups of dead letters to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupQuery {
    /// Only those whose sample's place is before this one.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

/// The counts that the commits kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Statistics {
    pub started: u64,
    pub completed: u64,
    pub compensated: u64,
    pub dead_letters_open: u64,
    /// Unfinished sagas without owner, due time, message, open dead letter or hold. Always 0.
    pub orphans: u64,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// This incarnation was retired: drop everything and begin anew.
    #[error("this incarnation was retired: another one has taken over")]
    Fenced,
    /// The store refused for now (full, busy). Nothing was written; trying again can help.
    #[error("the store is not available: {0}")]
    Unavailable(Arc<str>),
    /// Whether it was written is not known, because the answer was lost. The same batch is to be offered again, by
    /// [`Store::commit_again`]. What was claimed or acquired may be this incarnation's without its
    /// knowing: it has to give up everything and begin anew. Anything else can be called again.
    #[error("the store did not answer: {0}")]
    Unknown(Arc<str>),
    /// What is stored cannot be read, or is not a store.
    #[error("the store is damaged: {0}")]
    Damaged(Arc<str>),
}
