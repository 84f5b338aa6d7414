//! What would follow from a command if every call went well: the machine is asked, on a copy, and nothing is written.
//!
//! On the way back this goes to the end. On the way forward it ends with the calls that would be made at once, for what
//! comes after them depends on their answers.

use super::{Command, Decision, Direction, Moment, PlannedCall, Refusal, Saga, decide};
use crate::answer::{Answer, Response};
use crate::definition::{Definition, StepIndex};
use std::sync::Arc;

/// What would follow from a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Prospect {
    /// The calls, in order. Those of steps that do not wait for each other may be made at once.
    pub calls: Vec<PlannedCall>,
    /// The saga as the command would leave it.
    pub at_once: Arc<Saga>,
    /// The saga when its compensations have succeeded.
    pub at_last: Arc<Saga>,
}

/// Finds out what would follow from a command.
///
/// # Errors
/// As [`decide`] refuses it.
pub fn foresee(definition: &Definition, saga: &Saga, command: &Command, moment: Moment) -> Result<Prospect, Refusal> {
    let Decision { mut calls, saga: at_once, .. } = decide(definition, saga, command, moment)?;
    let mut at_last = at_once.clone();
    while let Some(step) = queued(&at_last) {
        let received = decide(definition, &at_last, &Command::Received { step, receives: 1 }, moment)?;
        let sent = received.calls.first().map(|call| call.attempt);
        at_last = received.saga;
        calls.extend(received.calls);
        // Without a call it became a dead letter.
        let Some(attempt) = sent else { continue };
        let answer =
            Answer::Response(Response { status: 200, retry_after_ms: None, body: Arc::default(), body_dropped: None });
        let answered = Command::Answered { step, direction: Direction::Compensation, attempt, answer };
        let undone = decide(definition, &at_last, &answered, moment)?;
        at_last = undone.saga;
        calls.extend(undone.calls);
    }
    Ok(Prospect { calls, at_once, at_last })
}

/// A step whose compensation is in the queue and may be received.
fn queued(saga: &Saga) -> Option<StepIndex> {
    if saga.held {
        return None;
    }
    saga.steps.iter().position(|step| step.state.undone_at().is_some())
}
