//! What would follow from a command if every call went well: the machine is asked, on a copy, and nothing is written.
//!
//! On the way back this goes to the end. On the way forward it ends with the calls that would be made at once, for what
//! comes after them depends on their answers.

use super::{Command, Decision, Direction, Moment, PlannedCall, Refusal, Saga, StepState, Undoing, Way, decide};
use crate::answer::{Answer, Reply, Response};
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
    let mut moment = moment;
    while let Some((step, undoing)) = undoing(&at_last) {
        // What waits for its turn gets it at once, as if the time had come.
        moment.now = moment.now.max(undoing.at);
        let answer = match undoing.way {
            Way::Call => success(),
            Way::Message { .. } => Answer::Reply(Reply::Done { output: Arc::default() }),
        };
        let turn = match undoing.way {
            Way::Call => Some(Command::Received { step, receives: 1 }),
            Way::Message { until: None } => Some(Command::Tick),
            Way::Message { until: Some(_) } => None,
        };
        if let Some(turn) = turn {
            let begun = decide(definition, &at_last, &turn, moment)?;
            let is_sent = begun.calls.iter().any(|call| call.step == step);
            at_last = begun.saga;
            calls.extend(begun.calls);
            // Without a call it became a dead letter.
            if !is_sent {
                continue;
            }
        }
        let attempt = at_last.steps[step].compensation_attempts + 1;
        let answered = Command::Answered { step, direction: Direction::Compensation, attempt, answer };
        let undone = decide(definition, &at_last, &answered, moment)?;
        at_last = undone.saga;
        calls.extend(undone.calls);
    }
    Ok(Prospect { calls, at_once, at_last })
}

fn success() -> Answer {
    Answer::Response(Response { status: 200, retry_after_ms: None, body: Arc::default(), body_dropped: None })
}

/// A step whose compensation may be attempted, or was sent by message.
fn undoing(saga: &Saga) -> Option<(StepIndex, Undoing)> {
    if saga.held {
        return None;
    }
    saga.steps.iter().enumerate().find_map(|(step, found)| match &found.state {
        StepState::Compensating(undoing) => Some((step, undoing.clone())),
        _ => None,
    })
}
