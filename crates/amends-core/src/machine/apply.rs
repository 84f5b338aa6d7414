//! `apply`: the one place where a saga changes. It decides nothing; an event that does not fit the state it meets
//! is an error of whoever stored it, for events come from disk.

use super::{
    Claim, Death, Direction, Edit, Event, Inquiry, Phase, Saga, Settlement, Step, StepState, Trial, Trouble, Undoing,
    Way,
};
use crate::answer::Failure;
use crate::definition::Definition;
use crate::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// A history that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {sequence} ({event}) cannot follow what came before it: {why}")]
pub struct FoldError {
    /// The event's number.
    pub sequence: u64,
    /// Its name.
    pub event: &'static str,
    /// What it met.
    pub why: String,
}

/// Rebuilds a saga from its whole history.
///
/// # Errors
/// Where the history is empty, does not begin with [`Event::Started`], or contains an event that cannot follow
/// the ones before it.
pub fn fold<'a>(
    definition: &Definition,
    id: Uuid,
    events: impl IntoIterator<Item = (Timestamp, &'a Event)>,
) -> Result<Saga, FoldError> {
    let mut events = events.into_iter();
    let (at, first) =
        events.next().ok_or_else(|| FoldError { sequence: 1, event: "nothing", why: "the history is empty".into() })?;
    let mut saga = Saga::born(definition, id, at, first)?;
    for (at, event) in events {
        apply(&mut saga, event, at)?;
    }
    Ok(saga)
}

/// Changes a saga by one event that happened at `at`.
///
/// # Errors
/// Where the event cannot follow the saga's state; the saga is unchanged then.
pub fn apply(saga: &mut Saga, event: &Event, at: Timestamp) -> Result<(), FoldError> {
    let sequence = saga.sequence + 1;
    let misfit = |why: String| FoldError { sequence, event: event.name(), why };
    if saga.is_finished() {
        return Err(misfit("the saga is finished".into()));
    }
    if !suits(event, &saga.phase) {
        return Err(misfit(format!("the saga is {:?}", saga.status())));
    }
    match event.step() {
        Some(index) => {
            let step = saga.steps.get_mut(index).ok_or_else(|| misfit(format!("there is no step {index}")))?;
            let next = step_after(&step.state, event, at, sequence)
                .ok_or_else(|| misfit(format!("step {index} is {:?}", step.status())))?;
            step.note(event);
            step.state = next;
        }
        None => whole(saga, event, at).map_err(misfit)?,
    }
    saga.sequence = sequence;
    Ok(())
}

/// Whether an event about a step can happen in this phase: nothing begins on the way back, and nothing is undone on
/// the way forward.
fn suits(event: &Event, phase: &Phase) -> bool {
    let begins = matches!(event, Event::ActionStarted { .. } | Event::WaitStarted { .. } | Event::SleepStarted { .. });
    let undoes = matches!(event, Event::CompensationQueued { .. });
    (!begins || *phase == Phase::Forward) && (!undoes || matches!(phase, Phase::Compensating { .. }))
}

/// What an event that concerns no single step does.
fn whole(saga: &mut Saga, event: &Event, at: Timestamp) -> Result<(), String> {
    match (event, &saga.phase) {
        (Event::CompensationEntered { reason, .. }, Phase::Forward) => {
            saga.phase = Phase::Compensating { reason: reason.clone() };
            for step in &mut saga.steps {
                step.turn_back();
            }
        }
        (Event::Paused { .. }, _) if !saga.held => saga.held = true,
        (Event::Resumed { .. }, _) if saga.held => saga.held = false,
        (Event::Completed, Phase::Forward) => saga.phase = Phase::Completed { at },
        (Event::Compensated, Phase::Compensating { reason }) => {
            saga.phase = Phase::Compensated { at, reason: reason.clone() };
        }
        // Without the reason, which may quote a participant: this goes into the log.
        (_, Phase::Forward) => return Err(format!("the saga is Forward, held: {}", saga.held)),
        (_, Phase::Compensating { .. }) => return Err(format!("the saga is Compensating, held: {}", saga.held)),
        (_, Phase::Completed { .. } | Phase::Compensated { .. }) => return Err("the saga is finished".into()),
    }
    Ok(())
}

/// The state that an event leads a step to; `None` where it does not fit.
fn step_after(state: &StepState, event: &Event, at: Timestamp, sequence: u64) -> Option<StepState> {
    use StepState as S;
    Some(match (event, state) {
        (Event::ActionStarted { digest, until, .. }, S::Pending | S::Reopened) => {
            acting(Trial { digest: digest.clone(), since: at, spent: 0 }, *until)
        }
        (Event::ActionStarted { until, .. }, S::ActionDue { trial, .. }) => acting(trial.clone(), *until),
        // A message may be answered while it is about to be sent again.
        (Event::ActionDone { .. }, S::Acting(_) | S::Sent { .. } | S::ActionDue { .. } | S::Probing(_)) => S::Done,
        (Event::ActionFailed { trouble, retry_at, .. }, S::Acting(trial) | S::Sent { trial, .. }) => {
            S::ActionDue { trial: Trial { spent: trial.spent + trouble.cost(), ..trial.clone() }, at: *retry_at }
        }
        (Event::ActionRefused { .. }, S::Pending | S::Reopened | S::Acting(_) | S::Sent { .. } | S::Probing(_)) => {
            S::Refused
        }
        (
            Event::ActionUnknown { ask_at: Some(ask_at), .. },
            S::Reopened | S::Acting(_) | S::Sent { .. } | S::ActionDue { .. },
        ) => S::ProbeDue { inquiry: Inquiry { since: at, spent: 0 }, at: *ask_at },
        (
            Event::ActionUnknown { ask_at: None, .. },
            S::Reopened | S::Acting(_) | S::Sent { .. } | S::Probing(_) | S::ProbeDue { .. },
        ) => S::Unknown,
        (Event::ProbeStarted { .. }, S::ProbeDue { inquiry, .. }) => S::Probing(inquiry.clone()),
        (Event::ProbeFailed { trouble, retry_at, .. }, S::Probing(inquiry)) => {
            S::ProbeDue { inquiry: Inquiry { spent: inquiry.spent + trouble.cost(), ..inquiry.clone() }, at: *retry_at }
        }
        (Event::WaitStarted { until, .. }, S::Pending | S::Reopened) => S::Waiting { until: *until },
        (Event::WaitCompleted { .. }, S::Waiting { .. }) => S::Done,
        (Event::WaitFailed { .. }, S::Waiting { .. }) => S::Refused,
        (Event::SleepStarted { until, .. }, S::Pending) => S::Sleeping { until: *until },
        (Event::SleepEnded { .. }, S::Sleeping { .. }) => S::Done,
        (Event::CompensationQueued { digest, claim, by_message, .. }, S::Done | S::Unknown) => {
            let way = if *by_message { Way::Message { until: None } } else { Way::Call };
            S::Compensating(Undoing { digest: digest.clone(), waited_ms: 0, spent: 0, claim: *claim, at, way })
        }
        (Event::CompensationSent { until, .. }, S::Compensating(undoing)) => undoing.sent(*until)?,
        (Event::CompensationFailed { trouble, retry_at, .. }, S::Compensating(undoing)) => {
            S::Compensating(undoing.after(*trouble, at, *retry_at))
        }
        (Event::CompensationDone { .. }, S::Compensating(_)) => S::Compensated,
        (Event::DeadLettered { direction, claim, .. }, state) if can_die(state, *direction) => {
            S::Dead(Death { direction: *direction, claim: *claim, letter: sequence })
        }
        (Event::DeadLetterSettled { letter, settlement, .. }, S::Dead(death)) if death.letter == *letter => {
            settled(death, settlement, at)?
        }
        _ => return None,
    })
}

/// An action whose intent is committed: a call, or a message whose answer is waited for until a time.
fn acting(trial: Trial, until: Option<Timestamp>) -> StepState {
    match until {
        Some(until) => StepState::Sent { trial, until },
        None => StepState::Acting(trial),
    }
}

fn can_die(state: &StepState, direction: Direction) -> bool {
    match direction {
        Direction::Action => matches!(
            state,
            StepState::Pending
                | StepState::Reopened
                | StepState::Acting(_)
                | StepState::Sent { .. }
                | StepState::ActionDue { .. }
                | StepState::Probing(_)
                | StepState::Waiting { .. }
        ),
        Direction::Probe => matches!(state, StepState::Probing(_) | StepState::ProbeDue { .. }),
        Direction::Compensation => {
            matches!(state, StepState::Done | StepState::Unknown | StepState::Compensating(_))
        }
    }
}

/// Where a settlement leads; `None` where it does not fit. What is retried begins anew, and its turn comes at once.
fn settled(death: &Death, settlement: &Settlement, at: Timestamp) -> Option<StepState> {
    Some(match (settlement, death.direction) {
        (Settlement::Retry | Settlement::Edit { .. }, Direction::Action) => StepState::Reopened,
        (Settlement::Retry, Direction::Probe) => StepState::ProbeDue { inquiry: Inquiry { since: at, spent: 0 }, at },
        (Settlement::Retry, Direction::Compensation) => match death.claim {
            Claim::Done | Claim::Undone => StepState::Done,
            Claim::Unknown => StepState::Unknown,
        },
        (Settlement::Done { .. }, _) => StepState::Done,
        (Settlement::Undone, Direction::Action | Direction::Probe) => StepState::Refused,
        (Settlement::Undone, Direction::Compensation) => StepState::Compensated,
        (Settlement::Skip, _) => StepState::Skipped,
        (Settlement::TurnAround, Direction::Action | Direction::Probe) => match death.claim {
            Claim::Undone => StepState::Refused,
            Claim::Done | Claim::Unknown => StepState::Unknown,
        },
        (Settlement::Edit { .. }, Direction::Probe | Direction::Compensation)
        | (Settlement::TurnAround, Direction::Compensation) => return None,
    })
}

impl Saga {
    fn born(definition: &Definition, id: Uuid, at: Timestamp, first: &Event) -> Result<Saga, FoldError> {
        let Event::Started { key, input, deadline_at, traceparent } = first else {
            let why = "the history does not begin with `started`".into();
            return Err(FoldError { sequence: 1, event: first.name(), why });
        };
        Ok(Saga {
            id,
            key: key.clone(),
            input: input.clone(),
            traceparent: traceparent.clone(),
            created_at: at,
            deadline_at: *deadline_at,
            sequence: 1,
            phase: Phase::Forward,
            held: false,
            steps: definition.steps.iter().map(|_| Step::new()).collect(),
        })
    }
}

impl Step {
    fn new() -> Step {
        Step {
            state: StepState::Pending,
            attempts: 0,
            compensation_attempts: 0,
            output: Arc::new(Value::Null),
            uncertain: false,
            may_arrive: false,
            edit: None,
            error: None,
        }
    }

    /// Keeps what an event says besides the state it leads to.
    fn note(&mut self, event: &Event) {
        let was_sent = matches!(self.state, StepState::Sent { .. });
        self.note_alone(event);
        // Whoever says from outside that a step failed says nothing of its message.
        let is_from_outside = self.error.as_ref().is_some_and(Failure::is_from_outside);
        self.may_arrive |= self.uncertain || (was_sent && is_from_outside);
    }

    fn note_alone(&mut self, event: &Event) {
        match event {
            Event::ActionStarted { attempt, .. } => self.attempts = *attempt,
            Event::ActionDone { output, .. } | Event::WaitCompleted { output, .. } => {
                self.output = output.clone();
                self.uncertain = false;
                self.error = None;
            }
            Event::DeadLetterSettled { settlement, .. } => self.note_settlement(settlement),
            Event::CompensationFailed { attempt, failure, .. } => {
                self.compensation_attempts = (self.compensation_attempts + 1).max(*attempt);
                self.error = Some(failure.clone());
            }
            Event::CompensationDone { .. } => {
                self.compensation_attempts += 1;
                self.error = None;
            }
            Event::ActionFailed { trouble, failure, .. } => {
                self.uncertain |= trouble.is_uncertain();
                self.error = Some(failure.clone());
            }
            Event::ActionRefused { failure, .. } => {
                self.uncertain = false;
                self.error = Some(failure.clone());
            }
            Event::ActionUnknown { failure, .. } => {
                self.uncertain = true;
                self.error = Some(failure.clone());
            }
            Event::ProbeFailed { failure, .. } | Event::WaitFailed { failure, .. } => {
                self.error = Some(failure.clone())
            }
            Event::DeadLettered { direction, claim, failure, .. } => {
                self.error = Some(failure.clone());
                match direction {
                    Direction::Action | Direction::Probe => self.uncertain = *claim == Claim::Unknown,
                    // The last attempt ends in this event, unless there was none.
                    Direction::Compensation if matches!(self.state, StepState::Compensating(_)) => {
                        self.compensation_attempts += 1;
                    }
                    Direction::Compensation => {}
                }
            }
            Event::Started { .. }
            | Event::CompensationSent { .. }
            | Event::ProbeStarted { .. }
            | Event::WaitStarted { .. }
            | Event::SleepStarted { .. }
            | Event::SleepEnded { .. }
            | Event::CompensationEntered { .. }
            | Event::CompensationQueued { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Completed
            | Event::Compensated => {}
        }
    }

    /// What a person's word about a dead letter means besides the state it leads to.
    fn note_settlement(&mut self, settlement: &Settlement) {
        match settlement {
            Settlement::Done { output } => {
                self.output = output.clone();
                self.uncertain = false;
                self.error = None;
            }
            Settlement::Undone => self.uncertain = false,
            Settlement::Edit { body } => {
                let generation = self.generation() + 1;
                self.edit = Some(Edit { body: body.clone(), generation, after_attempt: self.attempts });
            }
            Settlement::Retry | Settlement::Skip | Settlement::TurnAround => {}
        }
    }

    /// Of which generation the step's keys are, from 1.
    pub(super) fn generation(&self) -> u32 {
        self.edit.as_ref().map_or(1, |edit| edit.generation)
    }

    /// What turning back means for a step: what has not begun is left out, and what waits for another attempt
    /// gets none. A call in flight, and the question whether one happened, are seen to their end.
    fn turn_back(&mut self) {
        match &self.state {
            StepState::Pending | StepState::Waiting { .. } | StepState::Sleeping { .. } => {
                self.state = StepState::Skipped;
            }
            StepState::ActionDue { .. } | StepState::Reopened if self.uncertain => self.state = StepState::Unknown,
            StepState::ActionDue { .. } | StepState::Reopened => self.state = StepState::Refused,
            StepState::Acting(_)
            | StepState::Sent { .. }
            | StepState::Probing(_)
            | StepState::ProbeDue { .. }
            | StepState::Done
            | StepState::Refused
            | StepState::Unknown
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::Compensated
            | StepState::Dead(_) => {}
        }
    }
}

impl Trouble {
    /// What it takes from the budget of attempts.
    fn cost(self) -> u32 {
        match self {
            Trouble::NotDone | Trouble::Unknown => 1,
            Trouble::InProgress | Trouble::Interrupted | Trouble::Withdrawn => 0,
        }
    }

    /// Whether the attempt may have taken effect. An earlier request that still runs will have one.
    pub(super) fn is_uncertain(self) -> bool {
        match self {
            Trouble::NotDone | Trouble::Withdrawn => false,
            Trouble::InProgress | Trouble::Unknown | Trouble::Interrupted => true,
        }
    }
}

impl Undoing {
    fn after(&self, trouble: Trouble, now: Timestamp, retry_at: Timestamp) -> Undoing {
        Undoing {
            digest: self.digest.clone(),
            waited_ms: self.waited_ms.saturating_add(retry_at.since(now)),
            spent: self.spent + trouble.cost(),
            claim: if trouble.is_uncertain() { Claim::Unknown } else { self.claim },
            at: retry_at,
            way: match self.way {
                Way::Call => Way::Call,
                Way::Message { .. } => Way::Message { until: None },
            },
        }
    }

    /// Whether it is a message that was sent, and its answer is waited for.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.way, Way::Message { until: Some(_) })
    }

    /// The state once the message is sent; `None` where it is not one, or is sent.
    fn sent(&self, until: Timestamp) -> Option<StepState> {
        let way = Way::Message { until: Some(until) };
        (self.way == Way::Message { until: None }).then(|| StepState::Compensating(Undoing { way, ..self.clone() }))
    }
}
