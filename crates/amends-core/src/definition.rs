//! A definition: the steps of a saga as data, read once, checked once, then only looked at.
//!
//! What is here is already valid: names exist, the graph has no cycle, every template compiles. Reading and
//! judging live in [`crate::parse`] and [`crate::lint`].

use crate::expression::{Expression, Template, Tree};
use crate::redact::Pointer;
use crate::retry::RetryPolicy;
use std::fmt;

/// A step's place in the written order of its definition.
pub type StepIndex = usize;

/// A definition that has been read and found valid.
#[derive(Debug)]
pub struct Definition {
    /// The name given by `saga:`.
    pub name: String,
    /// SHA-256 of the canonical source, in lower-case hexadecimal: the version's identity.
    pub version: String,
    /// Renders the business key from the input.
    pub key: Template,
    /// Milliseconds from the start after which an unfinished saga compensates, never past a pivot.
    pub deadline_ms: Option<u64>,
    /// When two starts with different keys are one and the same work.
    pub dedupe: Option<Dedupe>,
    /// What people are not shown.
    pub redact: Vec<Pointer>,
    /// The steps in the order written. `after` has been resolved: a plain list is a chain.
    pub steps: Vec<Step>,
}

/// The double click: two starts that render the same text within a window are one saga.
#[derive(Debug)]
pub struct Dedupe {
    /// Renders the text that is compared.
    pub by: Template,
    /// The window's length in milliseconds, from the first start.
    pub within_ms: u64,
}

/// One step: an action and its compensation, or a wait, or a sleep.
#[derive(Debug)]
pub struct Step {
    /// Unique within the definition.
    pub name: String,
    /// What may be done about it once it has happened.
    pub kind: Kind,
    /// The steps that must be done before this one, in ascending order.
    pub after: Vec<StepIndex>,
    /// The steps that name this one in their `after`, in ascending order.
    pub before: Vec<StepIndex>,
    /// What the step does.
    pub work: Work,
}

/// Whether a step can be undone and may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May fail, and is undone when a later step fails.
    Compensatable,
    /// May fail; once it has succeeded the saga only goes forward.
    Pivot,
    /// Comes after the point of no return: repeated until it succeeds, or a person is asked.
    Retriable,
}

/// What a step does.
#[derive(Debug)]
pub enum Work {
    /// Calls a participant.
    Call(Box<CallWork>),
    /// Waits for `complete` or `fail` from outside.
    Wait {
        /// Milliseconds after which the wait counts as failed.
        timeout_ms: u64,
    },
    /// Lets time pass.
    Sleep {
        /// How long, in milliseconds.
        duration_ms: u64,
    },
}

/// A step that calls a participant.
#[derive(Debug)]
pub struct CallWork {
    /// The call that does the work.
    pub action: Call,
    /// Whether the action may be sent again when its outcome is unknown.
    pub effects: Effects,
    /// When and how often the action is tried again.
    pub retry: RetryPolicy,
    /// Asks whether the action happened, when its answer never came.
    pub probe: Option<Probe>,
    /// How the action is undone.
    pub undo: Undo,
}

/// How an action is undone.
#[derive(Debug)]
pub enum Undo {
    /// By a call.
    By(Box<Compensation>),
    /// There is nothing to undo: the author says so, or the action only reads.
    Nothing,
    /// The author says nothing. What the action did is left for a person to undo.
    Unsaid,
}

/// Whether an action may be sent again when its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// The participant honours the idempotency key, so sending again is safe.
    Idempotent,
    /// Never sent again after an unknown outcome: probe, else ask a person.
    AtMostOnce,
}

/// One request to a participant, as a template: over HTTP, or by a message.
#[derive(Debug)]
pub struct Call {
    /// The request's method.
    pub method: Method,
    /// A name that the server's configuration gives an address to: a participant's, or a queue's where it is sent.
    pub participant: String,
    /// The path and query after the participant's base URL; what is interpolated is percent-encoded. A message has none.
    pub path: Template,
    /// The JSON body, if there is one.
    pub body: Option<Tree>,
    /// Milliseconds that one attempt may take, its answer included.
    pub timeout_ms: u64,
}

/// Asks a participant whether an action happened.
#[derive(Debug)]
pub struct Probe {
    /// The question; always a GET.
    pub call: Call,
    /// Judges the answer (`response.status`, `response.body`): true means that the action happened.
    pub happened: Expression,
    /// What the step's output is then; without it the output is null.
    pub output: Option<Tree>,
    /// How often the question is asked again when it is not answered.
    pub retry: RetryPolicy,
}

/// Undoes an action.
#[derive(Debug)]
pub struct Compensation {
    /// The call that undoes it. It may use `output`, the step's own output, which is null where the answer was lost.
    pub call: Call,
    /// Its own budget of attempts, apart from the action's.
    pub retry: RetryPolicy,
    /// Whether 404 means that there is nothing left to undo.
    pub not_found_is_done: bool,
}

/// The methods that a definition can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    /// Not one of HTTP's: a message in a queue, which is answered some time.
    Send,
}

impl Call {
    /// Whether it is a message in a queue, rather than a call over HTTP.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.method == Method::Send
    }
}

impl Method {
    /// As it stands in a request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Send => "SEND",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Compensatable => "compensatable",
            Kind::Pivot => "pivot",
            Kind::Retriable => "retriable",
        })
    }
}

impl Definition {
    /// The place of the step with this name.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<StepIndex> {
        self.steps.iter().position(|step| step.name == name)
    }
}

impl Step {
    /// The step's call, if it is a step that calls.
    #[must_use]
    pub fn call(&self) -> Option<&CallWork> {
        match &self.work {
            Work::Call(call) => Some(call),
            Work::Wait { .. } | Work::Sleep { .. } => None,
        }
    }

    /// The call that undoes the step, if there is one.
    #[must_use]
    pub fn compensation(&self) -> Option<&Compensation> {
        match &self.call()?.undo {
            Undo::By(compensation) => Some(compensation),
            Undo::Nothing | Undo::Unsaid => None,
        }
    }

    /// Whether something is left to undo once the step has happened, by a call or by a person.
    #[must_use]
    pub fn leaves_something(&self) -> bool {
        match self.call().map(|call| &call.undo) {
            Some(Undo::By(_) | Undo::Unsaid) => true,
            Some(Undo::Nothing) | None => false,
        }
    }
}
