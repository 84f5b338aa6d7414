//! One orchestrator process: the engine itself, its clock, and what a kill takes away.

use amends_core::time::Timestamp;
use amends_engine::Settings;
use amends_engine::orchestrator::{CallId, Input, Orchestrator, Output};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Names a process by its place.
pub(crate) type ProcessId = usize;

/// Names one life of a process: what was meant for one that has died reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) number: u64,
}

/// A process, dead or alive.
pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) incarnation: Uuid,
    pub(crate) state: State,
    /// Milliseconds that its clock is ahead of the world's; behind, where `is_behind`.
    pub(crate) skew_ms: u64,
    pub(crate) is_behind: bool,
    /// Calls that this life has sent and that have not ended.
    pub(crate) calls_in_flight: u64,
    /// Calls of this life that have ended.
    pub(crate) heard: BTreeSet<CallId>,
    /// Whether it was told to stop.
    pub(crate) is_stopping: bool,
    /// Whether it has done nothing yet but take up what was left.
    pub(crate) is_recovering: bool,
}

/// What a process is doing.
pub(crate) enum State {
    Running(Box<Orchestrator>),
    /// What comes in waits.
    Frozen {
        orchestrator: Box<Orchestrator>,
        backlog: Vec<Input>,
    },
    Dead,
}

impl Process {
    pub(crate) fn dead(process: ProcessId) -> Process {
        Process {
            life: Life { process, number: 0 },
            incarnation: Uuid::nil(),
            state: State::Dead,
            skew_ms: 0,
            is_behind: false,
            calls_in_flight: 0,
            heard: BTreeSet::new(),
            is_stopping: false,
            is_recovering: false,
        }
    }

    /// A new life with a fresh incarnation.
    pub(crate) fn begin(&mut self, incarnation: Uuid, settings: &Settings, now: Timestamp, seed: u64) {
        self.life.number += 1;
        self.incarnation = incarnation;
        self.calls_in_flight = 0;
        self.heard.clear();
        self.is_stopping = false;
        self.is_recovering = true;
        self.state = State::Running(Box::new(Orchestrator::new(settings.clone(), self.clock(now), seed)));
    }

    /// The time by its own clock.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        if self.is_behind { Timestamp(now.0.saturating_sub(self.skew_ms)) } else { now.plus(self.skew_ms) }
    }

    /// The world's time at which its clock shows `at`.
    fn world_time(&self, at: Timestamp) -> Timestamp {
        if self.is_behind { at.plus(self.skew_ms) } else { Timestamp(at.0.saturating_sub(self.skew_ms)) }
    }

    pub(crate) fn running(&mut self) -> Option<&mut Orchestrator> {
        match &mut self.state {
            State::Running(orchestrator) => Some(orchestrator),
            State::Frozen { .. } | State::Dead => None,
        }
    }

    /// How many sagas it holds in memory.
    pub(crate) fn live_sagas(&self) -> usize {
        match &self.state {
            State::Running(orchestrator) => orchestrator.gauges().live_sagas,
            State::Frozen { .. } | State::Dead => 0,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.state, State::Frozen { .. })
    }

    /// When it has something to do by itself.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Running(orchestrator) => orchestrator.wake_at().map(|at| self.world_time(at)),
            State::Frozen { .. } | State::Dead => None,
        }
    }

    /// Hands something in. It is lost on the dead.
    pub(crate) fn hand_in(&mut self, now: Timestamp, input: Input) {
        let now = self.clock(now);
        self.is_recovering &= !matches!(input, Input::Committed { .. });
        match &mut self.state {
            State::Running(orchestrator) => orchestrator.handle(now, input),
            State::Frozen { backlog, .. } => backlog.push(input),
            State::Dead => {}
        }
    }

    /// Lets it do what is due, and says what it wants done.
    pub(crate) fn turn(&mut self, now: Timestamp) -> Vec<Output> {
        let now = self.clock(now);
        let Some(orchestrator) = self.running() else { return Vec::new() };
        orchestrator.turn(now);
        orchestrator.outputs().collect()
    }

    pub(crate) fn freeze(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            State::Running(orchestrator) => State::Frozen { orchestrator, backlog: Vec::new() },
            state @ (State::Frozen { .. } | State::Dead) => state,
        };
    }

    pub(crate) fn thaw(&mut self, now: Timestamp) {
        let State::Frozen { orchestrator, backlog } = std::mem::replace(&mut self.state, State::Dead) else { return };
        self.state = State::Running(orchestrator);
        for input in backlog {
            self.hand_in(now, input);
        }
    }
}
