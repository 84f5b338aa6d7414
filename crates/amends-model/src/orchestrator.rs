//! One start of one orchestrator process, and what it believes (DESIGN §5). What it believes may be of yesterday: nothing
//! tells it that it was slow.

use crate::network::Direction;
use crate::saga::{Phase, STEPS, Saga, Step};

/// An incarnation's process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// It was killed, or has found out that it is dead.
    Down,
    /// It runs, fast or slow.
    Up(Option<Memory>),
}

/// The saga in the memory of the process that works on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The saga as far as this process knows it to be committed.
    pub saga: Saga,
    /// Its call for each step.
    pub calls: [Option<Call>; STEPS],
    /// Whether it was taken from the store just now: that is decided about before anything else.
    pub recovers: bool,
    /// What is decided, and not known to be committed.
    pub staged: Option<Staged>,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Its intent is committed, and it is to be sent.
    Planned,
    /// It was sent, and this process listens for the answer.
    Sent,
}

/// A commit on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Staged {
    /// The saga after it.
    pub saga: Saga,
    /// Whether the answer was lost, so that the same commit is to be offered again.
    pub in_doubt: bool,
    /// Whether the store gave the saga to this process again meanwhile: then nobody else will wake it.
    pub taken_again: bool,
}

impl Memory {
    /// A saga that was asked for, or was taken from the store.
    pub fn new(saga: Saga, recovers: bool) -> Memory {
        Memory { saga, calls: [None; STEPS], recovers, staged: None }
    }

    /// Whether the process can decide: one commit of a saga is on its way at a time, and what comes meanwhile waits.
    pub fn is_free(&self) -> bool {
        self.staged.is_none() && !self.recovers
    }

    /// A commit is known to be durable. Returns whether the saga stays in memory.
    pub fn committed(&mut self) -> bool {
        let Some(staged) = self.staged.take() else { return true };
        self.saga = staged.saga;
        if self.saga.rests() {
            self.recovers = true;
            return staged.taken_again;
        }
        self.plan();
        true
    }

    /// §5: perform the calls whose intent is committed, and no others.
    pub fn plan(&mut self) {
        for (call, step) in self.calls.iter_mut().zip(&self.saga.steps) {
            if call.is_none() && matches!(step, Step::Acting { .. } | Step::Compensating) {
                *call = Some(Call::Planned);
            }
        }
    }

    /// Which call is still to be sent for a step, if one is. §5: no action once the saga has turned back. What is decided
    /// counts for that, committed or not.
    pub fn to_send(&self, step: usize) -> Option<Direction> {
        let saga = self.staged.as_ref().map_or(&self.saga, |staged| &staged.saga);
        match (self.calls[step], saga.steps[step]) {
            (Some(Call::Planned), Step::Compensating) => Some(Direction::Compensation),
            (Some(Call::Planned), Step::Acting { .. }) if saga.phase == Phase::Forward => Some(Direction::Action),
            _ => None,
        }
    }

    /// Whether a planned action is not to be sent any more, because the saga has turned back.
    pub fn is_withdrawn(&self, step: usize) -> bool {
        self.calls[step] == Some(Call::Planned)
            && self.saga.phase == Phase::Compensating
            && matches!(self.saga.steps[step], Step::Acting { .. })
    }
}
