//! `decide`: every rule about what follows from what. It reads a saga, changes a copy through `apply`, and hands
//! out the events and the calls; it never looks at a clock and never draws chance by itself.

mod back;

use super::{
    Claim, Command, Decision, Direction, Event, Moment, Operator, Phase, PlannedCall, Refusal, Request, Saga,
    StepState, Trouble, Undoing, Way, apply, fold, request, settle,
};
use crate::answer::{ActionOutcome, Answer, Failure, ProbeOutcome, Reply, classify_action, classify_probe};
use crate::definition::{CallWork, Definition, Effects, Kind, StepIndex, Work};
use crate::expression::{RenderError, Scope};
use crate::retry::{RetryPolicy, spread};
use crate::time::{Timestamp, format_duration};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// How long to wait before asking again about a request that still runs, if the participant does not say.
const IN_PROGRESS_MS: u64 = 1_000;
/// The shortest such wait, whatever the participant says: asking again costs no attempt, so nothing else slows it.
const IN_PROGRESS_LEAST_MS: u64 = 100;

/// A start that was accepted: what the first events need.
#[derive(Clone, Debug)]
pub struct Start {
    /// The new saga's id.
    pub id: Uuid,
    /// The business key, rendered from the input.
    pub key: String,
    /// The input.
    pub input: Arc<Value>,
    /// The trace context that it was started in.
    pub traceparent: Option<String>,
}

/// The first decision of a saga: it exists, and its first steps are to be performed.
#[must_use]
pub fn begin(definition: &Definition, start: Start, moment: Moment) -> Decision {
    let started = Event::Started {
        key: start.key,
        input: start.input,
        deadline_at: definition.deadline_ms.map(|ms| moment.now.plus(ms)),
        traceparent: start.traceparent,
    };
    let saga = fold(definition, start.id, [(moment.now, &started)]).expect("a history can begin with `started`");
    let mut draft = Draft::new(definition, saga, moment);
    draft.events.push(started);
    draft.advance();
    draft.finish()
}

/// What follows from a command. The saga itself is not changed: the caller commits the decision's events, and
/// goes on with the decision's saga once they are durable.
///
/// # Errors
/// [`Refusal`] where the command does not fit the saga's state; nothing follows then.
pub fn decide(definition: &Definition, saga: &Saga, command: &Command, moment: Moment) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(definition, saga.clone(), moment);
    match command {
        Command::Answered { step, direction, attempt, answer } => {
            draft.answered(*step, *direction, *attempt, answer)?;
        }
        Command::Withdrawn { step, direction, attempt } => draft.withdrawn(*step, *direction, *attempt)?,
        Command::Received { step, receives } => return draft.received(*step, *receives),
        // Whatever is due is done by `advance`, after any command.
        Command::Tick => {}
        Command::Recover => draft.recover(),
        Command::Complete { step, output, operator } => draft.completed(*step, output, operator)?,
        Command::Fail { step, operator } => draft.failed(*step, operator)?,
        Command::Cancel(operator) => draft.cancel(operator)?,
        Command::Pause(operator) => draft.pause(operator)?,
        Command::Resume(operator) => draft.resume(operator)?,
        Command::Settle { letter, settlement, operator, seen } => {
            draft.expect_seen(*seen)?;
            settle::settle(&mut draft, *letter, settlement, operator)?;
        }
    }
    draft.advance();
    Ok(draft.finish())
}

/// A decision in the making.
pub(super) struct Draft<'a> {
    pub(super) definition: &'a Definition,
    pub(super) saga: Saga,
    events: Vec<Event>,
    calls: Vec<PlannedCall>,
    moment: Moment,
}

impl<'a> Draft<'a> {
    fn new(definition: &'a Definition, saga: Saga, moment: Moment) -> Draft<'a> {
        Draft { definition, saga, events: Vec::new(), calls: Vec::new(), moment }
    }

    fn finish(self) -> Decision {
        Decision { events: self.events, calls: self.calls, saga: Arc::new(self.saga) }
    }

    pub(super) fn emit(&mut self, event: Event) {
        apply(&mut self.saga, &event, self.moment.now).expect("decide only emits events that fit the saga");
        self.events.push(event);
    }

    fn state(&self, step: StepIndex) -> &StepState {
        &self.saga.steps[step].state
    }

    fn name(&self, step: StepIndex) -> &'a str {
        &self.definition.steps[step].name
    }

    fn work(&self, step: StepIndex) -> &'a CallWork {
        self.definition.steps[step].call().expect("only a step that calls has calls")
    }

    /// Chance for a step, independent of the other steps' and of earlier events'.
    fn chance(&self, step: StepIndex) -> u64 {
        spread(self.moment.chance, (self.saga.sequence << 7) | step as u64)
    }

    /// Goes on as far as the saga can without hearing from anyone: whatever is due by now is done.
    fn advance(&mut self) {
        while !self.saga.held && self.advance_once() {}
    }

    /// Takes one stride. Returns whether there was one to take.
    ///
    /// Starting actions comes last: everything that may turn the saga back has been done by then, so no decision
    /// both starts an action and turns back.
    fn advance_once(&mut self) -> bool {
        match self.saga.phase {
            Phase::Forward if self.is_past_deadline() => self.turn_back(self.deadline_reason(), None),
            Phase::Forward if self.is_complete() => self.emit(Event::Completed),
            Phase::Forward => {
                return self.end_what_is_over() || self.give_up_answers() || self.ask() || self.start_ready();
            }
            Phase::Compensating { .. } if self.is_undone() => self.emit(Event::Compensated),
            Phase::Compensating { .. } => {
                return self.give_up_answers() || self.ask() || self.queue_ready() || self.send_compensation();
            }
            Phase::Completed { .. } | Phase::Compensated { .. } => return false,
        }
        true
    }

    // --- Forward -------------------------------------------------------------------------------------------

    /// Ends one wait or sleep whose time has passed. Returns whether there was one.
    fn end_what_is_over(&mut self) -> bool {
        let now = self.moment.now;
        let is_over = |state: &StepState| matches!(state, StepState::Waiting { until } | StepState::Sleeping { until } if *until <= now);
        let Some(step) = self.saga.steps.iter().position(|step| is_over(&step.state)) else { return false };
        if matches!(self.state(step), StepState::Sleeping { .. }) {
            self.emit(Event::SleepEnded { step });
        } else {
            self.wait_failed(step, Failure::without_status("nobody completed it in time"), None);
        }
        true
    }

    /// Starts the steps whose turn has come. Returns whether there were any.
    ///
    /// A step that cannot be rendered may turn the saga back. So all are rendered before any of them starts, and
    /// where one cannot be, none starts in this stride.
    fn start_ready(&mut self) -> bool {
        let ready: Vec<StepIndex> = (0..self.saga.steps.len()).filter(|step| self.is_ready(*step)).collect();
        let mut requests = Vec::new();
        let mut failures = Vec::new();
        for step in &ready {
            match self.render_action(*step) {
                Ok(request) => requests.push((*step, request)),
                Err(error) => failures.push((*step, error)),
            }
        }
        if failures.is_empty() {
            requests.into_iter().for_each(|(step, request)| self.start(step, request));
        }
        for (step, error) in failures {
            if self.saga.phase == Phase::Forward {
                self.cannot_be_sent(step, &error);
            }
        }
        !ready.is_empty()
    }

    fn is_ready(&self, step: StepIndex) -> bool {
        match self.state(step) {
            StepState::Pending => self.definition.steps[step]
                .after
                .iter()
                .all(|before| matches!(self.state(*before), StepState::Done | StepState::Skipped)),
            StepState::Reopened => true,
            StepState::ActionDue { at, .. } => *at <= self.moment.now,
            StepState::Acting(_)
            | StepState::Sent { .. }
            | StepState::Probing(_)
            | StepState::ProbeDue { .. }
            | StepState::Waiting { .. }
            | StepState::Sleeping { .. }
            | StepState::Done
            | StepState::Refused
            | StepState::Unknown
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::Compensated
            | StepState::Dead(_) => false,
        }
    }

    /// What the step's next attempt sends; nothing for a step that does not call.
    fn render_action(&self, step: StepIndex) -> Result<Option<Request>, String> {
        let Some(work) = self.definition.steps[step].call() else { return Ok(None) };
        let request = request::action(self.definition, &self.saga, step, work).map_err(|error| error.to_string())?;
        if let StepState::ActionDue { trial, .. } = self.state(step)
            && request.digest() != trial.digest
        {
            return Err("it renders another request than the one that was tried before".into());
        }
        Ok(Some(request))
    }

    fn start(&mut self, step: StepIndex, request: Option<Request>) {
        match (&self.definition.steps[step].work, request) {
            (Work::Wait { timeout_ms }, _) => {
                let until = self.moment.now.plus(*timeout_ms);
                self.emit(Event::WaitStarted { step, until });
            }
            (Work::Sleep { duration_ms }, _) => {
                let until = self.moment.now.plus(*duration_ms);
                self.emit(Event::SleepStarted { step, until });
            }
            (Work::Call(_), Some(request)) => {
                let attempt = self.saga.steps[step].attempts + 1;
                let until = request.is_message().then(|| self.moment.now.plus(request.timeout_ms));
                self.emit(Event::ActionStarted { step, attempt, digest: request.digest(), until });
                self.calls.push(PlannedCall { step, direction: Direction::Action, attempt, request });
            }
            (Work::Call(_), None) => {}
        }
    }

    /// An action that cannot be rendered is not sent. One that was sent before and does not come out the same any
    /// more parks: what was written down about it cannot be trusted, and that is for a person to look into.
    fn cannot_be_sent(&mut self, step: StepIndex, error: &str) {
        let failure = Failure::without_status(format!("the action cannot be sent: {error}"));
        if matches!(self.state(step), StepState::ActionDue { .. }) {
            let claim = if self.saga.steps[step].uncertain { Claim::Unknown } else { Claim::Undone };
            self.die(step, claim, failure);
        } else {
            self.refused(step, failure);
        }
    }

    fn is_complete(&self) -> bool {
        self.saga.steps.iter().all(|step| matches!(step.state, StepState::Done | StepState::Skipped))
    }

    fn is_past_deadline(&self) -> bool {
        self.saga.deadline_at.is_some_and(|deadline| deadline <= self.moment.now)
            && !self.is_complete()
            && self.saga.can_turn_back(self.definition)
    }

    fn deadline_reason(&self) -> String {
        let length = format_duration(self.definition.deadline_ms.unwrap_or_default());
        let at = self.saga.steps.iter().position(|step| !matches!(step.state, StepState::Done | StepState::Skipped));
        match at {
            Some(step) => format!("the deadline of {length} passed before step {} was done", self.name(step)),
            None => format!("the deadline of {length} passed"),
        }
    }

    // --- Answers -------------------------------------------------------------------------------------------

    fn answered(
        &mut self,
        step: StepIndex,
        direction: Direction,
        attempt: u32,
        answer: &Answer,
    ) -> Result<(), Refusal> {
        if let Answer::Reply(reply) = answer {
            self.expect_reply(step, direction, attempt, reply)?;
        } else {
            self.expect_in_flight(step, direction, attempt)?;
        }
        match direction {
            Direction::Action => self.action_answered(step, answer),
            Direction::Probe => self.probe_answered(step, answer),
            Direction::Compensation => self.compensation_answered(step, attempt, answer),
        }
        Ok(())
    }

    /// The call had no effect, because it was never sent. That costs nothing: nobody has tried anything.
    fn withdrawn(&mut self, step: StepIndex, direction: Direction, attempt: u32) -> Result<(), Refusal> {
        self.expect_in_flight(step, direction, attempt)?;
        let failure = Failure::without_status("it was not sent, because the saga was held or turned back first");
        match direction {
            Direction::Action => self.action_failed(step, Trouble::Withdrawn, failure, None),
            Direction::Probe => {
                let (trouble, retry_at) = (Trouble::Withdrawn, self.moment.now);
                self.emit(Event::ProbeFailed { step, trouble, failure, retry_at });
            }
            // Its message says by itself when its turn comes again.
            Direction::Compensation => {}
        }
        Ok(())
    }

    fn expect_in_flight(&self, step: StepIndex, direction: Direction, attempt: u32) -> Result<(), Refusal> {
        let found = self.saga.steps.get(step).ok_or(Refusal::Stale)?;
        let is_in_flight = match (direction, &found.state) {
            (Direction::Action, StepState::Acting(_)) => found.attempts == attempt,
            (Direction::Probe, StepState::Probing(inquiry)) => inquiry.spent + 1 == attempt,
            (Direction::Compensation, StepState::Compensating(_)) => attempt > found.compensation_attempts,
            (Direction::Action | Direction::Probe | Direction::Compensation, _) => false,
        };
        if is_in_flight { Ok(()) } else { Err(Refusal::Stale) }
    }

    /// What was sent more than once is one piece of work: whichever message was carried out, the step was. That one of them had no
    /// effect says nothing of a later one.
    fn expect_reply(&self, step: StepIndex, direction: Direction, attempt: u32, reply: &Reply) -> Result<(), Refusal> {
        let found = self.saga.steps.get(step).ok_or(Refusal::Stale)?;
        let is_done = matches!(reply, Reply::Done { .. });
        let is_waited_for = match (direction, &found.state) {
            // What was sent before an edit was another request.
            (Direction::Action, _) if attempt <= found.edit.as_ref().map_or(0, |edit| edit.after_attempt) => false,
            (Direction::Action, StepState::Sent { .. }) => {
                attempt == found.attempts || (attempt < found.attempts && is_done)
            }
            (Direction::Action, StepState::ActionDue { .. }) => {
                is_done && self.work(step).action.is_message() && attempt <= found.attempts
            }
            (Direction::Compensation, StepState::Compensating(Undoing { way: Way::Message { until }, .. })) => {
                let newest = found.compensation_attempts + u32::from(until.is_some());
                attempt <= newest && (is_done || (until.is_some() && attempt == newest))
            }
            (Direction::Action | Direction::Probe | Direction::Compensation, _) => false,
        };
        if is_waited_for { Ok(()) } else { Err(Refusal::Stale) }
    }

    /// Gives up waiting for the answer to one message whose time is over: nobody knows what became of it. Returns whether there
    /// was one.
    fn give_up_answers(&mut self) -> bool {
        let now = self.moment.now;
        let is_over = |state: &StepState| match state {
            StepState::Sent { until, .. } => *until <= now,
            StepState::Compensating(Undoing { way: Way::Message { until: Some(until) }, .. }) => *until <= now,
            _ => false,
        };
        let Some(step) = self.saga.steps.iter().position(|step| is_over(&step.state)) else { return false };
        let lost =
            |timeout_ms| Answer::Lost { error: format!("no answer came within {}", format_duration(timeout_ms)) };
        if matches!(self.state(step), StepState::Sent { .. }) {
            self.action_answered(step, &lost(self.work(step).action.timeout_ms));
        } else if let Some(compensation) = self.definition.steps[step].compensation() {
            let attempt = self.saga.steps[step].compensation_attempts + 1;
            self.compensation_answered(step, attempt, &lost(compensation.call.timeout_ms));
        }
        true
    }

    /// A refusal is a definite answer only to the attempt it was given to: where an earlier one may have had an effect, the step may
    /// have happened.
    fn action_answered(&mut self, step: StepIndex, answer: &Answer) {
        match classify_action(answer) {
            ActionOutcome::Done { output } => self.emit(Event::ActionDone { step, output, by_probe: false }),
            ActionOutcome::Refused { failure } if self.saga.steps[step].uncertain => self.uncertain(step, failure),
            ActionOutcome::Refused { failure } => self.answered_no(step, failure),
            ActionOutcome::NotDone { failure, retry_after_ms } => {
                // A queue may deliver the same message again, and it may be done then.
                let is_no_more = self.is_message(step) && self.is_undone_all_the_same(step);
                let trouble = if is_no_more { Trouble::Unknown } else { Trouble::NotDone };
                self.action_failed(step, trouble, failure, retry_after_ms);
            }
            ActionOutcome::InProgress { failure, retry_after_ms } => {
                self.action_failed(step, Trouble::InProgress, failure, retry_after_ms);
            }
            ActionOutcome::Unknown { failure, retry_after_ms } => {
                self.action_failed(step, Trouble::Unknown, failure, retry_after_ms);
            }
        }
    }

    /// An attempt that settled nothing: another one, or whatever follows when there is none.
    fn action_failed(&mut self, step: StepIndex, trouble: Trouble, failure: Failure, asked_ms: Option<u64>) {
        if let Some(retry_at) = self.next_attempt(step, trouble, asked_ms) {
            self.emit(Event::ActionFailed { step, trouble, failure, retry_at });
        } else if self.saga.steps[step].uncertain || trouble.is_uncertain() {
            self.uncertain(step, failure);
        } else {
            self.answered_no(step, failure);
        }
    }

    /// No attempt had an effect, say all the answers. Of a message that is no more than a probe says.
    fn answered_no(&mut self, step: StepIndex, failure: Failure) {
        if self.is_message(step) { self.denied(step, failure) } else { self.without_effect(step, failure) }
    }

    fn next_attempt(&self, step: StepIndex, trouble: Trouble, asked_ms: Option<u64>) -> Option<Timestamp> {
        let (StepState::Acting(trial) | StepState::Sent { trial, .. }) = self.state(step) else { return None };
        let work = self.work(step);
        let never_again = work.effects == Effects::AtMostOnce && trouble.is_uncertain();
        if self.saga.phase != Phase::Forward || never_again {
            return None;
        }
        let tried = trial.spent + 1;
        // That the answer to a message is waited for, perhaps for hours, is no trying.
        let waited_ms = if work.action.is_message() { work.action.timeout_ms.saturating_mul(tried.into()) } else { 0 };
        let used_ms = self.elapsed_ms(trial.since).saturating_sub(waited_ms);
        match trouble {
            Trouble::Interrupted | Trouble::Withdrawn => Some(self.moment.now),
            Trouble::InProgress => self.within(&work.retry, used_ms, in_progress_ms(asked_ms)),
            Trouble::NotDone | Trouble::Unknown => self.backoff(&work.retry, step, used_ms, tried, asked_ms),
        }
    }

    /// When the next attempt is after `spent` of them that took `used_ms` of the policy's total; `None` where the
    /// policy allows no other.
    fn backoff(
        &self,
        policy: &RetryPolicy,
        step: StepIndex,
        used_ms: u64,
        spent: u32,
        asked_ms: Option<u64>,
    ) -> Option<Timestamp> {
        if spent >= policy.attempts {
            return None;
        }
        self.within(policy, used_ms, policy.delay_ms(spent, self.chance(step), asked_ms))
    }

    fn within(&self, policy: &RetryPolicy, used_ms: u64, delay_ms: u64) -> Option<Timestamp> {
        (used_ms.saturating_add(delay_ms) <= policy.total_ms).then(|| self.moment.now.plus(delay_ms))
    }

    fn elapsed_ms(&self, since: Timestamp) -> u64 {
        self.moment.now.since(since)
    }

    /// The action could not be sent. Where an earlier attempt may have had an effect, the step may have happened.
    fn refused(&mut self, step: StepIndex, failure: Failure) {
        if self.saga.steps[step].uncertain { self.uncertain(step, failure) } else { self.without_effect(step, failure) }
    }

    /// The step may have happened and no other attempt will tell: ask the participant, or give up knowing.
    fn uncertain(&mut self, step: StepIndex, failure: Failure) {
        if self.work(step).probe.is_some() {
            let ask_at = Some(self.moment.now);
            self.emit(Event::ActionUnknown { step, failure, ask_at });
        } else {
            self.unknown(step, failure);
        }
    }

    /// Nobody can say whether the step happened. It is undone as if it had; where it cannot be, a person decides.
    fn unknown(&mut self, step: StepIndex, failure: Failure) {
        let written = &self.definition.steps[step];
        if written.kind == Kind::Compensatable && self.work(step).effects == Effects::Idempotent {
            self.emit(Event::ActionUnknown { step, failure: failure.clone(), ask_at: None });
            let reason = format!("nobody can say whether step {} happened: {}", written.name, failure.message);
            self.turn_back(reason, None);
        } else {
            self.die(step, Claim::Unknown, failure);
        }
    }

    /// The step had no effect and will have none: the saga turns back, or a person decides where it cannot.
    fn without_effect(&mut self, step: StepIndex, failure: Failure) {
        if self.definition.steps[step].kind == Kind::Retriable {
            // Also where a probe has found it out: it is the action that is to be tried again then.
            self.emit(Event::DeadLettered {
                step,
                direction: Direction::Action,
                claim: Claim::Undone,
                failure,
                operator: None,
            });
        } else {
            let reason = format!("step {} had no effect: {}", self.name(step), failure.message);
            self.emit(Event::ActionRefused { step, failure });
            self.turn_back(reason, None);
        }
    }

    pub(super) fn turn_back(&mut self, reason: String, operator: Option<Operator>) {
        if self.saga.phase == Phase::Forward {
            self.settle_doubts();
            self.emit(Event::CompensationEntered { reason, operator });
        }
    }

    /// Steps that were to be tried again and get no other attempt because the saga turns back. What may have
    /// happened is treated as it is after the last attempt: asked about where that is possible, and never taken for
    /// granted where the participant does not honour the key. The others are undone as if they had happened.
    fn settle_doubts(&mut self) {
        for step in 0..self.saga.steps.len() {
            let found = &self.saga.steps[step];
            if !found.uncertain || !matches!(found.state, StepState::ActionDue { .. } | StepState::Reopened) {
                continue;
            }
            let failure = found.error.clone().unwrap_or_else(|| Failure::without_status("an attempt was not answered"));
            let work = self.work(step);
            if work.probe.is_some() || work.effects == Effects::AtMostOnce {
                self.uncertain(step, failure);
            }
        }
    }

    fn die(&mut self, step: StepIndex, claim: Claim, failure: Failure) {
        let direction = match self.state(step) {
            StepState::Probing(_) | StepState::ProbeDue { .. } => Direction::Probe,
            StepState::Done | StepState::Unknown | StepState::Compensating(_) => Direction::Compensation,
            StepState::Pending
            | StepState::Reopened
            | StepState::Acting(_)
            | StepState::Sent { .. }
            | StepState::ActionDue { .. }
            | StepState::Waiting { .. }
            | StepState::Sleeping { .. }
            | StepState::Refused
            | StepState::Skipped
            | StepState::Compensated
            | StepState::Dead(_) => Direction::Action,
        };
        self.emit(Event::DeadLettered { step, direction, claim, failure, operator: None });
    }

    // --- Probes --------------------------------------------------------------------------------------------

    /// Asks one question that is due. Returns whether there was one.
    fn ask(&mut self) -> bool {
        let now = self.moment.now;
        let is_due = |state: &StepState| matches!(state, StepState::ProbeDue { at, .. } if *at <= now);
        let Some(step) = self.saga.steps.iter().position(|step| is_due(&step.state)) else { return false };
        let StepState::ProbeDue { inquiry, .. } = self.state(step) else { return false };
        let attempt = inquiry.spent + 1;
        let probe = self.work(step).probe.as_ref().expect("a step that is probed has a probe");
        match request::probe(self.definition, &self.saga, &probe.call) {
            Ok(request) => {
                self.emit(Event::ProbeStarted { step, attempt });
                self.calls.push(PlannedCall { step, direction: Direction::Probe, attempt, request });
            }
            Err(error) => self.unknown(step, Failure::without_status(format!("the probe cannot be sent: {error}"))),
        }
        true
    }

    fn probe_answered(&mut self, step: StepIndex, answer: &Answer) {
        let (failure, asked_ms) = match (classify_probe(answer), answer) {
            (ProbeOutcome::Again { failure, retry_after_ms }, _) => (failure, retry_after_ms),
            (ProbeOutcome::Answered, Answer::Response(response)) => {
                match self.judge_probe(step, response.status, &response.body) {
                    Ok(Some(output)) => return self.emit(Event::ActionDone { step, output, by_probe: true }),
                    Ok(None) => {
                        let failure = Failure::without_status("the participant says that it did not happen");
                        return self.denied(step, failure);
                    }
                    Err(error) => (Failure::without_status(format!("the probe cannot be judged: {error}")), None),
                }
            }
            (ProbeOutcome::Answered, Answer::NotSent { error } | Answer::Lost { error }) => {
                (Failure::without_status(error), None)
            }
            (ProbeOutcome::Answered, Answer::Reply(_)) => return,
        };
        let StepState::Probing(inquiry) = self.state(step) else { return };
        let policy = self.work(step).probe.as_ref().map_or(RetryPolicy::PROBE, |probe| probe.retry);
        match self.backoff(&policy, step, self.elapsed_ms(inquiry.since), inquiry.spent + 1, asked_ms) {
            Some(retry_at) => self.emit(Event::ProbeFailed { step, trouble: Trouble::Unknown, failure, retry_at }),
            None => self.unknown(step, failure),
        }
    }

    /// The participant says that the action did not happen. That is so now: a request that is still on its way may land
    /// later, and a queue may deliver a message again. So a step that can be undone is undone all the same, and what that
    /// leaves under its key turns the late one away.
    fn denied(&mut self, step: StepIndex, failure: Failure) {
        if self.is_undone_all_the_same(step) {
            let reason = format!("step {} had no effect: {}", self.name(step), failure.message);
            self.emit(Event::ActionUnknown { step, failure, ask_at: None });
            self.turn_back(reason, None);
        } else {
            self.without_effect(step, failure);
        }
    }

    /// Whether a *no* is not simply believed: the step's compensation leaves something under its key that turns a late request away.
    fn is_undone_all_the_same(&self, step: StepIndex) -> bool {
        let honours_key = self.work(step).effects == Effects::Idempotent;
        let can_be_undone = self.definition.steps[step].compensation().is_some();
        honours_key && can_be_undone && self.render_compensation(step).is_ok()
    }

    /// The step's output if the action happened.
    fn judge_probe(&self, step: StepIndex, status: u16, body: &Arc<Value>) -> Result<Option<Arc<Value>>, RenderError> {
        let probe = self.work(step).probe.as_ref().expect("a step that is probed has a probe");
        let scope = Scope { response: Some((status, body.clone())), ..request::scope(self.definition, &self.saga) };
        if !probe.happened.is_true(&scope)? {
            return Ok(None);
        }
        let output = probe.output.as_ref().map(|output| output.render(&scope)).transpose()?;
        Ok(Some(Arc::new(output.unwrap_or(Value::Null))))
    }

    // --- Time, and beginning again ---------------------------------------------------------------------------

    fn wait_failed(&mut self, step: StepIndex, failure: Failure, operator: Option<Operator>) {
        if self.saga.can_turn_back(self.definition) {
            let reason = format!("step {} did not come about: {}", self.name(step), failure.message);
            self.emit(Event::WaitFailed { step, failure, operator });
            self.turn_back(reason, None);
        } else {
            let (direction, claim) = (Direction::Action, Claim::Undone);
            self.emit(Event::DeadLettered { step, direction, claim, failure, operator });
        }
    }

    /// A call that was in flight when the last owner went away has lost its answer.
    fn recover(&mut self) {
        let interrupted = Failure::without_status("the orchestrator stopped before an answer was recorded");
        for step in 0..self.saga.steps.len() {
            match self.state(step) {
                StepState::Acting(_) => self.action_failed(step, Trouble::Interrupted, interrupted.clone(), None),
                StepState::Probing(_) => {
                    let (trouble, failure, retry_at) = (Trouble::Interrupted, interrupted.clone(), self.moment.now);
                    self.emit(Event::ProbeFailed { step, trouble, failure, retry_at });
                }
                // A message is answered to whoever has the saga then.
                StepState::Sent { .. }
                | StepState::Pending
                | StepState::Reopened
                | StepState::ActionDue { .. }
                | StepState::ProbeDue { .. }
                | StepState::Waiting { .. }
                | StepState::Sleeping { .. }
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

    // --- People ----------------------------------------------------------------------------------------------

    fn completed(&mut self, step: StepIndex, output: &Arc<Value>, operator: &Operator) -> Result<(), Refusal> {
        self.expect_waiting(step)?;
        if self.is_message(step) {
            self.action_answered(step, &Answer::Reply(Reply::Done { output: output.clone() }));
        } else {
            self.emit(Event::WaitCompleted { step, output: output.clone(), operator: Some(operator.clone()) });
        }
        Ok(())
    }

    fn failed(&mut self, step: StepIndex, operator: &Operator) -> Result<(), Refusal> {
        self.expect_waiting(step)?;
        let failure = Failure::from_outside(&operator.reason);
        if !self.is_message(step) {
            self.wait_failed(step, failure, Some(operator.clone()));
        } else if self.saga.steps[step].uncertain {
            self.uncertain(step, failure);
        } else {
            self.answered_no(step, failure);
        }
        Ok(())
    }

    fn is_message(&self, step: StepIndex) -> bool {
        self.definition.steps[step].call().is_some_and(|work| work.action.is_message())
    }

    fn expect_waiting(&self, step: StepIndex) -> Result<(), Refusal> {
        let Some(found) = self.saga.steps.get(step) else {
            return Err(Refusal::Conflict("the saga has no such step".into()));
        };
        if matches!(found.state, StepState::Waiting { .. } | StepState::Sent { .. }) {
            return Ok(());
        }
        let (name, status) = (self.name(step), found.status().as_str());
        Err(Refusal::Conflict(format!("step {name} is not waiting: it is {status}")))
    }

    fn cancel(&mut self, operator: &Operator) -> Result<(), Refusal> {
        self.expect_unfinished()?;
        let refuse = |why: &str| Err(Refusal::Conflict(why.to_owned()));
        match self.saga.phase {
            Phase::Forward if !self.saga.can_turn_back(self.definition) => {
                refuse("the saga is past its point of no return and can only go forward")
            }
            Phase::Forward => {
                let reason = format!("cancelled by {}: {}", operator.actor, operator.reason);
                self.turn_back(reason, Some(operator.clone()));
                Ok(())
            }
            Phase::Compensating { .. } | Phase::Completed { .. } | Phase::Compensated { .. } => {
                refuse("the saga is being undone already")
            }
        }
    }

    fn pause(&mut self, operator: &Operator) -> Result<(), Refusal> {
        self.expect_unfinished()?;
        if self.saga.held {
            return Err(Refusal::Conflict("the saga is paused already".into()));
        }
        self.emit(Event::Paused { operator: operator.clone() });
        Ok(())
    }

    fn resume(&mut self, operator: &Operator) -> Result<(), Refusal> {
        self.expect_unfinished()?;
        if !self.saga.held {
            return Err(Refusal::Conflict("the saga is not paused".into()));
        }
        self.emit(Event::Resumed { operator: operator.clone() });
        Ok(())
    }

    /// Whoever decided looked at the saga as it stands, or does not mind.
    fn expect_seen(&self, seen: Option<u64>) -> Result<(), Refusal> {
        match seen {
            Some(seen) if seen != self.saga.sequence => Err(Refusal::Conflict(format!(
                "the saga has moved on: this was decided after event {seen}, and there are {} now; it is {}",
                self.saga.sequence,
                self.saga.status().as_str()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn expect_unfinished(&self) -> Result<(), Refusal> {
        if self.saga.is_finished() {
            let status = self.saga.status().as_str();
            return Err(Refusal::Conflict(format!("the saga is finished: it is {status}")));
        }
        Ok(())
    }
}

/// How long to wait before asking again about a request that still runs.
fn in_progress_ms(asked_ms: Option<u64>) -> u64 {
    asked_ms.unwrap_or(IN_PROGRESS_MS).max(IN_PROGRESS_LEAST_MS)
}
