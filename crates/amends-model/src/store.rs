//! The store that several orchestrators share (DESIGN §6, PostgreSQL): who owns the saga, and which commits it takes.

use crate::saga::{Phase, STEPS, Saga, Step};
use crate::{Fault, Incarnation};

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The saga, once it is accepted. There is one business key, so there is one saga at most.
    pub saga: Option<Saga>,
    /// Who works on it; nobody while it rests, is handed out, or is finished.
    pub owner: Option<Incarnation>,
    /// The incarnations.
    pub lives: Vec<Life>,
    /// The transaction of each incarnation that the store has not ended yet: what it writes. As long as it is open it
    /// holds the lock by which it was fenced.
    pub open: Vec<Option<Saga>>,
    /// The calls whose intent was committed at some time: actions, and compensations.
    pub intents: [[bool; 2]; STEPS],
    /// Whether an incarnation has committed after it was declared dead.
    pub dead_committed: bool,
    /// Whether a commit has changed a saga that was finished.
    pub finished_changed: bool,
}

/// What the store knows of an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// It may commit.
    Live,
    /// It may commit no more, and its saga is not handed out yet.
    Dead,
    /// It is dead, and has nothing left.
    Released,
}

/// What became of a commit that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Its transaction is open, and holds the fence.
    Open,
    /// It was written before, and its answer was lost.
    Written,
    /// The incarnation is dead.
    Fenced,
    /// The saga has moved on, or is another's.
    Stale,
}

impl Store {
    /// A store without a saga, and incarnations that have just enlisted.
    pub fn new(incarnations: usize) -> Store {
        Store {
            saga: None,
            owner: None,
            lives: vec![Life::Live; incarnations],
            open: vec![None; incarnations],
            intents: [[false; 2]; STEPS],
            dead_committed: false,
            finished_changed: false,
        }
    }

    /// Begins a commit. §6: it begins with `SELECT … WHERE id = $me AND live FOR SHARE`, and is its owner's alone.
    /// One that is offered `again` and was written is recognised: nobody else can have written the same.
    pub fn offer(&mut self, me: Incarnation, commit: &Saga, again: bool) -> Judged {
        if self.lives[me] != Life::Live {
            return Judged::Fenced;
        }
        if again && self.saga.as_ref() == Some(commit) {
            return Judged::Written;
        }
        if !self.is_next(commit) || (self.saga.is_some() && self.owner != Some(me)) {
            return Judged::Stale;
        }
        self.open[me] = Some(commit.clone());
        Judged::Open
    }

    /// Ends the open transaction of `me`: what it writes is durable from here on. Returns whether it was written: the
    /// primary keys refuse a second saga of one key, and a second event of one number.
    pub fn land(&mut self, me: Incarnation) -> bool {
        let Some(commit) = self.open[me].take().filter(|commit| self.is_next(commit)) else { return false };
        self.dead_committed |= self.lives[me] != Life::Live;
        self.finished_changed |= self.saga.as_ref().is_some_and(Saga::is_finished);
        self.owner = (!commit.rests()).then_some(me);
        for (intended, step) in self.intents.iter_mut().zip(&commit.steps) {
            intended[0] |= matches!(step, Step::Acting { .. });
            intended[1] |= matches!(step, Step::Compensating);
        }
        self.saga = Some(commit);
        true
    }

    /// Whether `whom` can be declared dead. §6: takeover locks its row `FOR UPDATE`, so it waits for whatever transaction
    /// has that row locked. Without that lock, that the incarnation was live when its transaction began is no fence.
    pub fn can_retire(&self, whom: Incarnation, fault: Fault) -> bool {
        self.lives[whom] == Life::Live && (self.open[whom].is_none() || fault == Fault::NoFence)
    }

    /// §6: only when `whom` is dead for good is what it had handed out.
    pub fn hand_out(&mut self, whom: Incarnation) {
        self.owner = self.owner.filter(|owner| *owner != whom);
        self.lives[whom] = Life::Released;
    }

    /// §6: a saga that nobody owns is claimed by whoever finds it due.
    pub fn can_claim(&self, me: Incarnation) -> bool {
        let is_free = self.owner.is_none() && self.saga.as_ref().is_some_and(|saga| !saga.is_finished());
        is_free && self.lives[me] == Life::Live
    }

    /// Whether the saga is in this phase.
    pub fn is_in(&self, phase: Phase) -> bool {
        self.saga.as_ref().is_some_and(|saga| saga.phase == phase)
    }

    fn is_next(&self, commit: &Saga) -> bool {
        match &self.saga {
            None => commit.sequence == 1,
            Some(saga) => saga.id == commit.id && saga.sequence + 1 == commit.sequence,
        }
    }
}
