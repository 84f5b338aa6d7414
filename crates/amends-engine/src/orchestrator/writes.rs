//! From a decision to what is written: the one place that knows which rows follow from which event.

use crate::codec;
use amends_core::answer::Failure;
use amends_core::definition::{Definition, StepIndex};
use amends_core::machine::{
    Claim, Direction, Event, FailedAt, Operator, Phase, Saga, Settlement, Status, failure_fingerprint,
};
use amends_core::redact::{Pointer, Redaction};
use amends_core::time::Timestamp;
use amends_store::{Birth, Commit, Count, Counter, Record, Rest, Row, Write};
use std::borrow::Cow;
use uuid::Uuid;

/// A dead letter's id: the saga's, and the number of the event that opened it.
pub(super) fn letter_id(saga: Uuid, letter: u64) -> String {
    format!("{saga}.{letter}")
}

/// What a decision is written with.
pub(super) struct Decided<'a> {
    pub(super) definition: &'a Definition,
    pub(super) birth: &'a Birth,
    /// Whether this is the saga's first commit.
    pub(super) is_first: bool,
    /// How many events the saga had before.
    pub(super) after: u64,
    pub(super) events: &'a [Event],
    /// When it was made.
    pub(super) at: Timestamp,
    /// The saga after the events.
    pub(super) saga: &'a Saga,
    pub(super) rest: Rest,
    /// The row that is in the store, if there is one.
    pub(super) row_before: Option<&'a Row>,
    /// What is not shown of any saga.
    pub(super) everywhere: &'a [Pointer],
}

/// The commit that carries a decision out.
pub(super) fn commit(decided: &Decided<'_>) -> Commit {
    let Decided { definition, birth, saga, at, .. } = *decided;
    let reason = saga.reason(definition).map(|reason| decided.shown(reason));
    let row = Row { status: saga.status(), paused: saga.held, reason, rest: decided.rest };
    let mut commit = Commit {
        saga: saga.id,
        after: decided.after,
        birth: decided.is_first.then(|| birth.clone()),
        events: codec::encode(at, decided.events),
        changes_row: decided.row_before.is_none_or(|before| is_changed(before, &row)),
        row,
        writes: Vec::new(),
        counts: Vec::new(),
    };
    for (number, event) in (decided.after + 1..).zip(decided.events) {
        consequences(decided, &mut commit.writes, number, event);
        let counter = match event {
            Event::Started { .. } => Some(Counter::Started),
            Event::Completed => Some(Counter::Completed),
            Event::Compensated => Some(Counter::Compensated),
            Event::DeadLettered { .. } => Some(Counter::DeadLettered),
            _ => None,
        };
        let definition = birth.definition.clone();
        commit.counts.extend(counter.map(|counter| Count { definition, counter, at }));
    }
    commit
}

/// Whether a saga's row is another after a commit. Before it the saga is this engine's, whatever the last commit made of it: it
/// may have been put to rest and taken again since.
fn is_changed(before: &Row, after: &Row) -> bool {
    after.rest != Rest::Owned
        || (before.status, before.paused, &before.reason) != (after.status, after.paused, &after.reason)
}

fn consequences(decided: &Decided<'_>, writes: &mut Vec<Write>, number: u64, event: &Event) {
    let at = decided.at;
    let name = |step: StepIndex| decided.definition.steps[step].name.clone();
    match event {
        // What is sent by message has no place in the queue of compensations: it is due when the saga wakes.
        Event::CompensationQueued { step, .. }
        | Event::CompensationFailed { step, .. }
        | Event::CompensationDone { step }
            if decided.is_message(*step) => {}
        Event::CompensationQueued { step, .. } => writes.push(decided.message(*step, at)),
        Event::CompensationFailed { step, retry_at, .. } => writes.push(decided.message(*step, *retry_at)),
        Event::CompensationDone { step } => writes.push(Write::DeleteMessage { step: name(*step) }),
        Event::DeadLettered { step, direction, claim, failure, operator } => {
            if *direction == Direction::Compensation && !decided.is_message(*step) {
                writes.push(Write::DeleteMessage { step: name(*step) });
            }
            let death = (*direction, *claim, failure);
            writes.push(decided.dead_letter(letter_id(decided.saga.id, number), *step, death));
            writes.extend(operator.iter().map(|operator| decided.failed(operator, name(*step))));
        }
        Event::DeadLetterSettled { step, letter, settlement, operator } => {
            let action = named(settlement);
            let resolution = format!("{action}, by {}: {}", operator.actor, operator.reason);
            writes.push(Write::CloseDeadLetter { id: letter_id(decided.saga.id, *letter), resolution, at });
            writes.push(audit(operator, &format!("dead letter: {action}"), Some(name(*step)), at));
        }
        Event::Paused { operator } | Event::Resumed { operator } => {
            let action = if matches!(event, Event::Paused { .. }) { "pause" } else { "resume" };
            writes.push(audit(operator, action, None, at));
            if decided.saga.held {
                writes.push(Write::HoldMessages);
            } else {
                writes.extend(released(decided.definition, decided.saga, at));
            }
        }
        Event::CompensationEntered { operator: Some(operator), .. } => {
            writes.push(audit(operator, "cancel", None, at));
        }
        Event::WaitCompleted { step, operator: Some(operator), .. } => {
            writes.push(audit(operator, "complete", Some(name(*step)), at));
        }
        Event::WaitFailed { step, operator: Some(operator), .. } => {
            writes.push(decided.failed(operator, name(*step)));
        }
        Event::CompensationEntered { operator: None, .. }
        | Event::Started { .. }
        | Event::CompensationSent { .. }
        | Event::ActionStarted { .. }
        | Event::ActionDone { .. }
        | Event::ActionFailed { .. }
        | Event::ActionRefused { .. }
        | Event::ActionUnknown { .. }
        | Event::ProbeStarted { .. }
        | Event::ProbeFailed { .. }
        | Event::WaitStarted { .. }
        | Event::WaitCompleted { operator: None, .. }
        | Event::WaitFailed { operator: None, .. }
        | Event::SleepStarted { .. }
        | Event::SleepEnded { .. }
        | Event::Completed
        | Event::Compensated => {}
    }
}

impl Decided<'_> {
    /// Whether a step is compensated by message.
    fn is_message(&self, step: StepIndex) -> bool {
        self.definition.steps[step].compensation().is_some_and(|compensation| compensation.call.is_message())
    }

    fn message(&self, step: StepIndex, at: Timestamp) -> Write {
        message(self.definition, self.saga, step, at)
    }

    /// A step's dead letter.
    fn dead_letter(&self, id: String, step: StepIndex, death: (Direction, Claim, &Failure)) -> Write {
        let (direction, claim, failure) = death;
        let name = &self.definition.steps[step].name;
        Write::OpenDeadLetter {
            id,
            step: Some(name.clone()),
            direction: direction.as_str().into(),
            claim: claim.as_str().into(),
            error: self.shown(failure.message.clone()),
            fingerprint: failure_fingerprint(
                &self.birth.definition,
                FailedAt::Step { name, direction },
                &self.redaction().failure(failure),
            ),
            participant: participant(self.definition, step, direction),
            at: self.at,
        }
    }

    /// What is written of the saga and shown as it is, because it is compared or sealed.
    fn redaction(&self) -> Redaction<'_> {
        Redaction::of(self.definition, self.everywhere)
    }

    /// Who failed a step from outside. A service that does may quote what it was given.
    fn failed(&self, operator: &Operator, step: String) -> Write {
        let reason = self.redaction().text(&operator.reason).into_owned();
        audit(&Operator { reason, ..operator.clone() }, "fail", Some(step), self.at)
    }

    /// A sentence as a row has it. Rows are there to be listed, also by a server that knows nothing of redaction, so what its
    /// definition redacts is not in them. The events have it.
    fn shown(&self, sentence: String) -> String {
        let redacted = match Redaction::of(self.definition, &[]).text(&sentence) {
            Cow::Owned(redacted) => Some(redacted),
            Cow::Borrowed(_) => None,
        };
        redacted.unwrap_or(sentence)
    }
}

/// A person's decision, as the audit log names it.
fn named(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Retry => "retry",
        Settlement::Done { .. } => "resolve as done",
        Settlement::Undone => "resolve as undone",
        Settlement::Skip => "skip",
        Settlement::Edit { .. } => "edit",
        Settlement::TurnAround => "turn around",
    }
}

/// Whom a step's call is made to; nobody, where the step does not call.
fn participant(definition: &Definition, step: StepIndex, direction: Direction) -> Option<String> {
    let written = &definition.steps[step];
    let call = match direction {
        Direction::Action => written.call().map(|work| &work.action),
        Direction::Compensation => written.compensation().map(|compensation| &compensation.call),
        Direction::Probe => written.call().and_then(|work| work.probe.as_ref()).map(|probe| &probe.call),
    };
    call.map(|call| call.participant.clone())
}

/// A step's message, due at `at`; a held saga's messages wait until it is resumed.
fn message(definition: &Definition, saga: &Saga, step: StepIndex, at: Timestamp) -> Write {
    let written = &definition.steps[step];
    let compensation = written.compensation().expect("only a step with a compensation is compensated");
    Write::PutMessage {
        step: written.name.clone(),
        participant: compensation.call.participant.clone(),
        at: if saga.held { Timestamp::NEVER } else { at },
    }
}

/// The messages that were held may be received again when they are due. They are moved and not put anew: that one was
/// received before, and may have been acted on, is not forgotten.
fn released(definition: &Definition, saga: &Saga, now: Timestamp) -> impl Iterator<Item = Write> {
    queued(saga)
        .map(move |(step, due)| Write::MoveMessage { step: definition.steps[step].name.clone(), at: due.max(now) })
}

/// The steps whose compensations are in the queue, and when they are due.
fn queued(saga: &Saga) -> impl Iterator<Item = (StepIndex, Timestamp)> {
    saga.steps.iter().enumerate().filter_map(|(step, found)| found.state.undone_at().map(|at| (step, at)))
}

fn audit(operator: &Operator, action: &str, step: Option<String>, at: Timestamp) -> Write {
    Write::Audit { actor: operator.actor.clone(), action: action.to_owned(), step, reason: operator.reason.clone(), at }
}

/// Letters about whole sagas are numbered by the time, in milliseconds: far above any event's number.
const SAGA_LETTERS: u64 = 1 << 40;
/// How the reason of a saga begins that was set aside.
const SET_ASIDE: &str = "the saga cannot be read: ";

/// Whether a letter is about a saga that could not be read, and not about one of its steps.
pub(super) fn is_about_saga(letter: u64) -> bool {
    letter >= SAGA_LETTERS
}

/// Whether a row says that the saga was set aside because it could not be read.
pub(super) fn is_set_aside(row: &Row) -> bool {
    row.status == Status::Stuck && row.reason.as_ref().is_some_and(|reason| reason.starts_with(SET_ASIDE))
}

/// Sets aside a saga that cannot be read: it is stuck, and visible as a dead letter. One that was set aside before
/// keeps the letter it has.
pub(super) fn quarantine(record: &Record, why: &str, at: Timestamp) -> Commit {
    let has_letter = is_set_aside(&record.row);
    let reason = format!("{SET_ASIDE}{why}");
    let failure = Failure::without_status(reason.clone());
    let letter = Write::OpenDeadLetter {
        id: letter_id(record.id, at.0),
        step: None,
        direction: "saga".into(),
        claim: Claim::Unknown.as_str().into(),
        error: reason.clone(),
        fingerprint: failure_fingerprint(&record.birth.definition, FailedAt::Saga, &failure),
        participant: None,
        at,
    };
    let count = Count { definition: record.birth.definition.clone(), counter: Counter::DeadLettered, at };
    Commit {
        saga: record.id,
        after: record.sequence,
        birth: None,
        events: None,
        row: Row { status: Status::Stuck, paused: record.row.paused, reason: Some(reason), rest: Rest::Parked },
        changes_row: true,
        // Nobody can work on its messages, so nobody is to receive them.
        writes: if has_letter { vec![Write::HoldMessages] } else { vec![Write::HoldMessages, letter] },
        counts: if has_letter { Vec::new() } else { vec![count] },
    }
}

/// Gives a saga back as it was.
pub(super) fn put_back(record: &Record, due_at: Timestamp) -> Commit {
    Commit {
        saga: record.id,
        after: record.sequence,
        birth: None,
        events: None,
        row: Row { rest: Rest::Until(due_at), ..record.row.clone() },
        changes_row: true,
        writes: Vec::new(),
        counts: Vec::new(),
    }
}

/// Settles the dead letter of a saga that can be read again, and lets go of its messages.
pub(super) fn reprieve(definition: &Definition, saga: &Saga, asked: Option<&Operator>, at: Timestamp) -> Vec<Write> {
    let resolution = match asked {
        Some(operator) => format!("retry, by {}: {}", operator.actor, operator.reason),
        None => "the saga can be read again".to_owned(),
    };
    let mut writes = vec![Write::CloseSagaDeadLetter { resolution, at }];
    writes.extend(asked.map(|operator| audit(operator, "dead letter: retry", None, at)));
    if !saga.held {
        writes.extend(released(definition, saga, at));
    }
    writes
}

/// Who looks after a saga from here on. What is due before `keep_until` stays in memory.
pub(super) fn rest(definition: &Definition, saga: &Saga, keep_until: Option<Timestamp>) -> Rest {
    if let Phase::Completed { at } | Phase::Compensated { at, .. } = &saga.phase {
        return Rest::Finished(*at);
    }
    let message = queued(saga).map(|(_, at)| at).filter(|_| !saga.held);
    let wake_at = saga.wake_at(definition);
    let is_due_soon = |at: Timestamp| keep_until.is_some_and(|until| at <= until);
    if saga.is_calling() || message.chain(wake_at).any(is_due_soon) {
        Rest::Owned
    } else {
        wake_at.map_or(Rest::Parked, Rest::Until)
    }
}
