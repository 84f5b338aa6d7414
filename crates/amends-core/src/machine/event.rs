//! What can happen to a saga. Events are stored for ever: a variant may gain a field with a default, but is never
//! renamed, and none is taken away.

use super::{Claim, Direction, Settlement};
use crate::answer::Failure;
use crate::definition::StepIndex;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// One thing that happened to a saga. Steps are named by their place in the saga's own definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of the states they lead to")]
pub enum Event {
    /// The saga was accepted.
    Started {
        key: String,
        input: Arc<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// The intent to send an action.
    ActionStarted {
        step: StepIndex,
        attempt: u32,
        digest: String,
        /// Of a message: until when its answer is waited for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// The action took effect.
    ActionDone {
        step: StepIndex,
        output: Arc<Value>,
        /// Set where a probe found it out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_probe: bool,
    },
    /// An attempt at the action settled nothing; another follows.
    ActionFailed { step: StepIndex, trouble: Trouble, failure: Failure, retry_at: Timestamp },
    /// The action has had no effect and will have none.
    ActionRefused { step: StepIndex, failure: Failure },
    /// The action may have taken effect, and is not sent again.
    ActionUnknown {
        step: StepIndex,
        failure: Failure,
        /// When the participant is asked whether it happened, if it is asked (again).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask_at: Option<Timestamp>,
    },
    /// The participant is asked whether the action happened.
    ProbeStarted { step: StepIndex, attempt: u32 },
    /// An attempt at asking was not answered; another follows.
    ProbeFailed { step: StepIndex, trouble: Trouble, failure: Failure, retry_at: Timestamp },
    /// A waiting step waits.
    WaitStarted { step: StepIndex, until: Timestamp },
    /// A waiting step was completed from outside.
    WaitCompleted {
        step: StepIndex,
        output: Arc<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<Operator>,
    },
    /// A waiting step was failed from outside, or nobody came.
    WaitFailed {
        step: StepIndex,
        failure: Failure,
        /// Who did, if anybody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<Operator>,
    },
    /// A sleeping step sleeps.
    SleepStarted { step: StepIndex, until: Timestamp },
    /// A sleeping step has slept.
    SleepEnded { step: StepIndex },
    /// The saga turned back: no action starts after this.
    CompensationEntered {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<Operator>,
    },
    /// A step's compensation was put in the queue.
    CompensationQueued {
        step: StepIndex,
        digest: String,
        claim: Claim,
        /// Whether it is a message: it is sent when its time has come, and has no place in the queue of compensations.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_message: bool,
    },
    /// A step's compensation was sent as a message.
    CompensationSent { step: StepIndex, attempt: u32, until: Timestamp },
    /// An attempt at the compensation did not succeed; another follows.
    CompensationFailed {
        step: StepIndex,
        /// Numbers that are missing were attempts whose answers were lost.
        #[serde(default)]
        attempt: u32,
        trouble: Trouble,
        failure: Failure,
        retry_at: Timestamp,
    },
    /// A step's effect is undone.
    CompensationDone { step: StepIndex },
    /// The machine gave up on a step.
    DeadLettered {
        step: StepIndex,
        direction: Direction,
        claim: Claim,
        failure: Failure,
        /// Who failed it, where it waited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<Operator>,
    },
    /// A person decided about a dead letter.
    DeadLetterSettled { step: StepIndex, letter: u64, settlement: Settlement, operator: Operator },
    /// A person holds the saga.
    Paused { operator: Operator },
    /// A person lets the saga go on.
    Resumed { operator: Operator },
    /// Every step has taken effect.
    Completed,
    /// Every effect is undone.
    Compensated,
}

/// Why an attempt settled nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// It had no effect.
    NotDone,
    /// An earlier request still runs; this one cost no attempt.
    InProgress,
    /// It may have had an effect.
    Unknown,
    /// The orchestrator stopped before an answer was recorded; it cost no attempt.
    Interrupted,
    /// It was taken back before it was sent, because the saga was held or turned back first; it cost no attempt.
    Withdrawn,
}

/// A person, or a program in a person's name, and why they act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Event {
    /// The event's name, as it is stored and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::Started { .. } => "started",
            Event::ActionStarted { .. } => "action-started",
            Event::ActionDone { .. } => "action-done",
            Event::ActionFailed { .. } => "action-failed",
            Event::ActionRefused { .. } => "action-refused",
            Event::ActionUnknown { .. } => "action-unknown",
            Event::ProbeStarted { .. } => "probe-started",
            Event::ProbeFailed { .. } => "probe-failed",
            Event::WaitStarted { .. } => "wait-started",
            Event::WaitCompleted { .. } => "wait-completed",
            Event::WaitFailed { .. } => "wait-failed",
            Event::SleepStarted { .. } => "sleep-started",
            Event::SleepEnded { .. } => "sleep-ended",
            Event::CompensationEntered { .. } => "compensation-entered",
            Event::CompensationQueued { .. } => "compensation-queued",
            Event::CompensationSent { .. } => "compensation-sent",
            Event::CompensationFailed { .. } => "compensation-failed",
            Event::CompensationDone { .. } => "compensation-done",
            Event::DeadLettered { .. } => "dead-lettered",
            Event::DeadLetterSettled { .. } => "dead-letter-settled",
            Event::Paused { .. } => "paused",
            Event::Resumed { .. } => "resumed",
            Event::Completed => "completed",
            Event::Compensated => "compensated",
        }
    }

    /// The step that the event is about, if it is about one.
    #[must_use]
    pub fn step(&self) -> Option<StepIndex> {
        match self {
            Event::ActionStarted { step, .. }
            | Event::ActionDone { step, .. }
            | Event::ActionFailed { step, .. }
            | Event::ActionRefused { step, .. }
            | Event::ActionUnknown { step, .. }
            | Event::ProbeStarted { step, .. }
            | Event::ProbeFailed { step, .. }
            | Event::WaitStarted { step, .. }
            | Event::WaitCompleted { step, .. }
            | Event::WaitFailed { step, .. }
            | Event::SleepStarted { step, .. }
            | Event::SleepEnded { step }
            | Event::CompensationQueued { step, .. }
            | Event::CompensationSent { step, .. }
            | Event::CompensationFailed { step, .. }
            | Event::CompensationDone { step }
            | Event::DeadLettered { step, .. }
            | Event::DeadLetterSettled { step, .. } => Some(*step),
            Event::Started { .. }
            | Event::CompensationEntered { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Completed
            | Event::Compensated => None,
        }
    }
}
