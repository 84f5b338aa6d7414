//! What must hold in every state that can be reached (the numbers are those of the invariants in RELIABILITY.md), and what must
//! be met on the way: a search that has not met a fault has shown nothing about it.

use crate::network::{Direction, Message, Participant, Record};
use crate::orchestrator::{Call, Process};
use crate::saga::{Phase, Saga, Step};
use crate::store::Life;
use crate::{Protocol, State};
use stateright::Property;

/// The names of the properties that the broken protocols are known by.
pub mod name {
    #![allow(missing_docs, reason = "the names say it")]
    pub const AT_MOST_ONCE: &str = "no effect happens twice, and none is undone more often than it happened";
    pub const COMPLETED: &str = "of a completed saga every effect is there, whatever is delivered later";
    pub const COMPENSATED: &str = "of a compensated saga no effect is there, whatever is delivered later";
    pub const DEAD_COMMIT: &str = "a dead incarnation commits nothing";
    pub const AFTER_TURN: &str = "no live incarnation sends an action after the commit that turns back";
    pub const ORPHAN: &str = "an unfinished saga has somebody who will wake it";
    pub const ENDS: &str = "every run ends with a finished saga";
    pub const REVERSE: &str = "an effect is undone only when those after it are gone, and stay gone";
}

/// All of them.
pub fn all() -> Vec<Property<Protocol>> {
    [safety(), vec![Property::eventually(name::ENDS, |_, state: &State| finished(state).is_some())], coverage()]
        .concat()
}

fn safety() -> Vec<Property<Protocol>> {
    vec![
        // 1
        Property::always("what a client was told to be accepted is in the store", |_, state: &State| {
            !state.told || state.store.saga.is_some()
        }),
        // 2
        Property::always(name::AT_MOST_ONCE, |_, state: &State| {
            state.participants.iter().all(|participant| participant.done <= 1 && participant.undone <= participant.done)
        }),
        // 3
        Property::always("no call is sent before its intent is committed", |_, state: &State| !state.sent_unintended),
        // 4
        Property::always(name::COMPLETED, |_, state: &State| {
            finished(state) != Some(Phase::Completed) || state.participants.iter().all(|found| found.net() == 1)
        }),
        // 5
        Property::always(name::COMPENSATED, |_, state: &State| {
            finished(state) != Some(Phase::Compensated) || state.participants.iter().all(|found| found.net() == 0)
        }),
        // 7
        Property::always(name::AFTER_TURN, |_, state: &State| !state.sent_after_turn),
        Property::always(name::REVERSE, |_, state: &State| {
            state.participants.windows(2).all(|pair| pair[0].undone == 0 || pair[1].net() == 0)
        }),
        // 8
        Property::always(name::DEAD_COMMIT, |_, state: &State| !state.store.dead_committed),
        // 9
        Property::always("a finished saga stays as it is", |_, state: &State| !state.store.finished_changed),
        // 10
        Property::always(name::ORPHAN, |_, state: &State| finished(state).is_some() || will_be_woken(state)),
    ]
}

/// What has to be possible; where it is an event, the state just before it.
fn coverage() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("completed", |_, state: &State| finished(state) == Some(Phase::Completed)),
        Property::sometimes("compensated", |_, state: &State| finished(state) == Some(Phase::Compensated)),
        Property::sometimes("a step is undone whose action has not arrived", |_, state: &State| {
            state.saga_holds(|saga| saga.steps[1] == Step::Compensating) && state.participants[1].done == 0
        }),
        Property::sometimes("an action meets a tombstone", |_, state: &State| {
            action_arrives(state, |participant| participant.action == Some(Record::Tombstone))
        }),
        Property::sometimes("an action that took effect is received again", |_, state: &State| {
            action_arrives(state, |participant| participant.action == Some(Record::Done))
        }),
        Property::sometimes("a commit of a dead incarnation is refused", |_, state: &State| {
            (0..state.processes.len()).any(|me| state.store.lives[me] != Life::Live && state.is_offering(me))
        }),
        Property::sometimes("a commit whose answer was lost is recognised", |_, state: &State| {
            (0..state.processes.len()).any(|me| state.is_offering(me) && state.staged(me) == state.store.saga.as_ref())
        }),
        Property::sometimes("a saga is taken over in the middle of a call", |_, state: &State| {
            state.network.iter().any(|message| match *message {
                Message::Request { caller: Some(caller), .. } => state.store.owner.is_some_and(|owner| owner != caller),
                Message::Request { caller: None, .. } | Message::Answer { .. } => false,
            })
        }),
        Property::sometimes("an owner is given the saga again before it knows that it rests", |_, state: &State| {
            (0..state.processes.len()).any(|me| state.is_taken_again(me))
        }),
        Property::sometimes("two incarnations accept the same order", |_, state: &State| {
            state.store.open.iter().flatten().filter(|commit| commit.sequence == 1).count() > 1
        }),
        // The fence keeps a slow owner from committing, and nothing keeps it from sending what it has committed: only the
        // tombstone does.
        Property::sometimes(
            "an owner that was taken for dead sends an action after the saga has turned back",
            |_, state: &State| {
                (0..state.processes.len()).any(|me| {
                    let sends =
                        |step| state.remembers(me).and_then(|memory| memory.to_send(step)) == Some(Direction::Action);
                    state.store.lives[me] != Life::Live && (0..2).any(sends) && !state.store.is_in(Phase::Forward)
                })
            },
        ),
    ]
}

fn finished(state: &State) -> Option<Phase> {
    state.store.saga.as_ref().filter(|saga| saga.is_finished()).map(|saga| saga.phase)
}

/// The wake-up invariant: an unfinished saga is free to be claimed, or its owner works on it, or will be found dead.
fn will_be_woken(state: &State) -> bool {
    let Some(owner) = state.store.owner else { return true };
    match (state.store.lives[owner], &state.processes[owner]) {
        (Life::Live, Process::Up(memory)) => memory.is_some(),
        (Life::Live, Process::Down) | (Life::Dead, _) => true,
        (Life::Released, _) => false,
    }
}

/// Whether an action is about to arrive at a participant of which this holds.
fn action_arrives(state: &State, holds: fn(&Participant) -> bool) -> bool {
    state.network.iter().any(|message| match message {
        Message::Request { step, direction: Direction::Action, .. } => holds(&state.participants[*step]),
        Message::Request { .. } | Message::Answer { .. } => false,
    })
}

impl State {
    fn saga_holds(&self, holds: impl Fn(&Saga) -> bool) -> bool {
        self.store.saga.as_ref().is_some_and(holds)
    }

    fn staged(&self, me: usize) -> Option<&Saga> {
        self.remembers(me).and_then(|memory| memory.staged.as_ref()).map(|staged| &staged.saga)
    }

    /// Whether a process is about to offer a commit, again or because it gives up on a call.
    fn is_offering(&self, me: usize) -> bool {
        self.store.open[me].is_none()
            && self.remembers(me).is_some_and(|memory| match &memory.staged {
                Some(staged) => staged.in_doubt,
                None => memory.recovers || memory.calls.contains(&Some(Call::Sent)),
            })
    }

    fn is_taken_again(&self, me: usize) -> bool {
        self.remembers(me).is_some_and(|memory| memory.staged.as_ref().is_some_and(|staged| staged.taken_again))
    }
}
