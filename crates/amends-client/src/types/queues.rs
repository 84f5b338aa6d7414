//! Queues: messages that services receive, deal with and answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A list that has no pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Items<T> {
    /// What there is.
    pub items: Vec<T>,
}

/// The answer to a command that was received from a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The command's `id`.
    pub to: String,
    /// What became of it.
    pub outcome: ReplyOutcome,
    /// Of what is done: the step's output.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Of what is not: why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of what is not done: when to try again, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyOutcome {
    /// It took effect.
    Done,
    /// It took no effect, and asking again will not change that.
    Refused,
    /// It took no effect, and may be tried again.
    NotDone,
}

/// A queue, and how many messages it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueDepth {
    /// Its name.
    pub name: String,
    /// Whether the store keeps it; else it is Amazon SQS's, and the numbers are about right.
    pub is_in_store: bool,
    /// Ready to be received.
    pub ready: u64,
    /// In flight, or put for later.
    pub invisible: u64,
    /// Received too often without being dealt with.
    pub dead: u64,
}

/// A message that is to be put in a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Its sender's own id for it.
    #[schema(min_length = 1, max_length = 256)]
    pub id: String,
    /// What it says.
    #[serde(default)]
    pub body: Value,
    /// When it may be received, such as `10s` from now; at once if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
}

/// What to receive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveMessages {
    /// How many at most, 1 to 100; 10 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// For how long to wait for one, up to `20s`; not at all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// For how long they are invisible to others, from `1s` to `12h`; as configured if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueMessage {
    /// Its sender's id for it: the same however often it comes.
    pub id: String,
    /// What it says; of a step, its command.
    pub body: Value,
    /// What to name it by when it is dealt with.
    pub receipt: String,
    /// How many times it was received, this time included.
    pub receives: u32,
}

/// What becomes of messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandleMessages {
    /// Of each; 1 to 100 of them.
    pub messages: Vec<HandleMessage>,
}

/// What becomes of one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandleMessage {
    /// The receipt that it came with.
    pub receipt: String,
    /// What becomes of it.
    pub then: Then,
    /// For how long it stays invisible yet (`extend`), or when it comes again (`reject`), such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What becomes of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It was dealt with, and goes.
    Acknowledge,
    /// Whoever received it needs more time.
    Extend,
    /// It was not dealt with, and comes again.
    Reject,
}

/// What came of dealing with a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HandledMessage {
    /// The receipt.
    pub receipt: String,
    /// `done`, or `stale` where the message was received again since or is gone, or `refused`.
    pub outcome: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A message that was received too often without being dealt with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadMessage {
    /// Its sender's id for it; of a command it begins with the saga and the step.
    pub id: String,
    /// When it could be received first (RFC 3339, UTC).
    pub sent_at: String,
    /// When it was given up.
    pub dead_at: String,
    /// How many times it was received.
    pub receives: u32,
}

/// Dead messages that are to be ready again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveMessages {
    /// How many a second, 1 to 500.
    #[schema(minimum = 1, maximum = 500)]
    pub per_second: u32,
    /// Why, for the log.
    pub reason: String,
}

/// How far a redrive is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Redrive {
    /// Its id.
    pub id: String,
    /// When it began (RFC 3339, UTC).
    pub began_at: String,
    /// How many a second.
    pub per_second: u32,
    /// How many messages it is about.
    pub total: u64,
    /// How many of them are ready again, or have been.
    pub moved: u64,
    /// Whether it was cancelled.
    pub is_cancelled: bool,
}
