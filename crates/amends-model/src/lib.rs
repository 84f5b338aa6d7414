//! The protocol of DESIGN.md as a model that is searched whole: one saga of two steps, some orchestrators that share a
//! store, a network that loses, repeats and delays, and participants with an idempotency layer. It is not the program; it is
//! what the program rests on, small enough that *every* order of events is tried.
//!
//! The heart is [`Move`], whose variants name the rule that each stands for, with `Protocol::moves` (when one is possible)
//! and `Protocol::make` (what it does). What must hold is in [`properties`], the search in [`check`].
//!
//! Time is not modelled: whatever takes time may take any. So a slow process, a lease that has expired and a clock that is
//! wrong are one and the same, namely that others go first. What goes wrong is paid from a budget, [`Bounds::faults`]; all else
//! is bound to happen, so that a run ends only where nothing is left to do.
//!
//! Left out: steps that run together, probes, waits, dead letters, a participant that still works on a request when the next
//! one comes, and records that expire.

pub mod check;
pub mod network;
pub mod orchestrator;
pub mod properties;
pub mod saga;
pub mod store;
mod trace;

#[cfg(test)]
mod tests;

use network::{Direction, Message, Participant};
use orchestrator::{Call, Memory, Process, Staged};
use saga::{Command, Heard, Phase, STEPS, Saga, Step};
use stateright::{Model, Property};
use store::{Judged, Life, Store};

/// An orchestrator's incarnation, by its number.
pub type Incarnation = usize;

/// The protocol, sound or broken, within bounds.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// How far the search goes.
    pub bounds: Bounds,
    /// What is left out of the protocol on purpose.
    pub fault: Fault,
}

/// How far the search goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many incarnations there are.
    pub incarnations: usize,
    /// How many times something goes wrong, in any mixture: a process is killed, or is so slow that it is taken for dead; a
    /// message is lost, repeated, or slower than its caller's patience; a commit's answer is lost; a client asks twice.
    pub faults: u8,
}

/// What is left out of the protocol on purpose, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A commit looks whether its incarnation lives, but holds no lock that would keep it from being declared dead.
    NoFence,
    /// A compensation whose action never arrived leaves nothing under its key.
    NoTombstone,
    /// Participants carry out whatever reaches them.
    NoIdempotency,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The process of each incarnation.
    pub processes: Vec<Process>,
    /// What is on its way, sorted, for its order means nothing.
    pub network: Vec<Message>,
    /// The participant of each step.
    pub participants: [Participant; STEPS],
    /// Whether the client was told that the saga is accepted.
    pub told: bool,
    /// How much may still go wrong.
    pub faults: u8,
    /// Whether a call was sent whose intent was not committed.
    pub sent_unintended: bool,
    /// Whether a live incarnation has sent an action although the store said that the saga has turned back.
    pub sent_after_turn: bool,
}

/// What can happen next. § is a section of DESIGN.md.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// §5 *Accept*: a client asks for the saga. It asks again, maybe elsewhere, until it is told that it is accepted.
    Ask(Incarnation),
    /// §5 *Recovery*: who has claimed the saga goes on where the store says that it is.
    Recover(Incarnation),
    /// §2 *deadline*, §8 *cancel*: the saga turns back, whatever is in flight.
    TurnBack(Incarnation),
    /// §6: the store ends a commit's transaction: it is durable, and whoever still waits for its answer has it.
    Land(Incarnation),
    /// §6: the store undoes a transaction whose client is gone.
    RollBack(Incarnation),
    /// §6: *a commit whose answer was lost is unknown*. The transaction goes on without its client.
    Disconnect(Incarnation),
    /// §6: the same commit is offered again, once the transaction that may have written it has ended.
    OfferAgain(Incarnation),
    /// §5 *Perform*: a call is sent whose intent is committed.
    Send(Incarnation, usize),
    /// §5: *no action is sent after that commit*, the one that turns back: a call that was not sent yet never is.
    Withdraw(Incarnation, usize),
    /// §3 *unknown*: the caller has waited long enough. The request itself may still be on its way.
    GiveUp(Incarnation, usize),
    /// A request reaches its participant, or an answer its caller, who *records* it (§5).
    Deliver(Message),
    /// §3: a participant refuses an action, which has no effect.
    Refuse(Message),
    /// A message is lost.
    Lose(Message),
    /// A request comes to be there twice.
    Repeat(Message),
    /// A process ends without a word.
    Crash(Incarnation),
    /// §6 *takeover*, first: its lease has expired, so an incarnation is declared dead, whether its process runs or not.
    Retire(Incarnation),
    /// §6 *takeover*, and only then: what it had is handed out.
    HandOut(Incarnation),
    /// §6: an incarnation claims the saga that nobody owns.
    Claim(Incarnation),
}

impl Model for Protocol {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            store: Store::new(self.bounds.incarnations),
            processes: vec![Process::Up(None); self.bounds.incarnations],
            network: Vec::new(),
            participants: [Participant::default(); STEPS],
            told: false,
            faults: self.bounds.faults,
            sent_unintended: false,
            sent_after_turn: false,
        }]
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        (0..self.bounds.incarnations).for_each(|me| self.moves(state, me, moves));
        moves_of_messages(state, moves);
    }

    fn next_state(&self, state: &State, step: Move) -> Option<State> {
        let mut next = state.clone();
        self.make(&mut next, step);
        next.network.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        properties::all()
    }
}

impl Protocol {
    /// What can happen at an incarnation and its process.
    fn moves(&self, state: &State, me: Incarnation, moves: &mut Vec<Move>) {
        let State { store, processes, .. } = state;
        let is_live = store.lives[me] == Life::Live;
        let may_fail = state.faults > 0;
        let mut add = |possible: bool, step: Move| moves.extend(possible.then_some(step));

        add(store.lives[me] == Life::Dead, Move::HandOut(me));
        add(store.open[me].is_some(), Move::Land(me));
        add(store.open[me].is_some() && !state.awaits_commit(me), Move::RollBack(me));
        // Incarnations that are alike are as good as each other: the first of them stands for all.
        if state.is_idle(me) && (0..me).any(|other| state.is_idle(other)) {
            return;
        }
        let survives = (0..processes.len()).any(|other| other != me && state.is_well(other));
        let is_down = processes[me] == Process::Down;
        add(survives && (is_down || may_fail) && store.can_retire(me, self.fault), Move::Retire(me));
        let Process::Up(memory) = &processes[me] else { return };
        add(survives && may_fail && is_live, Move::Crash(me));
        let Some(memory) = memory else {
            add(is_live && !state.told && (may_fail || !state.is_asked()), Move::Ask(me));
            return add(store.can_claim(me), Move::Claim(me));
        };
        if let Some(staged) = &memory.staged {
            add(may_fail && state.awaits_commit(me), Move::Disconnect(me));
            add(staged.in_doubt && store.open[me].is_none(), Move::OfferAgain(me));
            add(store.can_claim(me) && !staged.taken_again, Move::Claim(me));
        }
        add(memory.recovers && memory.staged.is_none(), Move::Recover(me));
        add(memory.is_free() && memory.saga.phase == Phase::Forward, Move::TurnBack(me));
        for step in 0..STEPS {
            let is_sent = memory.calls[step] == Some(Call::Sent);
            add(memory.to_send(step).is_some(), Move::Send(me, step));
            add(memory.is_free() && memory.is_withdrawn(step), Move::Withdraw(me, step));
            add(memory.is_free() && is_sent && (may_fail || !state.is_heard(me, step)), Move::GiveUp(me, step));
        }
    }

    /// What a move does.
    fn make(&self, state: &mut State, step: Move) {
        match step {
            Move::Ask(me) => {
                state.pay(state.is_asked());
                state.processes[me] = Process::Up(Some(Memory::new(Saga::unborn(me), false)));
                state.commit(me, Command::Begin);
            }
            Move::Recover(me) => {
                state.memory(me).recovers = false;
                state.commit(me, Command::Recover);
            }
            Move::TurnBack(me) => state.commit(me, Command::TurnBack),
            Move::Land(me) => state.land(me),
            Move::RollBack(me) => state.store.open[me] = None,
            Move::Disconnect(me) => {
                state.pay(true);
                state.memory(me).staged.iter_mut().for_each(|staged| staged.in_doubt = true);
            }
            Move::OfferAgain(me) => state.offer(me),
            Move::Send(me, step) => state.send(me, step),
            Move::Withdraw(me, step) => {
                state.memory(me).calls[step] = None;
                state.commit(me, Command::Answered(step, Heard::NotSent));
            }
            Move::GiveUp(me, step) => {
                state.pay(state.is_heard(me, step));
                state.heard(me, step, Heard::Nothing);
            }
            Move::Deliver(message) => self.deliver(state, &message, false),
            Move::Refuse(message) => self.deliver(state, &message, true),
            Move::Lose(message) => {
                state.pay(true);
                state.take(&message);
            }
            Move::Repeat(message) => {
                state.pay(true);
                state.network.push(message);
            }
            Move::Crash(me) => {
                state.pay(true);
                state.end(me);
            }
            Move::Retire(whom) => {
                state.pay(state.processes[whom] != Process::Down);
                state.store.lives[whom] = Life::Dead;
            }
            Move::HandOut(whom) => state.store.hand_out(whom),
            Move::Claim(me) => state.claim(me),
        }
    }

    fn deliver(&self, state: &mut State, message: &Message, refuses: bool) {
        state.take(message);
        match *message {
            Message::Request { step, direction, caller } => {
                let heard = state.participants[step].handle(direction, refuses, self.fault);
                state.network.extend(caller.map(|to| Message::Answer { step, to, heard }));
            }
            Message::Answer { step, to, heard } => state.heard(to, step, heard),
        }
    }
}

/// What can happen to what is on its way.
fn moves_of_messages(state: &State, moves: &mut Vec<Move>) {
    for (place, message) in state.network.iter().enumerate() {
        if place > 0 && state.network[place - 1] == *message {
            continue;
        }
        let mut add = |possible: bool, step: fn(Message) -> Move| {
            moves.extend(possible.then(|| step(message.clone())));
        };
        let may_fail = state.faults > 0;
        match *message {
            Message::Request { step, direction, caller } => {
                let is_new = state.participants[step].action.is_none();
                add(true, Move::Deliver);
                add(direction == Direction::Action && is_new, Move::Refuse);
                // One that nobody listens for need not be lost: it can be as late as it likes. Nor need it be repeated
                // then, because it could have been before.
                add(caller.is_some() && may_fail, Move::Lose);
                add(caller.is_some() && may_fail, Move::Repeat);
            }
            Message::Answer { to, .. } => {
                add(state.remembers(to).is_some_and(Memory::is_free), Move::Deliver);
                add(may_fail, Move::Lose);
            }
        }
    }
}

impl State {
    /// §5 *Record*: a result and the intent that follows from it are one commit.
    fn commit(&mut self, me: Incarnation, command: Command) {
        let memory = self.memory(me);
        let saga = memory.saga.decide(command);
        memory.staged = Some(Staged { saga, in_doubt: false, taken_again: false });
        self.offer(me);
    }

    /// Offers what is staged to the store, for the first time or again.
    fn offer(&mut self, me: Incarnation) {
        let Some(staged) = &mut self.memory(me).staged else { return };
        let again = std::mem::take(&mut staged.in_doubt);
        let saga = staged.saga.clone();
        match self.store.offer(me, &saga, again) {
            Judged::Open => {}
            Judged::Written => self.committed(me),
            Judged::Stale => self.stale(me),
            // §6: it finds out, drops what it has, and starts again as another incarnation.
            Judged::Fenced => self.end(me),
        }
    }

    fn land(&mut self, me: Incarnation) {
        let waits = self.awaits_commit(me);
        match (self.store.land(me), waits) {
            (true, true) => self.committed(me),
            (false, true) => self.stale(me),
            (true | false, false) => {}
        }
    }

    /// §5: only now are callers told, and calls performed.
    fn committed(&mut self, me: Incarnation) {
        let memory = self.memory(me);
        let stays = memory.committed();
        self.told |= self.memory(me).saga.sequence == 1;
        if !stays {
            self.let_go(me);
        }
    }

    /// The saga has moved on, and is read anew. Where it was to be accepted one exists already, and the client is told so;
    /// that one is read only if it is another than was offered.
    fn stale(&mut self, me: Incarnation) {
        let Saga { id, sequence, .. } = self.memory(me).saga;
        let is_read = sequence > 0 || self.store.saga.as_ref().is_some_and(|saga| saga.id != id);
        self.told |= sequence == 0;
        self.let_go(me);
        if is_read && self.store.owner == Some(me) {
            self.claim(me);
        }
    }

    /// Takes the saga. Who has it in memory still, because it does not know that its last commit put the saga to rest,
    /// remembers that it was given it again.
    fn claim(&mut self, me: Incarnation) {
        self.store.owner = Some(me);
        let saga = self.store.saga.clone().expect("only a saga that exists is claimed");
        match &mut self.processes[me] {
            Process::Up(Some(Memory { staged: Some(staged), .. })) => staged.taken_again = true,
            process => *process = Process::Up(Some(Memory::new(saga, true))),
        }
    }

    fn send(&mut self, me: Incarnation, step: usize) {
        let memory = self.memory(me);
        let direction = memory.to_send(step).expect("only what is to be sent is sent");
        memory.calls[step] = Some(Call::Sent);
        self.network.push(Message::Request { step, direction, caller: Some(me) });
        self.sent_unintended |= !self.store.intents[step][direction as usize];
        let has_turned_back = direction == Direction::Action && !self.store.is_in(Phase::Forward);
        self.sent_after_turn |= has_turned_back && self.store.lives[me] == Life::Live;
    }

    /// A call has ended: with an answer, or without one.
    fn heard(&mut self, me: Incarnation, step: usize, heard: Heard) {
        self.hang_up(me, Some(step));
        let memory = self.memory(me);
        if heard == Heard::Nothing && memory.saga.steps[step] == Step::Compensating {
            // §7: the message is the intent; it becomes visible again, and the compensation is performed again.
            memory.plan();
        } else {
            self.commit(me, Command::Answered(step, heard));
        }
    }

    fn end(&mut self, me: Incarnation) {
        self.hang_up(me, None);
        self.processes[me] = Process::Down;
    }

    fn let_go(&mut self, me: Incarnation) {
        self.hang_up(me, None);
        self.processes[me] = Process::Up(None);
    }

    /// Nobody listens any more for the answers to a step's call, or to any. The requests go on.
    fn hang_up(&mut self, me: Incarnation, only: Option<usize>) {
        let is_meant = |step: usize| only.is_none_or(|only| only == step);
        self.network
            .retain(|message| !matches!(message, Message::Answer { step, to, .. } if *to == me && is_meant(*step)));
        for message in &mut self.network {
            if let Message::Request { step, caller, .. } = message
                && *caller == Some(me)
                && is_meant(*step)
            {
                *caller = None;
            }
        }
        if let Process::Up(Some(memory)) = &mut self.processes[me] {
            (0..STEPS).filter(|step| is_meant(*step)).for_each(|step| memory.calls[step] = None);
        }
    }

    fn memory(&mut self, me: Incarnation) -> &mut Memory {
        match &mut self.processes[me] {
            Process::Up(Some(memory)) => memory,
            Process::Up(None) | Process::Down => unreachable!("only who has the saga in memory works on it"),
        }
    }

    fn remembers(&self, me: Incarnation) -> Option<&Memory> {
        match &self.processes[me] {
            Process::Up(memory) => memory.as_ref(),
            Process::Down => None,
        }
    }

    fn take(&mut self, message: &Message) {
        let place = self.network.iter().position(|other| other == message).expect("it is on its way");
        self.network.remove(place);
    }

    fn pay(&mut self, is_fault: bool) {
        self.faults -= u8::from(is_fault);
    }

    /// Whether it runs and may commit.
    fn is_well(&self, me: Incarnation) -> bool {
        self.store.lives[me] == Life::Live && self.processes[me] != Process::Down
    }

    fn is_idle(&self, me: Incarnation) -> bool {
        self.store.lives[me] == Life::Live && self.processes[me] == Process::Up(None) && self.store.open[me].is_none()
    }

    /// Whether the answer to a commit will reach its process.
    fn awaits_commit(&self, me: Incarnation) -> bool {
        let staged = self.remembers(me).and_then(|memory| memory.staged.as_ref());
        self.store.open[me].is_some() && staged.is_some_and(|staged| !staged.in_doubt)
    }

    /// Whether the client still waits for somebody to tell it that its saga is accepted.
    fn is_asked(&self) -> bool {
        let is_unborn = |memory: &Memory| memory.saga.sequence == 0;
        (0..self.processes.len()).any(|me| self.remembers(me).is_some_and(is_unborn))
    }

    /// Whether an answer to a call can still come.
    fn is_heard(&self, me: Incarnation, of: usize) -> bool {
        self.network.iter().any(|message| match message {
            Message::Request { step, caller, .. } => *caller == Some(me) && *step == of,
            Message::Answer { step, to, .. } => *to == me && *step == of,
        })
    }
}
