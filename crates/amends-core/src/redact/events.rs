//! An event as it is shown.

use super::{REDACTED, Redaction};
use crate::definition::StepIndex;
use crate::machine::{Event, Operator, Settlement};
use serde_json::Value;
use std::sync::Arc;

/// The event without what is not shown.
pub(super) fn shown(redaction: &Redaction<'_>, event: &Event) -> Event {
    let output = |step: StepIndex, output: &Value| Arc::new(redaction.output(step, output));
    // A service that fails a step from outside may quote what it was given.
    let failed_by = |operator: Operator| Operator { reason: redaction.text(&operator.reason).into_owned(), ..operator };
    match event.clone() {
        Event::Started { key, input, deadline_at, traceparent } => {
            Event::Started { key, input: Arc::new(redaction.input(&input)), deadline_at, traceparent }
        }
        Event::ActionStarted { step, attempt, digest: _, until } => {
            Event::ActionStarted { step, attempt, digest: REDACTED.to_owned(), until }
        }
        Event::ActionDone { step, output: found, by_probe } => {
            Event::ActionDone { step, output: output(step, &found), by_probe }
        }
        Event::ActionFailed { step, trouble, failure, retry_at } => {
            Event::ActionFailed { step, trouble, failure: redaction.failure(&failure), retry_at }
        }
        Event::ActionRefused { step, failure } => Event::ActionRefused { step, failure: redaction.failure(&failure) },
        Event::ActionUnknown { step, failure, ask_at } => {
            Event::ActionUnknown { step, failure: redaction.failure(&failure), ask_at }
        }
        Event::ProbeStarted { step, attempt } => Event::ProbeStarted { step, attempt },
        Event::ProbeFailed { step, trouble, failure, retry_at } => {
            Event::ProbeFailed { step, trouble, failure: redaction.failure(&failure), retry_at }
        }
        Event::WaitStarted { step, until } => Event::WaitStarted { step, until },
        Event::WaitCompleted { step, output: found, operator } => {
            Event::WaitCompleted { step, output: output(step, &found), operator }
        }
        Event::WaitFailed { step, failure, operator } => {
            Event::WaitFailed { step, failure: redaction.failure(&failure), operator: operator.map(failed_by) }
        }
        Event::SleepStarted { step, until } => Event::SleepStarted { step, until },
        Event::SleepEnded { step } => Event::SleepEnded { step },
        Event::CompensationEntered { reason, operator } => {
            Event::CompensationEntered { reason: redaction.text(&reason).into_owned(), operator }
        }
        Event::CompensationQueued { step, digest: _, claim, by_message } => {
            Event::CompensationQueued { step, digest: REDACTED.to_owned(), claim, by_message }
        }
        Event::CompensationSent { step, attempt, until } => Event::CompensationSent { step, attempt, until },
        Event::CompensationFailed { step, attempt, trouble, failure, retry_at } => {
            Event::CompensationFailed { step, attempt, trouble, failure: redaction.failure(&failure), retry_at }
        }
        Event::CompensationDone { step } => Event::CompensationDone { step },
        Event::DeadLettered { step, direction, claim, failure, operator } => Event::DeadLettered {
            step,
            direction,
            claim,
            failure: redaction.failure(&failure),
            operator: operator.map(failed_by),
        },
        Event::DeadLetterSettled { step, letter, settlement, operator } => {
            let settlement = match settlement {
                Settlement::Done { output: found } => Settlement::Done { output: output(step, &found) },
                Settlement::Edit { body } => Settlement::Edit { body: Arc::new(redaction.edited(&body)) },
                Settlement::Retry | Settlement::Undone | Settlement::Skip | Settlement::TurnAround => settlement,
            };
            Event::DeadLetterSettled { step, letter, settlement, operator }
        }
        Event::Paused { operator } => Event::Paused { operator },
        Event::Resumed { operator } => Event::Resumed { operator },
        Event::Completed => Event::Completed,
        Event::Compensated => Event::Compensated,
    }
}
