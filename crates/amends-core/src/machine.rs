//! The state machine of one saga: the heart of Amends.
//!
//! Call order: [`begin`] turns an accepted start into a saga and its first events; from then on [`decide`] turns
//! each [`Command`] into a [`Decision`], whose events the caller commits, and only then performs the decision's
//! calls. [`fold`] rebuilds a saga from its events with [`apply`], which is the only code that changes one. There
//! is no other way to change a saga, and recovery is `fold` followed by `decide(Recover)`.
//!
//! Invariants:
//!
//! - Every call in a decision follows from an event of the same decision, or from a received message.
//! - After [`Event::CompensationEntered`] no action starts.
//! - A finished saga accepts no command.
//! - A step that may have happened is undone like one that has; only a definite "no effect" is left alone.

mod apply;
mod decide;
mod event;
mod failure;
mod identity;
mod prospect;
mod request;
mod settle;

#[cfg(test)]
mod tests;

pub use apply::{FoldError, apply, fold};
pub use decide::{Start, begin, decide};
pub use event::{Event, Operator, Trouble};
pub use failure::{FailedAt, failure_fingerprint};
pub use identity::{Identity, fingerprint, identify};
pub use prospect::{Prospect, foresee};
pub use request::{Request, request_of};

use crate::answer::{Answer, Failure, Reply};
use crate::definition::{Definition, Kind, StepIndex};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// One execution of a definition: what its events add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Saga {
    /// Its id.
    pub id: Uuid,
    /// The business key.
    pub key: String,
    /// What it was started with.
    pub input: Arc<Value>,
    /// The W3C trace context that it was started in, if any.
    pub traceparent: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it compensates if it can still turn back.
    pub deadline_at: Option<Timestamp>,
    /// How many events it has.
    pub sequence: u64,
    /// Which way it goes.
    pub phase: Phase,
    /// Whether a person holds it: answers are recorded, nothing new is begun.
    pub held: bool,
    /// Its steps, in the order of the definition.
    pub steps: Vec<Step>,
}

/// Which way a saga goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Towards completion.
    Forward,
    /// Back: what was done is being undone.
    Compensating {
        /// Why, in one sentence.
        reason: String,
    },
    /// Every step has taken effect.
    Completed {
        /// Since when.
        at: Timestamp,
    },
    /// Every effect is undone.
    Compensated {
        /// Since when.
        at: Timestamp,
        /// Why it turned back.
        reason: String,
    },
}

/// One step of a saga.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it stands.
    pub state: StepState,
    /// How many times its action was sent.
    pub attempts: u32,
    /// How many attempts at its compensation have ended, well or not, or without an answer.
    pub compensation_attempts: u32,
    /// What its action answered; null until it did, and where the answer never came.
    pub output: Arc<Value>,
    /// Whether some attempt may have taken effect and no later answer has settled it.
    pub uncertain: bool,
    /// Whether the outcome of some attempt was ever unknown. Whatever was learned since, its request may still arrive.
    pub may_arrive: bool,
    /// What a person has put in the place of the action's body, if anybody did.
    pub edit: Option<Edit>,
    /// What went wrong last.
    pub error: Option<Failure>,
}

/// Another body for a step's action.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The body.
    pub body: Arc<Value>,
    /// Which body this is: the definition's is the first one. The step's keys are of the same generation, because a key
    /// stands for one request.
    pub generation: u32,
    /// How many attempts there were before it.
    pub after_attempt: u32,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// Its turn has not come.
    Pending,
    /// A person lets it begin again after it was given up; it begins as soon as the saga goes on.
    Reopened,
    /// The intent to call is committed and no answer is: the call is in flight, or will be.
    Acting(Trial),
    /// The message with the action is in its queue, or was received, and its answer is waited for.
    Sent {
        /// What was tried so far.
        trial: Trial,
        /// Until then.
        until: Timestamp,
    },
    /// The action is tried again at a time.
    ActionDue {
        /// What was tried so far.
        trial: Trial,
        /// When.
        at: Timestamp,
    },
    /// The participant is being asked whether the action happened.
    Probing(Inquiry),
    /// The participant is asked again at a time.
    ProbeDue {
        /// What was asked so far.
        inquiry: Inquiry,
        /// When.
        at: Timestamp,
    },
    /// It waits for `complete` or `fail` from outside.
    Waiting {
        /// Until then.
        until: Timestamp,
    },
    /// It lets time pass.
    Sleeping {
        /// Until then.
        until: Timestamp,
    },
    /// It has taken effect.
    Done,
    /// It has had no effect, and will have none.
    Refused,
    /// It may have taken effect, and nobody can say; it is treated as if it had.
    Unknown,
    /// It was left out.
    Skipped,
    /// Its compensation is in the queue, or in flight.
    Compensating(Undoing),
    /// Its effect is undone.
    Compensated,
    /// The machine gave up on it.
    Dead(Death),
}

/// The attempts at one action.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Digest of the request that the intent stands for.
    pub digest: String,
    /// When the first attempt was begun.
    pub since: Timestamp,
    /// Attempts that count against the policy.
    pub spent: u32,
}

/// The attempts at asking whether an action happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// When it was asked first.
    pub since: Timestamp,
    /// Attempts that count against the policy.
    pub spent: u32,
}

/// The attempts at undoing.
#[derive(Clone, Debug, PartialEq)]
pub struct Undoing {
    /// Digest of the request that the message stands for.
    pub digest: String,
    /// Milliseconds that the policy has let pass between attempts. Time in the queue, behind an open breaker or in a
    /// hold does not count: a participant that is away for longer than the policy's total must not find that
    /// every compensation has run out of time.
    pub waited_ms: u64,
    /// Attempts that count against the policy.
    pub spent: u32,
    /// Whether the effect is known to be there, or only may be.
    pub claim: Claim,
    /// When the next attempt may be made.
    pub at: Timestamp,
    /// How it gets there.
    pub way: Way,
}

/// How a compensation gets to its participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a call, for which it waits in the queue of compensations.
    Call,
    /// By a message.
    Message {
        /// Until when the answer to the one that was sent is waited for; `None` until one is sent.
        until: Option<Timestamp>,
    },
}

/// What was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// Which of the step's calls.
    pub direction: Direction,
    /// What is known of the effect.
    pub claim: Claim,
    /// The number of the event: with the saga's id it names the dead letter.
    pub letter: u64,
}

/// The way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The step's work.
    Action,
    /// Undoing it.
    Compensation,
    /// Asking whether it happened.
    Probe,
}

/// What is known of a step's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// It is there.
    Done,
    /// It is not there.
    Undone,
    /// Nobody knows.
    Unknown,
}

/// Something that may change a saga.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A call has ended. `attempt` is the one that the call was given.
    Answered {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        direction: Direction,
        /// Which attempt.
        attempt: u32,
        /// What came back.
        answer: Answer,
    },
    /// A call was taken back before it was sent.
    Withdrawn {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        direction: Direction,
        /// Which attempt.
        attempt: u32,
    },
    /// The message for a step's compensation was received for the given time in a row. It is not to be given while an
    /// attempt is in flight here: a message that is received again stands for an attempt whose answer was lost.
    Received {
        /// The step.
        step: StepIndex,
        /// How often it was received without a result; past a bound the message is poison.
        receives: u32,
    },
    /// Time has passed: whatever is due is done.
    Tick,
    /// The saga was just taken into memory: nobody holds the answers to calls that were in flight.
    Recover,
    /// Ends a waiting step well.
    Complete {
        /// The step.
        step: StepIndex,
        /// Its output.
        output: Arc<Value>,
        /// Who says so. A reason is not asked for.
        operator: Operator,
    },
    /// Ends a waiting step badly.
    Fail {
        /// The step.
        step: StepIndex,
        /// Who says so, and why.
        operator: Operator,
    },
    /// Stops the saga and undoes what it did.
    Cancel(Operator),
    /// Holds the saga.
    Pause(Operator),
    /// Lets a held saga go on.
    Resume(Operator),
    /// Decides about a dead letter.
    Settle {
        /// The number of the dead letter.
        letter: u64,
        /// What is to be done.
        settlement: Settlement,
        /// Who says so, and why.
        operator: Operator,
        /// How many events the saga had when this was decided, if it is to hold for that state alone.
        seen: Option<u64>,
    },
}

/// For the log: without what participants answered and callbacks gave, and by the numbers of the steps.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Answered { step, direction, attempt, answer } => {
                write!(f, "step {step}, {}, attempt {attempt}: ", direction.as_str())?;
                match answer {
                    Answer::Response(response) => write!(f, "answered {}", response.status),
                    Answer::NotSent { .. } => f.write_str("not sent"),
                    Answer::Lost { .. } => f.write_str("no answer"),
                    Answer::Reply(Reply::Done { .. }) => f.write_str("answered: done"),
                    Answer::Reply(Reply::Refused { .. }) => f.write_str("answered: refused"),
                    Answer::Reply(Reply::NotDone { .. }) => f.write_str("answered: not done"),
                }
            }
            Command::Withdrawn { step, direction, attempt } => {
                write!(f, "step {step}, {}, attempt {attempt}: withdrawn", direction.as_str())
            }
            Command::Received { step, receives } => write!(f, "step {step}: message received {receives} times"),
            Command::Tick => f.write_str("tick"),
            Command::Recover => f.write_str("recover"),
            Command::Complete { step, output: _, operator: _ } => write!(f, "step {step}: complete"),
            Command::Fail { step, operator: _ } => write!(f, "step {step}: fail"),
            Command::Cancel(_) => f.write_str("cancel"),
            Command::Pause(_) => f.write_str("pause"),
            Command::Resume(_) => f.write_str("resume"),
            Command::Settle { letter, settlement: _, operator: _, seen: _ } => write!(f, "settle dead letter {letter}"),
        }
    }
}

/// What a person decides about a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settlement {
    /// Try again, with the same key and a fresh budget.
    Retry,
    /// Try again with another body, under another key and with a fresh budget.
    Edit {
        /// The body.
        body: Arc<Value>,
    },
    /// The effect is there.
    Done {
        /// The step's output for the steps after it.
        output: Arc<Value>,
    },
    /// The effect is not there.
    Undone,
    /// Leave the step as it is and go on.
    Skip,
    /// Undo what the saga did, this step too if it may have happened.
    TurnAround,
}

/// What a command comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is to be committed, in order. Nothing else has happened if it is empty.
    pub events: Vec<Event>,
    /// What is to be performed once that is committed.
    pub calls: Vec<PlannedCall>,
    /// The saga after the events.
    pub saga: Arc<Saga>,
}

/// A call that may be made.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCall {
    /// The step.
    pub step: StepIndex,
    /// Which of its calls.
    pub direction: Direction,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What to send.
    pub request: Request,
}

/// The time and the chance that a decision may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time now.
    pub now: Timestamp,
    /// Uniform over all of `u64`.
    pub chance: u64,
}

/// Why a command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What it waits for is not the case (any more); the sentence says what is.
    #[error("{0}")]
    Conflict(String),
    /// It is an answer that nobody waits for any more.
    #[error("nobody waits for this answer any more")]
    Stale,
}

/// Where a saga stands, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It goes forward.
    Running,
    /// Its effects are being undone.
    Compensating,
    /// Every step has taken effect.
    Completed,
    /// Every effect was undone.
    Compensated,
    /// A dead letter waits for a person.
    Stuck,
}

/// Where a step stands, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "as in StepState")]
pub enum StepStatus {
    Pending,
    Running,
    Waiting,
    Sleeping,
    Unknown,
    Done,
    Refused,
    Skipped,
    Compensating,
    Compensated,
    Dead,
}

impl Status {
    /// As it is written in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Compensating => "compensating",
            Status::Completed => "completed",
            Status::Compensated => "compensated",
            Status::Stuck => "stuck",
        }
    }
}

impl Direction {
    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Action => "action",
            Direction::Compensation => "compensation",
            Direction::Probe => "probe",
        }
    }
}

impl Claim {
    /// As it is written in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Claim::Done => "done",
            Claim::Undone => "undone",
            Claim::Unknown => "unknown",
        }
    }
}

impl Saga {
    /// Where the saga stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Completed { .. } => Status::Completed,
            Phase::Compensated { .. } => Status::Compensated,
            Phase::Forward | Phase::Compensating { .. } if self.dead().next().is_some() => Status::Stuck,
            Phase::Compensating { .. } => Status::Compensating,
            Phase::Forward => Status::Running,
        }
    }

    /// One sentence that says why the saga compensates or is stuck.
    #[must_use]
    pub fn reason(&self, definition: &Definition) -> Option<String> {
        if let Some((index, death)) = self.dead().next() {
            let name = &definition.steps[index].name;
            let error = self.steps[index].error.as_ref().map_or("no answer", |failure| &failure.message);
            return Some(match death.direction {
                Direction::Action | Direction::Probe => format!("step {name} was given up: {error}"),
                Direction::Compensation => format!("the compensation of {name} was given up: {error}"),
            });
        }
        match &self.phase {
            Phase::Compensating { reason } | Phase::Compensated { reason, .. } => Some(reason.clone()),
            Phase::Forward | Phase::Completed { .. } => None,
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Completed { .. } | Phase::Compensated { .. })
    }

    /// Whether an action or a probe is in flight, or will be as soon as the last decision is committed.
    #[must_use]
    pub fn is_calling(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.state, StepState::Acting(_) | StepState::Probing(_)))
    }

    /// When the saga has something to do by itself, if nothing happens before; never while it is held.
    #[must_use]
    pub fn wake_at(&self, definition: &Definition) -> Option<Timestamp> {
        if self.held || self.is_finished() {
            return None;
        }
        let due = self.steps.iter().filter_map(|step| step.state.due_at());
        let deadline = self.deadline_at.filter(|_| self.phase == Phase::Forward && self.can_turn_back(definition));
        due.chain(deadline).min()
    }

    /// The steps that were given up and wait for a person.
    pub fn dead(&self) -> impl Iterator<Item = (StepIndex, &Death)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.state {
            StepState::Dead(death) => Some((index, death)),
            _ => None,
        })
    }

    /// Whether the saga may still turn back: no retriable step has begun, and no pivot has, or may have, happened.
    #[must_use]
    pub fn can_turn_back(&self, definition: &Definition) -> bool {
        self.steps.iter().zip(&definition.steps).all(|(step, written)| step.lets_turn_back(written.kind))
    }
}

impl Step {
    /// Where the step stands, as people see it. A step that is tried again after an unknown outcome is *unknown*.
    #[must_use]
    pub fn status(&self) -> StepStatus {
        match &self.state {
            StepState::Acting(_) | StepState::Sent { .. } | StepState::ActionDue { .. } | StepState::Reopened
                if self.uncertain =>
            {
                StepStatus::Unknown
            }
            StepState::Pending | StepState::Reopened => StepStatus::Pending,
            StepState::Acting(_) | StepState::Sent { .. } | StepState::ActionDue { .. } => StepStatus::Running,
            StepState::Probing(_) | StepState::ProbeDue { .. } | StepState::Unknown => StepStatus::Unknown,
            StepState::Waiting { .. } => StepStatus::Waiting,
            StepState::Sleeping { .. } => StepStatus::Sleeping,
            StepState::Done => StepStatus::Done,
            StepState::Refused => StepStatus::Refused,
            StepState::Skipped => StepStatus::Skipped,
            StepState::Compensating(_) => StepStatus::Compensating,
            StepState::Compensated => StepStatus::Compensated,
            StepState::Dead(_) => StepStatus::Dead,
        }
    }

    /// On the way forward only a person leaves a step out, and that means to go on: past the point of no return if
    /// the step was there.
    fn lets_turn_back(&self, kind: Kind) -> bool {
        match (kind, &self.state) {
            (Kind::Compensatable, _) | (_, StepState::Pending | StepState::Refused) => true,
            (Kind::Pivot, StepState::Waiting { .. }) => true,
            (Kind::Pivot, StepState::ActionDue { .. } | StepState::Reopened) => !self.uncertain,
            (Kind::Pivot, StepState::Dead(death)) => death.claim == Claim::Undone,
            (Kind::Pivot | Kind::Retriable, _) => false,
        }
    }
}

impl StepState {
    /// When the step has something to do by itself.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        match self {
            StepState::ActionDue { at, .. } | StepState::ProbeDue { at, .. } => Some(*at),
            StepState::Sent { until, .. } | StepState::Waiting { until } | StepState::Sleeping { until } => {
                Some(*until)
            }
            StepState::Compensating(Undoing { way: Way::Message { until }, at, .. }) => Some(until.unwrap_or(*at)),
            StepState::Pending
            | StepState::Reopened
            | StepState::Acting(_)
            | StepState::Probing(_)
            | StepState::Done
            | StepState::Refused
            | StepState::Unknown
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::Compensated
            | StepState::Dead(_) => None,
        }
    }

    /// When the step's compensation may be attempted, if it is in the queue of compensations.
    #[must_use]
    pub fn undone_at(&self) -> Option<Timestamp> {
        match self {
            StepState::Compensating(Undoing { way: Way::Call, at, .. }) => Some(*at),
            _ => None,
        }
    }
}

impl StepStatus {
    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Running => "running",
            StepStatus::Waiting => "waiting",
            StepStatus::Sleeping => "sleeping",
            StepStatus::Unknown => "unknown",
            StepStatus::Done => "done",
            StepStatus::Refused => "refused",
            StepStatus::Skipped => "skipped",
            StepStatus::Compensating => "compensating",
            StepStatus::Compensated => "compensated",
            StepStatus::Dead => "dead",
        }
    }
}
