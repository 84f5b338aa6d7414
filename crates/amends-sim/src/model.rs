//! What the store holds, as an observer who sees every commit knows it; and the rules that every commit and every call
//! must keep.

use crate::coverage::Coverage;
use crate::participants::{Participants, action_key, fingerprint};
use amends_core::definition::{Definition, StepIndex};
use amends_core::idempotency::Fingerprint;
use amends_core::machine::{Claim, Direction, Event, Phase, Saga, Settlement, Status, StepState, Trouble, apply, fold};
use amends_core::time::Timestamp;
use amends_engine::orchestrator::OutgoingCall;
use amends_store::{Commit, Rest, StoredEvents, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// A rule was broken; the sentence says which and how.
pub(crate) type Violation = String;

/// A saga as the observer knows it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) definition: Arc<Definition>,
    pub(crate) saga: Saga,
    pub(crate) rest: Rest,
    /// Who committed or took it last.
    pub(crate) owner: Uuid,
    /// Steps that a person left as they were.
    pub(crate) left_alone: BTreeSet<StepIndex>,
    /// The keys of actions that a person edited: nothing must ever happen under them.
    former_keys: Vec<String>,
    /// Commits without events that carried out a person's order.
    orders: Vec<Commit>,
}

/// Everything that was committed.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) sagas: BTreeMap<Uuid, Known>,
    pub(crate) definitions: BTreeMap<String, Arc<Definition>>,
    /// What was sent under each key first: it never changes.
    requests: BTreeMap<String, Fingerprint>,
    /// The key of each step's call, for each time that a person edited the request: it never changes either.
    keys: BTreeMap<(Uuid, StepIndex, u32, bool), String>,
}

impl Model {
    /// Whether a commit was applied: by its events, or where it has none, by the order that it carried out.
    pub(crate) fn has(&self, commit: &Commit) -> bool {
        let Some(known) = self.sagas.get(&commit.saga) else { return false };
        match &commit.events {
            Some(events) => known.saga.sequence >= commit.after + events.count,
            None => known.orders.contains(commit),
        }
    }

    /// A commit was applied.
    pub(crate) fn committed(
        &mut self,
        commit: &Commit,
        participants: &Participants,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let mut events = commit.events.as_ref().map_or_else(|| Ok(Vec::new()), decode)?.into_iter();
        if let Some(birth) = &commit.birth {
            let definition = self.definitions[&birth.version].clone();
            let (at, first) = events.next().ok_or_else(|| format!("{}: a birth without an event", commit.saga))?;
            let saga = fold(&definition, commit.saga, [(at, &first)]).map_err(|error| error.to_string())?;
            let known = Known {
                definition,
                saga,
                rest: commit.row.rest,
                owner: Uuid::nil(),
                left_alone: BTreeSet::new(),
                former_keys: Vec::new(),
                orders: Vec::new(),
            };
            self.sagas.insert(commit.saga, known);
        }
        let known = self.sagas.get_mut(&commit.saga).ok_or("a commit of a saga that was never born")?;
        let before = if commit.birth.is_some() { 1 } else { commit.after };
        if known.saga.sequence != before {
            return Err(format!("{}: events after {before}, but it has {}", commit.saga, known.saga.sequence));
        }
        if known.saga.is_finished() {
            return Err(format!("{}: a commit after it was finished", commit.saga));
        }
        for (at, event) in events {
            known.happened(&event, at, participants, coverage)?;
        }
        known.rest = commit.row.rest;
        if commit.events.is_none() && commit.writes.iter().any(|write| matches!(write, Write::Audit { .. })) {
            known.orders.push(commit.clone());
        }
        let (status, reason) = (known.saga.status(), known.saga.reason(&known.definition));
        // A saga that cannot be read is set aside by a row alone, which says so.
        if commit.events.is_some() && (commit.row.status, &commit.row.reason) != (status, &reason) {
            return Err(format!("{}: the row says {:?}, the events {status:?} {reason:?}", commit.saga, commit.row));
        }
        if matches!(commit.row.rest, Rest::Finished(_)) != matches!(status, Status::Completed | Status::Compensated) {
            return Err(format!("{}: it is {status:?}, and its row rests {:?}", commit.saga, commit.row.rest));
        }
        Ok(())
    }

    /// A call leaves a process. `is_live`: the process is not one that was taken over and has not noticed.
    pub(crate) fn called(
        &mut self,
        call: &OutgoingCall,
        is_live: bool,
        participants: &Participants,
    ) -> Result<(), Violation> {
        let Some(known) = self.sagas.get(&call.saga) else {
            return Err(format!("a call for a saga that is not in the store: {call:?}"));
        };
        known.intends(call, is_live)?;
        if call.direction == Direction::Compensation && is_live {
            known.keeps_the_order(call.step, participants)?;
        }
        self.keeps_its_request(call)
    }

    /// A message was written by a commit, which is its intent.
    pub(crate) fn sent(&mut self, call: &OutgoingCall, participants: &Participants) -> Result<(), Violation> {
        if call.direction == Direction::Compensation {
            self.sagas[&call.saga].keeps_the_order(call.step, participants)?;
        }
        self.keeps_its_request(call)
    }

    /// Every attempt has the same key, and the same request under it.
    fn keeps_its_request(&mut self, call: &OutgoingCall) -> Result<(), Violation> {
        let step = self.sagas.get(&call.saga).map(|known| &known.saga.steps[call.step]);
        let generation = step.and_then(|step| step.edit.as_ref()).map_or(1, |edit| edit.generation);
        let of = (call.saga, call.step, generation, call.direction == Direction::Compensation);
        let key = self.keys.entry(of).or_insert_with(|| call.key.clone());
        if *key != call.key {
            return Err(format!("a call under another key than before, {key}: {call:?}"));
        }
        if call.direction != Direction::Probe {
            let first = self.requests.entry(call.key.clone()).or_insert_with(|| fingerprint(call));
            if *first != fingerprint(call) {
                return Err(format!("another request under the same key: {call:?}"));
            }
        }
        Ok(())
    }
}

impl Known {
    fn happened(
        &mut self,
        event: &Event,
        at: Timestamp,
        participants: &Participants,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        if let Event::DeadLettered { step, claim, .. } = event {
            self.claims_truly(*step, *claim, participants)?;
        }
        if let Event::DeadLetterSettled { step, settlement: Settlement::Skip, .. } = event {
            self.left_alone.insert(*step);
        }
        if let Event::DeadLetterSettled { step, settlement: Settlement::Edit { .. }, .. } = event {
            self.former_keys.push(self.action_key(*step));
        }
        apply(&mut self.saga, event, at).map_err(|error| format!("{}: {error}", self.saga.id))?;
        self.note(event, coverage);
        Ok(())
    }

    fn note(&self, event: &Event, coverage: &mut Coverage) {
        coverage.met(match event {
            Event::Completed => "saga completed",
            Event::Compensated => "saga compensated",
            Event::Paused { .. } => "paused",
            Event::Resumed { .. } => "resumed",
            Event::WaitCompleted { .. } => "completed a wait",
            Event::WaitFailed { .. } => "failed a wait",
            Event::CompensationEntered { operator: Some(_), .. } => "cancelled",
            Event::DeadLettered { direction: Direction::Action, .. } => "dead letter: action",
            Event::DeadLettered { direction: Direction::Probe, .. } => "dead letter: probe",
            Event::DeadLettered { direction: Direction::Compensation, .. } => "dead letter: compensation",
            Event::ActionFailed { trouble: Trouble::Interrupted, .. } => "recovered: an action without an answer",
            Event::ProbeFailed { trouble: Trouble::Interrupted, .. } => "recovered: a probe without an answer",
            Event::DeadLetterSettled { settlement: Settlement::Retry, .. } => "settled: retry",
            Event::DeadLetterSettled { settlement: Settlement::Done { .. }, .. } => "settled: done",
            Event::DeadLetterSettled { settlement: Settlement::Undone, .. } => "settled: undone",
            Event::DeadLetterSettled { settlement: Settlement::Skip, .. } => "settled: skip",
            Event::DeadLetterSettled { settlement: Settlement::Edit { .. }, .. } => "settled: edit",
            Event::DeadLetterSettled { settlement: Settlement::TurnAround, .. } => "settled: turn around",
            Event::ActionStarted { until: Some(_), .. } => "sent: an action",
            Event::CompensationSent { .. } => "sent: a compensation",
            Event::Started { .. }
            | Event::ActionStarted { .. }
            | Event::ActionDone { .. }
            | Event::ActionFailed { .. }
            | Event::ActionRefused { .. }
            | Event::ActionUnknown { .. }
            | Event::ProbeStarted { .. }
            | Event::ProbeFailed { .. }
            | Event::WaitStarted { .. }
            | Event::SleepStarted { .. }
            | Event::SleepEnded { .. }
            | Event::CompensationEntered { operator: None, .. }
            | Event::CompensationQueued { .. }
            | Event::CompensationFailed { .. }
            | Event::CompensationDone { .. } => return,
        });
    }

    /// What a dead letter says of the effect is what the participant's books say.
    fn claims_truly(&self, step: StepIndex, claim: Claim, participants: &Participants) -> Result<(), Violation> {
        let effect = participants.effect(&self.action_key(step));
        let agrees = match claim {
            Claim::Done => effect.net() == 1,
            Claim::Undone => effect.net() == 0 && effect.under_way == 0,
            Claim::Unknown => true,
        };
        if agrees {
            return Ok(());
        }
        Err(format!("{}: a dead letter says that step {step} is {claim:?}, but it is {effect:?}", self.saga.id))
    }

    /// The intent of the call is in the store, and nothing there forbids it.
    fn intends(&self, call: &OutgoingCall, is_live: bool) -> Result<(), Violation> {
        let step = &self.saga.steps[call.step];
        let state = &step.state;
        let was_intended = match call.direction {
            Direction::Action => step.attempts >= call.attempt,
            Direction::Probe => step.uncertain || !matches!(state, StepState::Pending),
            Direction::Compensation => !matches!(self.saga.phase, Phase::Forward | Phase::Completed { .. }),
        };
        // What a process decided before it was taken over is beyond the store's reach.
        let is_wanted = match call.direction {
            Direction::Action => self.saga.phase == Phase::Forward && matches!(state, StepState::Acting(_)),
            Direction::Probe => matches!(state, StepState::Probing(_)),
            Direction::Compensation => matches!(state, StepState::Compensating(_)),
        };
        if was_intended && (is_wanted || !is_live) {
            return Ok(());
        }
        Err(format!(
            "a call without an intent in the store; the saga is {:?}, the step {state:?}: {call:?}",
            self.saga.phase
        ))
    }

    /// Whatever came after a step is undone before it.
    fn keeps_the_order(&self, step: StepIndex, participants: &Participants) -> Result<(), Violation> {
        let mut open = self.definition.steps[step].before.clone();
        let mut seen = BTreeSet::new();
        while let Some(later) = open.pop() {
            let is_undoable = self.definition.steps[later].compensation().is_some();
            if seen.insert(later) {
                open.extend(&self.definition.steps[later].before);
                let is_there = participants.effect(&self.action_key(later)).net() > 0;
                if is_there && is_undoable && !self.left_alone.contains(&later) {
                    return Err(format!("{}: step {step} is undone before step {later}", self.saga.id));
                }
            }
        }
        Ok(())
    }

    /// The key of a step's action.
    pub(crate) fn action_key(&self, step: StepIndex) -> String {
        self.saga.action_key(&self.definition, step)
    }

    /// Whether a request of this step that lands after its compensation is turned away.
    pub(crate) fn leaves_tombstone(&self, step: StepIndex) -> bool {
        self.definition.steps[step].compensation().is_some() && self.honours_key(step)
    }

    /// Whether the step's participant honours the key.
    pub(crate) fn honours_key(&self, step: StepIndex) -> bool {
        let work = self.definition.steps[step].call();
        work.is_none_or(|work| work.effects == amends_core::definition::Effects::Idempotent)
    }

    /// When all is over, and nothing is under way any more: the books say what the saga says.
    pub(crate) fn check_books(&self, participants: &Participants) -> Result<(), Violation> {
        if let Some(key) = self.former_keys.iter().find(|key| participants.effect(key).done > 0) {
            return Err(format!("{}: a request that was edited took effect all the same, under {key}", self.saga.id));
        }
        for step in (0..self.saga.steps.len()).filter(|step| self.definition.steps[*step].call().is_some()) {
            let net = participants.effect(&self.action_key(step)).net();
            let may_stay = self.left_alone.contains(&step) || self.has_nothing_to_undo(step);
            let agrees = match self.saga.phase {
                Phase::Completed { .. } => net == 1 || self.left_alone.contains(&step),
                Phase::Compensated { .. } => net == 0 || may_stay,
                Phase::Forward | Phase::Compensating { .. } => true,
            };
            if !agrees {
                let status = self.saga.status();
                return Err(format!("{}: it is {status:?}, and step {step} has {net} effects", self.saga.id));
            }
        }
        Ok(())
    }

    fn has_nothing_to_undo(&self, step: StepIndex) -> bool {
        let written = &self.definition.steps[step];
        written.kind == amends_core::definition::Kind::Compensatable && !written.leaves_something()
    }
}

/// The key of the action that a call belongs to must be the observer's own idea of it.
pub(crate) fn check_key(known: &Known, call: &OutgoingCall) -> Result<(), Violation> {
    if action_key(call) == known.action_key(call.step) {
        return Ok(());
    }
    Err(format!("a call under a key that does not follow from saga and step: {call:?}"))
}

fn decode(stored: &StoredEvents) -> Result<Vec<(Timestamp, Event)>, Violation> {
    let events: Vec<Event> = serde_json::from_slice(&stored.body)
        .map_err(|error| format!("a commit's events cannot be decoded: {error}"))?;
    if events.len() as u64 != stored.count {
        return Err(format!("a commit of {} events says that they are {}", events.len(), stored.count));
    }
    Ok(events.into_iter().map(|event| (stored.at, event)).collect())
}
