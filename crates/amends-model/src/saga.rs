//! One saga of steps that follow each other, and what its owner decides about it (DESIGN §§3 and 5). It stands for
//! `amends-core::machine`: no waits, no probes, no dead letters, and time is whatever the search makes of it.

use crate::Incarnation;

/// How many steps the saga has.
pub const STEPS: usize = 2;
/// How many attempts an action has whose answer stays away, before the outcome counts as unknown.
const ATTEMPTS: u8 = 2;

/// A saga: the fold of its commits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Saga {
    /// Who accepted it. It stands for the id that was drawn then: a second start of the same order is another saga.
    pub id: Incarnation,
    /// How many commits it has; 0 before it is accepted.
    pub sequence: u8,
    /// Which way it goes.
    pub phase: Phase,
    /// Its steps, in order.
    pub steps: [Step; STEPS],
}

/// Which way a saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Phase {
    Forward,
    Compensating,
    Completed,
    Compensated,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Its turn has not come.
    Pending,
    /// The intent to perform the action is committed, and no answer is.
    Acting {
        /// Attempts that were not answered.
        spent: u8,
        /// Whether one that nobody has the answer to may have taken effect.
        uncertain: bool,
    },
    /// It is tried again later; the saga rests until then, and nobody owns it.
    Due {
        /// Attempts that were not answered.
        spent: u8,
    },
    /// It took effect.
    Done,
    /// It had no effect and will have none.
    Refused,
    /// It may have taken effect, and is undone as if it had.
    Unknown,
    /// The intent to perform the compensation is committed: its message is in the queue.
    Compensating,
    /// Its effect is undone.
    Compensated,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Heard {
    /// 2xx.
    Done,
    /// 4xx: this attempt had no effect.
    Refused,
    /// No answer: nobody knows.
    Nothing,
    /// It was never sent.
    NotSent,
}

/// What there is to decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// It is accepted.
    Begin,
    /// Another owner has it now: whatever was in flight has lost its answer, and what is due is begun.
    Recover,
    /// A person cancels it, or its deadline has passed.
    TurnBack,
    /// A call has ended.
    Answered(usize, Heard),
}

impl Saga {
    /// A saga that is to be accepted.
    pub fn unborn(id: Incarnation) -> Saga {
        Saga { id, sequence: 0, phase: Phase::Forward, steps: [Step::Pending; STEPS] }
    }

    /// What follows from a command: the saga after the one commit that records it *together with* the intents that
    /// follow from it (§5, *Accept* and *Record*).
    pub fn decide(&self, command: Command) -> Saga {
        let mut next = Saga { sequence: self.sequence + 1, ..self.clone() };
        match command {
            Command::Begin => {}
            Command::Recover => next.recover(),
            Command::TurnBack => next.turn_back(),
            Command::Answered(step, heard) => next.answered(step, heard),
        }
        next.advance();
        next
    }

    /// Whether nothing can change any more.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Completed | Phase::Compensated)
    }

    /// Whether it has no owner after the commit that leads here (§6, *Ownership*).
    pub fn rests(&self) -> bool {
        self.is_finished() || self.steps.iter().any(|step| matches!(step, Step::Due { .. }))
    }

    /// §3: what an answer means.
    fn answered(&mut self, step: usize, heard: Heard) {
        self.steps[step] = match (self.steps[step], heard) {
            (Step::Compensating, _) => Step::Compensated,
            (Step::Acting { .. }, Heard::Done) => Step::Done,
            // A refusal is an answer to its own attempt: an earlier one may have taken effect.
            (Step::Acting { uncertain, .. }, Heard::Refused | Heard::NotSent) if !uncertain => Step::Refused,
            (Step::Acting { spent, .. }, Heard::Nothing) if self.phase == Phase::Forward && spent + 1 < ATTEMPTS => {
                Step::Due { spent: spent + 1 }
            }
            // *Unknown*, and the attempts are spent: compensate including this step.
            (Step::Acting { .. }, Heard::Refused | Heard::Nothing | Heard::NotSent) => Step::Unknown,
            (other, _) => other,
        };
        if matches!(self.steps[step], Step::Refused | Step::Unknown) {
            self.turn_back();
        }
    }

    /// §5: an intent without a result *may have happened*. Recovery performs it again with the same key.
    fn recover(&mut self) {
        for step in &mut self.steps {
            *step = match *step {
                Step::Acting { spent, .. } if self.phase == Phase::Forward => Step::Acting { spent, uncertain: true },
                Step::Acting { .. } => Step::Unknown,
                Step::Due { spent } => Step::Acting { spent, uncertain: true },
                other => other,
            };
        }
    }

    /// §5: entering compensation is one commit. A call that is in flight is seen to its end.
    fn turn_back(&mut self) {
        if self.phase == Phase::Forward {
            self.phase = Phase::Compensating;
        }
    }

    /// Goes on as far as the saga can without hearing from anyone.
    fn advance(&mut self) {
        match self.phase {
            Phase::Forward => match self.steps.iter_mut().find(|step| **step != Step::Done) {
                Some(step @ Step::Pending) => *step = Step::Acting { spent: 0, uncertain: false },
                Some(_) => {}
                None => self.phase = Phase::Completed,
            },
            Phase::Compensating => match self.steps.iter_mut().rev().find(|step| !step.is_settled()) {
                Some(step @ (Step::Done | Step::Unknown)) => *step = Step::Compensating,
                Some(_) => {}
                None => self.phase = Phase::Compensated,
            },
            Phase::Completed | Phase::Compensated => {}
        }
    }
}

impl Step {
    /// Whether nothing is left to undo of it.
    fn is_settled(self) -> bool {
        matches!(self, Step::Pending | Step::Refused | Step::Compensated)
    }
}
