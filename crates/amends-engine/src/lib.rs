//! Drives sagas: accepts them, performs their calls, records what came back, and recovers.
//!
//! Two layers. [`orchestrator`] is the engine proper: a plain value that takes inputs and gives outputs, with no
//! socket, clock, task or store in it, so that a simulation can drive several of them in virtual time. Around it
//! the [`Engine`] is a shell that feeds it from the store, the network and the clock, and does what it says.
//!
//! The order of things, in [`orchestrator`]: load, decide, commit, perform, feed back. No call is made before
//! the commit that intends it; nobody is told an outcome before the commit that writes it.

mod codec;
mod egress;
pub mod message;
pub mod orchestrator;
pub mod retry_after;
mod settings;
mod shell;
mod snapshot;
pub mod trace;

pub use settings::{BreakerSettings, Identity, Participant, ParticipantTls, Secret, Settings};
pub use shell::{Committed, Engine, EngineOptions, Gauges, ParticipantGauges};
pub use snapshot::{History, Snapshot, Unreadable};

use amends_core::answer::Reply;
use amends_core::machine::{Direction, Operator, Settlement};
use amends_store::{Incarnation, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// A request to start a saga.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The definition's name; its current version is started.
    pub definition: String,
    /// The input. Its size and depth were checked by whoever took it in.
    pub input: Arc<Value>,
    /// The W3C `traceparent` that it came with.
    pub traceparent: Option<String>,
    /// Answer only when the saga is finished or stuck, or after this many milliseconds.
    pub wait_ms: Option<u64>,
}

/// A saga that was started, or that was there already.
#[derive(Clone, Debug)]
pub struct Started {
    /// The saga as it was when the answer was given.
    pub saga: Snapshot,
    /// Whether this request created it.
    pub created: bool,
}

/// What people and programs may ask of a saga that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Ends a waiting step well.
    Complete {
        /// The step's name.
        step: String,
        /// Its output.
        output: Arc<Value>,
        /// Who says so. A reason is not asked for.
        operator: Operator,
    },
    /// Ends a waiting step badly.
    Fail {
        /// The step's name.
        step: String,
        /// Who says so, and why.
        operator: Operator,
    },
    /// Answers a message that was sent.
    Reply {
        /// The step's name.
        step: String,
        /// Which of the step's messages.
        direction: Direction,
        /// Which attempt.
        attempt: u32,
        /// The answer.
        reply: Reply,
    },
    /// Stops the saga and undoes what it did.
    Cancel(Operator),
    /// Holds it.
    Pause(Operator),
    /// Lets it go on.
    Resume(Operator),
    /// Decides about one of its dead letters.
    Settle {
        /// The number of the dead letter: the part of its id after the dot. Only [`Settlement::Retry`] fits the
        /// letter of a saga that could not be read.
        letter: u64,
        /// What is to be done.
        settlement: Settlement,
        /// Who says so, and why.
        operator: Operator,
        /// How many events the saga had when this was decided, if it is to hold for that state alone.
        #[serde(default)]
        seen: Option<u64>,
    },
}

/// Why the engine did not do what it was asked. Nothing has happened then, unless it says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no definition of this name.
    #[error("there is no definition `{name}`{}", nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownDefinition {
        /// The name that was asked for.
        name: String,
        /// The most similar one there is.
        nearest: Option<String>,
    },
    /// The input does not fit the definition.
    #[error("{0}")]
    BadInput(String),
    /// A saga with this key was started with another input.
    #[error(
        "saga {saga} has the same key `{key}` and was started with another input; use another key, or the same input"
    )]
    KeyReused {
        /// The saga that exists.
        saga: Uuid,
        /// The key.
        key: String,
    },
    /// There is no such saga.
    #[error("there is no saga {0}")]
    UnknownSaga(Uuid),
    /// The saga has no step of this name.
    #[error("the saga has no step `{0}`")]
    UnknownStep(String),
    /// The saga's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Another orchestrator owns the saga.
    #[error("another orchestrator is working on this saga; try again")]
    Elsewhere(Incarnation),
    /// The saga has moved on without this engine, which has to read it anew.
    #[error("the saga has moved on meanwhile; try again")]
    MovedOn,
    /// The saga's history cannot be read; it is set aside as a dead letter.
    #[error("saga {0} cannot be read by this version of Amends; it is among the dead letters")]
    Unreadable(Uuid),
    /// The saga cannot be read by this program, and may be for a newer one that is at work on the same store.
    #[error("saga {0} is for a newer version of Amends, which is at work beside this one; try again")]
    ForNewer(Uuid),
    /// Too many sagas are being worked on. Try again later.
    #[error("too many sagas are in flight; try again in a few seconds")]
    Overloaded,
    /// The server is stopping. Try again elsewhere, or later.
    #[error("the server is stopping")]
    Stopping,
    /// A part of the engine has panicked. What was committed is safe, and the next start goes on with it.
    #[error("a part of the engine has panicked; start the server again, and report what its log says")]
    Broken,
    /// The store failed. Whether something was written is not known for `Fenced`; for the others nothing was.
    #[error(transparent)]
    Store(#[from] StoreError),
}
