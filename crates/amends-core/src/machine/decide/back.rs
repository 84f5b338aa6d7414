//! The way back: what is undone, in which order, and what the answers to compensations mean.

use super::{Draft, in_progress_ms};
use crate::answer::{Answer, CompensationOutcome, Failure, classify_compensation};
use crate::definition::StepIndex;
use crate::expression::RenderError;
use crate::machine::{
    Claim, Decision, Direction, Event, PlannedCall, Refusal, Request, StepState, Trouble, Undoing, Way, request,
};

/// A message that was received this often without a result is poison: whoever works on it dies of it.
const RECEIVES: u32 = 20;

impl Draft<'_> {
    /// Puts the compensations that are ready in the queue. Returns whether there were any.
    pub(super) fn queue_ready(&mut self) -> bool {
        let ready: Vec<StepIndex> = (0..self.saga.steps.len())
            .filter(|step| self.needs_undoing(*step) && self.is_clear_behind(*step))
            .collect();
        for step in &ready {
            self.queue_compensation(*step);
        }
        !ready.is_empty()
    }

    fn needs_undoing(&self, step: StepIndex) -> bool {
        matches!(self.state(step), StepState::Done | StepState::Unknown)
            && self.definition.steps[step].leaves_something()
    }

    /// Whether nothing is left to undo of the step itself.
    fn is_settled(&self, step: StepIndex) -> bool {
        match self.state(step) {
            StepState::Done | StepState::Unknown => !self.definition.steps[step].leaves_something(),
            StepState::Pending | StepState::Refused | StepState::Skipped | StepState::Compensated => true,
            StepState::Reopened
            | StepState::Acting(_)
            | StepState::Sent { .. }
            | StepState::ActionDue { .. }
            | StepState::Probing(_)
            | StepState::ProbeDue { .. }
            | StepState::Waiting { .. }
            | StepState::Sleeping { .. }
            | StepState::Compensating(_)
            | StepState::Dead(_) => false,
        }
    }

    /// Whether every step that came after this one, directly or not, is settled.
    fn is_clear_behind(&self, step: StepIndex) -> bool {
        let mut seen = vec![false; self.definition.steps.len()];
        let mut open = self.definition.steps[step].before.clone();
        while let Some(next) = open.pop() {
            if !std::mem::replace(&mut seen[next], true) {
                if !self.is_settled(next) {
                    return false;
                }
                open.extend(&self.definition.steps[next].before);
            }
        }
        true
    }

    pub(super) fn is_undone(&self) -> bool {
        (0..self.saga.steps.len()).all(|step| self.is_settled(step))
    }

    fn queue_compensation(&mut self, step: StepIndex) {
        let claim = if *self.state(step) == StepState::Done { Claim::Done } else { Claim::Unknown };
        let why = match self.definition.steps[step].compensation().map(|_| self.render_compensation(step)) {
            Some(Ok(request)) => {
                let by_message = request.is_message();
                return self.emit(Event::CompensationQueued { step, digest: request.digest(), claim, by_message });
            }
            Some(Err(error)) => format!("the compensation cannot be sent: {error}"),
            None => "the definition has no compensation for it, so it is left for a person to undo".into(),
        };
        self.die(step, claim, Failure::without_status(why));
    }

    /// Sends one compensation that is a message and whose time has come. Returns whether there was one.
    pub(super) fn send_compensation(&mut self) -> bool {
        let now = self.moment.now;
        let is_due = |state: &StepState| matches!(state, StepState::Compensating(Undoing { way: Way::Message { until: None }, at, .. }) if *at <= now);
        let Some(step) = self.saga.steps.iter().position(|step| is_due(&step.state)) else { return false };
        let StepState::Compensating(undoing) = self.state(step) else { return false };
        let claim = undoing.claim;
        match self.render_decided(step, &undoing.digest) {
            Ok(request) => {
                let attempt = self.saga.steps[step].compensation_attempts + 1;
                self.emit(Event::CompensationSent { step, attempt, until: now.plus(request.timeout_ms) });
                self.calls.push(PlannedCall { step, direction: Direction::Compensation, attempt, request });
            }
            Err(why) => self.die(step, claim, Failure::without_status(why)),
        }
        true
    }

    /// The compensation as it was decided on, or why it cannot be sent.
    fn render_decided(&self, step: StepIndex, digest: &str) -> Result<Request, String> {
        match self.render_compensation(step) {
            Err(error) => Err(format!("the compensation cannot be sent: {error}")),
            Ok(request) if request.digest() != digest => {
                Err("it renders another request than the one that was decided on, so it is not sent".to_owned())
            }
            Ok(request) => Ok(request),
        }
    }

    pub(super) fn render_compensation(&self, step: StepIndex) -> Result<Request, RenderError> {
        let compensation = self.definition.steps[step].compensation().expect("only what can be undone is undone");
        request::compensation(self.definition, &self.saga, step, &compensation.call)
    }

    /// The message itself is the intent, so receiving it writes no event. A message that is received again without a
    /// result stands for an attempt whose answer was lost; the number of the attempt says so, because nothing else
    /// keeps it.
    pub(super) fn received(mut self, step: StepIndex, receives: u32) -> Result<Decision, Refusal> {
        let found = self.saga.steps.get(step).ok_or(Refusal::Stale)?;
        let StepState::Compensating(undoing @ Undoing { way: Way::Call, .. }) = &found.state else {
            return Err(Refusal::Stale);
        };
        if self.saga.held {
            return Ok(self.finish());
        }
        let claim = if receives > 1 { Claim::Unknown } else { undoing.claim };
        let attempt = found.compensation_attempts + receives.max(1);
        let why = match self.render_decided(step, &undoing.digest) {
            _ if receives > RECEIVES => format!("its message was received {receives} times without a result"),
            Err(why) => why,
            Ok(request) => {
                self.calls.push(PlannedCall { step, direction: Direction::Compensation, attempt, request });
                return Ok(self.finish());
            }
        };
        self.die(step, claim, Failure::without_status(why));
        Ok(self.finish())
    }

    pub(super) fn compensation_answered(&mut self, step: StepIndex, attempt: u32, answer: &Answer) {
        let Some(compensation) = self.definition.steps[step].compensation() else { return };
        let StepState::Compensating(undoing) = self.state(step) else { return };
        let waited_ms = undoing.waited_ms;
        let spent = undoing.spent + 1;
        // Whatever this attempt did, one before it may have undone the effect: nobody has its answer. A message may have been
        // delivered before it was answered so.
        let others_lost = attempt > self.saga.steps[step].compensation_attempts + 1 || undoing.way != Way::Call;
        let claim = if others_lost { Claim::Unknown } else { undoing.claim };
        match classify_compensation(answer, compensation.not_found_is_done) {
            CompensationOutcome::Done => self.emit(Event::CompensationDone { step }),
            CompensationOutcome::Hopeless { failure } => self.die(step, claim, failure),
            CompensationOutcome::InProgress { failure, retry_after_ms } => {
                match self.within(&compensation.retry, waited_ms, in_progress_ms(retry_after_ms)) {
                    Some(retry_at) => {
                        let trouble = Trouble::InProgress;
                        self.emit(Event::CompensationFailed { step, attempt, trouble, failure, retry_at });
                    }
                    None => self.die(step, Claim::Unknown, failure),
                }
            }
            CompensationOutcome::Again { failure, retry_after_ms, uncertain } => {
                let trouble = if uncertain || others_lost { Trouble::Unknown } else { Trouble::NotDone };
                match self.backoff(&compensation.retry, step, waited_ms, spent, retry_after_ms) {
                    Some(retry_at) => {
                        self.emit(Event::CompensationFailed { step, attempt, trouble, failure, retry_at });
                    }
                    None => self.die(step, if uncertain { Claim::Unknown } else { claim }, failure),
                }
            }
        }
    }
}
