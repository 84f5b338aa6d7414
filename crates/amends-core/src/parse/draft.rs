//! What the author wrote, piece by piece and with the places, before anyone judged it as a whole.
//!
//! A piece that could not be read is missing here and has been reported.

use crate::definition::{self, Call, CallWork, Compensation, Dedupe, Effects, Kind, Method, Probe, Work};
use crate::expression::{Template, Use};
use crate::redact::Pointer;
use crate::retry::RetryPolicy;
use std::ops::Range;

/// A value and the place that a message about it points to: a range of bytes in the source.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A definition as written.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: Option<String>,
    /// SHA-256 of the canonical document.
    pub(crate) version: String,
    pub(crate) key: Option<Located<Template>>,
    pub(crate) deadline: Option<Located<u64>>,
    pub(crate) dedupe: Option<Dedupe>,
    pub(crate) redact: Vec<Located<Pointer>>,
    pub(crate) steps: Vec<DraftStep>,
    /// Every template of the definition, with what it reads.
    pub(crate) sites: Vec<Site>,
    /// Every participant that is named, as often as it is named.
    pub(crate) participants: Vec<Located<String>>,
    /// Every queue that is named, as often as it is named.
    pub(crate) queues: Vec<Located<String>>,
}

/// A step as written.
#[derive(Debug)]
pub(crate) struct DraftStep {
    pub(crate) name: Located<String>,
    pub(crate) kind: Option<Located<Kind>>,
    /// None: the step comes after the one written before it.
    pub(crate) after: Option<Vec<Located<String>>>,
    pub(crate) work: Option<DraftWork>,
}

/// What a step does, as written.
#[derive(Debug)]
pub(crate) enum DraftWork {
    Call(Box<DraftCall>),
    Wait { timeout: Option<Located<u64>> },
    Sleep { duration: Option<Located<u64>> },
}

/// A step that calls, as written.
#[derive(Debug)]
pub(crate) struct DraftCall {
    pub(crate) action: Option<Call>,
    /// The place of the action's timeout, if it is written.
    pub(crate) timeout_span: Option<Range<usize>>,
    pub(crate) effects: Located<Effects>,
    pub(crate) retry: Option<RetryPolicy>,
    /// The probe and the place of its key. It is `Some(None)` if it is written and could not be read.
    pub(crate) probe: Option<Located<Option<Probe>>>,
    pub(crate) undo: Undo,
}

/// What the author said about undoing an action.
#[derive(Debug)]
pub(crate) enum Undo {
    /// Nothing.
    Unsaid,
    /// `compensation: none`: there is nothing to undo.
    Nothing,
    /// A call, with the place of its key; none if it could not be read.
    By(Located<Option<Box<Compensation>>>),
}

/// A place with a template in it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) role: Role,
    /// What the template reads; the ranges are in the definition's source.
    pub(crate) uses: Vec<Use>,
}

/// What a template is for; the numbers are steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Key,
    Dedupe,
    Action(usize),
    Compensation(usize),
    /// The question of a probe.
    Question(usize),
    /// What judges the answer to a probe: `happened` and `output`.
    Judgement(usize),
}

impl DraftWork {
    /// The finished work; none if a piece of it is missing.
    pub(crate) fn finish(self) -> Option<Work> {
        Some(match self {
            DraftWork::Wait { timeout } => Work::Wait { timeout_ms: timeout?.value },
            DraftWork::Sleep { duration } => Work::Sleep { duration_ms: duration?.value },
            DraftWork::Call(call) => Work::Call(Box::new(CallWork {
                undo: match call.undo {
                    Undo::Unsaid if call.action.as_ref()?.method == Method::Get => definition::Undo::Nothing,
                    Undo::Unsaid => definition::Undo::Unsaid,
                    Undo::Nothing => definition::Undo::Nothing,
                    Undo::By(compensation) => definition::Undo::By(compensation.value?),
                },
                action: call.action?,
                effects: call.effects.value,
                retry: call.retry?,
                probe: match call.probe {
                    Some(probe) => Some(probe.value?),
                    None => None,
                },
            })),
        })
    }
}

impl DraftStep {
    /// The step's call, if it is a step that calls.
    pub(crate) fn call(&self) -> Option<&DraftCall> {
        match &self.work {
            Some(DraftWork::Call(call)) => Some(call),
            Some(DraftWork::Wait { .. } | DraftWork::Sleep { .. }) | None => None,
        }
    }
}
