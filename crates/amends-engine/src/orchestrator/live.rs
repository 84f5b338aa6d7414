//! A saga in memory.

use super::{ReplyId, Want, lanes::OutgoingCall, writes::is_about_saga};
use crate::{EngineError, Order, Snapshot};
use amends_core::answer::Answer;
use amends_core::definition::{Definition, StepIndex};
use amends_core::machine::{Command, Decision, Direction, Event, Phase, PlannedCall, Saga, Status, StepState};
use amends_core::time::Timestamp;
use amends_store::Row;
use std::collections::VecDeque;
use std::sync::Arc;

/// Why a command was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Somebody asked for it and waits.
    Caller(ReplyId),
    /// It follows from what the saga does.
    Itself,
}

/// A saga in memory: what is committed, and what is on its way.
#[derive(Debug)]
pub(super) struct Live {
    /// As it is in the store; for a saga whose first commit is on its way, as it will be.
    pub(super) snapshot: Snapshot,
    /// How many events are committed.
    pub(super) after: u64,
    /// Its row in the store, once it has one.
    pub(super) row: Option<Row>,
    /// What is decided and not committed yet.
    pub(super) staged: Option<Staged>,
    /// Whether the store gave the saga to this engine while a commit was on its way: if that commit puts the saga to rest, it
    /// may have been taken again since, and is nobody else's to wake.
    pub(super) taken_again: bool,
    /// What reached the saga while its last decision was on its way.
    pub(super) inbox: VecDeque<(Cause, Command)>,
    /// The entry in the timers, if there is one.
    pub(super) timer: Option<Timestamp>,
}

/// Decisions that are one commit.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) events: Vec<Event>,
    /// When all of them were decided.
    pub(super) at: Timestamp,
    pub(super) calls: Vec<PlannedCall>,
    pub(super) causes: Vec<Cause>,
    /// The saga after the events.
    pub(super) saga: Arc<Saga>,
    /// Its row once this is committed.
    pub(super) row: Option<Row>,
}

impl Live {
    pub(super) fn new(snapshot: Snapshot, after: u64, row: Option<Row>) -> Live {
        Live { snapshot, after, row, staged: None, taken_again: false, inbox: VecDeque::new(), timer: None }
    }

    /// Whether the saga is finished or stuck: those who wait for its end need wait no longer.
    pub(super) fn is_settled(&self) -> bool {
        self.staged.is_none() && is_settled(&self.snapshot.saga)
    }

    /// Whether the saga turns back with this commit.
    pub(super) fn turns_back_with(&self, staged: &Staged) -> bool {
        self.snapshot.saga.phase == Phase::Forward && matches!(staged.saga.phase, Phase::Compensating { .. })
    }

    /// Takes a message that waits for the last commit, and was put anew by it, out of the inbox. Returns whether that leaves none.
    /// One that was received for the first time is the new one: the old one led to what was committed.
    pub(super) fn drop_old_message(&mut self, name: &str) -> bool {
        let definition = &self.snapshot.definition;
        let receives = |command: &Command| match command {
            Command::Received { step, receives } if definition.steps[*step].name == name => Some(*receives),
            _ => None,
        };
        let before = self.inbox.len();
        self.inbox.retain(|(_, command)| receives(command).is_none_or(|times| times == 1));
        self.inbox.len() < before && !self.inbox.iter().any(|(_, command)| receives(command).is_some())
    }

    /// Whether a call that has waited for its place is still to be made. What is decided counts, committed or not:
    /// an action is not sent once the saga has turned back, or is held.
    pub(super) fn still_wants(&self, call: &OutgoingCall) -> bool {
        let saga = self.staged.as_ref().map_or(&self.snapshot.saga, |staged| &staged.saga);
        let state = &saga.steps[call.step].state;
        match call.direction {
            Direction::Action => saga.phase == Phase::Forward && !saga.held && matches!(state, StepState::Acting(_)),
            Direction::Probe => matches!(state, StepState::Probing(_)),
            Direction::Compensation => matches!(state, StepState::Compensating(_)) && !saga.held,
        }
    }
}

impl Staged {
    pub(super) fn new(saga: Arc<Saga>, at: Timestamp) -> Staged {
        Staged { events: Vec::new(), at, calls: Vec::new(), causes: Vec::new(), saga, row: None }
    }

    /// Adds a decision that was made about the saga as the ones before it leave it.
    pub(super) fn add(&mut self, cause: Cause, decision: Decision) {
        self.events.extend(decision.events);
        self.calls.extend(decision.calls);
        self.causes.push(cause);
        self.saga = decision.saga;
    }
}

/// Whether a saga is finished or stuck.
#[must_use]
pub fn is_settled(saga: &Saga) -> bool {
    match saga.status() {
        Status::Completed | Status::Compensated | Status::Stuck => true,
        Status::Running | Status::Compensating => false,
    }
}

/// The command that a wish comes to, about a saga with this definition.
pub(super) fn command(definition: &Definition, want: &Want) -> Result<Command, EngineError> {
    let step_named = |name: &str| -> Result<StepIndex, EngineError> {
        definition.step(name).ok_or_else(|| EngineError::UnknownStep(name.to_owned()))
    };
    Ok(match want {
        Want::Command(command) => command.clone(),
        Want::Message { step, receives } => Command::Received { step: step_named(step)?, receives: *receives },
        Want::Order(Order::Complete { step, output, operator }) => {
            Command::Complete { step: step_named(step)?, output: output.clone(), operator: operator.clone() }
        }
        Want::Order(Order::Fail { step, operator }) => {
            Command::Fail { step: step_named(step)?, operator: operator.clone() }
        }
        Want::Order(Order::Reply { step, direction, attempt, reply }) => Command::Answered {
            step: step_named(step)?,
            direction: *direction,
            attempt: *attempt,
            answer: Answer::Reply(reply.clone()),
        },
        Want::Order(Order::Cancel(operator)) => Command::Cancel(operator.clone()),
        Want::Order(Order::Pause(operator)) => Command::Pause(operator.clone()),
        Want::Order(Order::Resume(operator)) => Command::Resume(operator.clone()),
        // Taking the saga into memory has settled such a letter.
        Want::Order(Order::Settle { letter, .. }) if is_about_saga(*letter) => {
            let why = "the saga can be read again, and its dead letter was settled by that";
            return Err(EngineError::Conflict(why.into()));
        }
        Want::Order(Order::Settle { letter, settlement, operator, seen }) => {
            let (settlement, operator) = (settlement.clone(), operator.clone());
            Command::Settle { letter: *letter, settlement, operator, seen: *seen }
        }
    })
}
