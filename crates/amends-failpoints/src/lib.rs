//! Named points in the program at which a test can make it end, wait or fail.
//!
//! `AMENDS_FAILPOINTS` says what is to happen where: `call.after=abort@3;claim.after=delay(200)`. `@3` means the third
//! time that the point is met; without it `abort` strikes the first time, and `delay(MS)` and `error` every time.
//! `abort(MS)` ends the process so much later: whoever waits for what was about to happen, waits, and whoever ought to
//! and does not, is found out.
//!
//! - A normal build has none of it: [`failpoint!`] is `false` there, and a program in whose environment the variable
//!   is set all the same refuses to start, so that no test passes for want of its fault.
//! - `abort` is as good as `kill -9`: no destructor runs, and nothing that is buffered in the process is written. One
//!   line on standard error says which point it was, for a test to see that its fault has struck.
//! - The list below is the only one. A point that is not in it does not compile, and a test of the server (`killed`)
//!   ends it at each of them, so one that is not met any more fails there.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::{arm, meet, meet_async};

/// The variable that says what is to happen where.
pub const VARIABLE: &str = "AMENDS_FAILPOINTS";

/// Why the failpoints cannot be as they were asked for.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE}: {0}")]
pub struct BadFailpoints(String);

/// What a point can bear besides an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// Nothing: other work would be held up.
    Abort,
    /// A delay: it is met in a thread or a task that does one thing only.
    Delay,
    /// A delay or an error: what it stands in can fail there.
    Error,
}

macro_rules! points {
    ($($(#[doc = $about:literal])+ $point:ident $name:literal $bearing:ident,)+) => {
        /// A point, with what has happened and what has not when it is met.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[doc = $about])+ $point,)+
        }

        impl Point {
            /// All there are.
            pub const ALL: &[Point] = &[$(Point::$point),+];

            /// What it is called in the variable and in the log.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)+
                }
            }

            /// What it can bear besides an abort.
            #[must_use]
            pub const fn bearing(self) -> Bearing {
                match self {
                    $(Point::$point => Bearing::$bearing,)+
                }
            }
        }
    };
}

points! {
    /// The server listens, and has not opened its store.
    StartListening "start.listening" Delay,
    /// A step of the schema is written and not committed.
    MigrationWritten "migration.written" Delay,
    /// A step of the schema is durable.
    MigrationCommitted "migration.committed" Delay,
    /// The store is open, and no engine has enlisted.
    StartOpened "start.opened" Delay,
    /// What others left is freed, in a transaction that is not committed.
    EnlistWritten "enlist.written" Delay,
    /// The engine has enlisted, and has read nothing.
    EnlistAfter "enlist.after" Delay,
    /// A definition is written and not committed.
    DefinitionWritten "definition.written" Delay,
    /// The definitions are stored, and no request is taken.
    StartLoaded "start.loaded" Delay,
    /// The engine is about to claim what is due.
    ClaimBefore "claim.before" Delay,
    /// Sagas have a new owner, in a transaction that is not committed.
    ClaimWritten "claim.written" Delay,
    /// Sagas are claimed, and the engine does not know.
    ClaimAfter "claim.after" Delay,
    /// The engine is about to take one saga.
    AcquireBefore "acquire.before" Delay,
    /// One saga has a new owner, in a transaction that is not committed.
    AcquireWritten "acquire.written" Delay,
    /// One saga is taken, and the engine does not know.
    AcquireAfter "acquire.after" Delay,
    /// The engine is about to receive messages.
    ReceiveBefore "receive.before" Delay,
    /// Messages are invisible to others, in a transaction that is not committed.
    ReceiveWritten "receive.written" Delay,
    /// Messages are received, and the engine does not know.
    ReceiveAfter "receive.after" Delay,
    /// The orchestrator has decided, and nothing of that is sent off.
    TurnAfter "turn.after" Abort,
    /// A batch is on its way to the store.
    CommitBefore "commit.before" Delay,
    /// The events of one saga are written, and not what goes with them.
    CommitWritten "commit.written" Delay,
    /// Everything in a transaction is written, and it is not committed. An error here is a full disk.
    TransactionWritten "transaction.written" Error,
    /// A transaction is durable, and whoever waits for it does not know.
    TransactionCommitted "transaction.committed" Delay,
    /// A batch is durable, and the engine does not know: no caller is told and no call made.
    CommitAfter "commit.after" Delay,
    /// A caller is about to be told of what is durable.
    ReplyBefore "reply.before" Abort,
    /// The intent is durable, and nothing is sent. An error here is a connection that was refused.
    CallBefore "call.before" Error,
    /// The head of a participant's answer is here, and its body is not read.
    CallAnswered "call.answered" Delay,
    /// A participant has answered, and the engine does not know.
    CallAfter "call.after" Delay,
    /// The engine was told to stop.
    StopBegun "stop.begun" Abort,
    /// Nothing is in flight any more, and the engine has not retired.
    RetireBefore "retire.before" Delay,
    /// The sagas are freed, in a transaction that is not committed.
    RetireWritten "retire.written" Delay,
    /// The engine has retired, and the server still answers.
    RetireAfter "retire.after" Delay,
    /// The write-ahead log is about to be moved into the file.
    CheckpointBefore "checkpoint.before" Delay,
    /// The write-ahead log was moved into the file.
    CheckpointAfter "checkpoint.after" Delay,
}

/// A point: `failpoint!(CommitBefore)` in a thread that may block, `failpoint!(async CallBefore)` in a task. It is `true`
/// where the point is to fail.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    (async $point:ident) => {
        $crate::meet_async($crate::Point::$point).await
    };
    ($point:ident) => {
        $crate::meet($crate::Point::$point)
    };
}

/// A point, which is nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    (async $point:ident) => {
        $crate::failpoint!($point)
    };
    ($point:ident) => {{
        const _: $crate::Point = $crate::Point::$point;
        false
    }};
}

/// Refuses failpoints, which this build does not have.
///
/// # Errors
/// Where the environment asks for any.
#[cfg(not(feature = "failpoints"))]
pub fn arm() -> Result<(), BadFailpoints> {
    match std::env::var_os(VARIABLE) {
        None => Ok(()),
        Some(_) => Err(BadFailpoints(
            "this program was built without failpoints; unset it, or build with `--features failpoints`".into(),
        )),
    }
}
