//! The engine proper: which saga does what next, and in which order.
//!
//! A plain value without sockets, clock, tasks or a store. Whoever drives it
//!
//! 1. hands in what happened, with [`Orchestrator::handle`];
//! 2. calls [`Orchestrator::turn`] when there is nothing more to hand in for now, and when [`Orchestrator::wake_at`]
//!    has come;
//! 3. does what [`Orchestrator::outputs`] says, and hands in the results.
//!
//! The order of things is that of `Orchestrator::pursue` and `Orchestrator::committed`: decide, commit, and only
//! then perform, answer and announce. Whatever reaches a saga while its last decision is being committed waits for
//! that commit. What is decided while as many batches are on their way as the store works on gathers for the next.

mod breaker;
mod commits;
mod exchange;
mod intake;
mod lanes;
mod live;
mod pace;
mod permits;
mod writes;

#[cfg(test)]
mod tests;

use crate::{EngineError, Gauges, Order, Settings, Snapshot, message};
use amends_core::answer::Answer;
use amends_core::definition::Definition;
use amends_core::machine::{
    Command, Decision, Direction, Identity, Moment, PlannedCall, Refusal, Saga, Start, begin, decide, identify,
};
use amends_core::redact::Redaction;
use amends_core::time::Timestamp;
use amends_store::{Birth, Commit, Dedupe, Outcome, Rest, StoreError, Write};
use commits::Commits;
use lanes::Lanes;
use live::{Cause, Live, Staged};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

pub use commits::BatchId;
pub use exchange::{CallId, Input, Loaded, Output, Reply, ReplyId, StartInput, Taken};
pub use lanes::OutgoingCall;
pub use live::is_settled;

/// How many sagas are claimed from the store at once.
const CLAIM: usize = 100;
/// How long to wait before a batch that the store could not take is offered again.
const STORE_RETRY_MS: u64 = 250;

/// The engine proper. See the module's documentation for how it is driven.
pub struct Orchestrator {
    settings: Settings,
    now: Timestamp,
    live: BTreeMap<Uuid, Live>,
    /// What waits for a saga to be taken from the store.
    wanted: BTreeMap<Uuid, Vec<(Cause, Want)>>,
    /// Whether what cannot be read may be for a newer program.
    has_newer: bool,
    /// Sagas that cannot be read and are being set aside: nothing else is done about them before that is committed.
    set_aside: BTreeSet<Uuid>,
    /// Who waits for a saga to finish or to get stuck.
    waiters: BTreeMap<Uuid, Vec<ReplyId>>,
    /// When the sagas in memory have something to do.
    timers: BTreeSet<(Timestamp, Uuid)>,
    lanes: Lanes,
    commits: Commits,
    /// Which calls began before the last batch was durable.
    mark: CallId,
    claim: Claim,
    /// Set when the engine is stopping: nothing new is taken up.
    closed: bool,
    chance: fastrand::Rng,
    outputs: VecDeque<Output>,
}

/// What is wanted of a saga that is not in memory yet.
#[derive(Debug)]
enum Want {
    Order(Order),
    Command(Command),
    /// The message for this step's compensation was received.
    Message {
        step: String,
        receives: u32,
    },
}

#[derive(Debug, PartialEq)]
enum Claim {
    At(Timestamp),
    OnItsWay { again_at: Timestamp },
}

impl Orchestrator {
    /// An engine with nothing in memory. `seed` is where its chance comes from.
    #[must_use]
    pub fn new(settings: Settings, now: Timestamp, seed: u64) -> Orchestrator {
        let commits = Commits::new(&settings);
        Orchestrator {
            lanes: Lanes::new(&settings, now),
            settings,
            now,
            live: BTreeMap::new(),
            wanted: BTreeMap::new(),
            has_newer: false,
            set_aside: BTreeSet::new(),
            waiters: BTreeMap::new(),
            timers: BTreeSet::new(),
            commits,
            mark: 0,
            claim: Claim::At(now),
            closed: false,
            chance: fastrand::Rng::with_seed(seed),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        match input {
            Input::Start(start) => self.start(*start),
            Input::Order { reply, saga, order } => self.want(saga, Cause::Caller(reply), Want::Order(order)),
            Input::Await { reply, saga } => self.wait(reply, saga),
            Input::Forget { reply, saga } => self.forget(reply, saga),
            Input::Committed { batch, result: Ok(outcomes) } => self.committed(batch, outcomes),
            Input::Committed { batch, result: Err(error) } => self.commit_failed(batch, error),
            Input::Freed => self.claim_by(now),
            Input::Newer(is_there) => self.has_newer = is_there,
            Input::Claimed(result) => self.claimed(result),
            Input::Acquired { saga, result } => self.acquired(saga, result),
            Input::Received { participant, result } => self.received(&participant, result),
            Input::Permitted(result) => {
                // While the store cannot be asked nothing could be committed either.
                self.lanes.permitted(result.unwrap_or(0), now);
            }
            Input::Answered { call, answer, took_ms } => self.answered(call, answer, took_ms),
        }
    }

    /// Does what is due, and sends off what has gathered.
    pub fn turn(&mut self, now: Timestamp) {
        self.now = now;
        while let Some((at, saga)) = self.timers.first().copied().filter(|(at, _)| *at <= now && !self.closed) {
            self.timers.remove(&(at, saga));
            self.submit(saga, Cause::Itself, Command::Tick);
        }
        self.dispatch();
        self.claim_due();
        for (batch, offer, commits) in self.commits.offers(now, self.lanes.has_stragglers(self.mark, self.now)) {
            self.outputs.push_back(Output::Commit { batch, offer, commits });
        }
    }

    /// Takes up nothing new from here on: no saga is claimed, no message received, no step begun. Calls whose intent is
    /// committed are made, and what comes of them is recorded.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Hands out what is to be done, in order.
    pub fn outputs(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.outputs.drain(..)
    }

    /// When [`Orchestrator::turn`] is to be called if nothing happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at).filter(|_| !self.closed);
        let claim = match self.claim {
            Claim::At(at) if self.has_room() && !self.closed => Some(at),
            Claim::At(_) | Claim::OnItsWay { .. } => None,
        };
        let lanes = self.lanes.wake_at(self.now).filter(|_| !self.closed);
        [timer, claim, self.commits.wake_at(self.lanes.has_stragglers(self.mark, self.now)), lanes]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is in its hands.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            live_sagas: self.live.len(),
            store_outage: self.commits.outage().map(ToString::to_string),
            participants: self.lanes.gauges(self.now),
        }
    }

    /// Whether nothing is on its way: no commit, no call.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.commits.is_empty() && self.lanes.is_quiet()
    }

    // --- In ------------------------------------------------------------------------------------------------

    fn start(&mut self, start: StartInput) {
        let StartInput { reply, settled, id, definition, input, traceparent } = start;
        let identity = match self.admit(&definition, &input) {
            Ok(identity) => identity,
            Err(error) => {
                return [Some(reply), settled]
                    .into_iter()
                    .flatten()
                    .for_each(|reply| self.reply(reply, Err(error.clone())));
            }
        };
        let birth = Arc::new(self.birth(&definition, &identity));
        let moment = self.moment();
        let decision = begin(&definition, Start { id, key: identity.key, input, traceparent }, moment);
        if let Some(settled) = settled {
            self.waiters.entry(id).or_default().push(settled);
        }
        let live = Live::new(Snapshot { id, birth, definition, saga: decision.saga.clone() }, 0, None);
        self.live.insert(id, live);
        self.stage(id, vec![(Cause::Caller(reply), decision)], Vec::new());
    }

    fn admit(&self, definition: &Definition, input: &Arc<Value>) -> Result<Identity, EngineError> {
        let identity = identify(definition, input).map_err(|why| {
            // It may quote the input.
            EngineError::BadInput(Redaction::of(definition, &[]).text(&why).into_owned())
        })?;
        match self.commits.outage() {
            Some(error) => Err(EngineError::Store(error.clone())),
            None if !self.has_room() => Err(EngineError::Overloaded),
            None => Ok(identity),
        }
    }

    fn birth(&self, definition: &Definition, identity: &Identity) -> Birth {
        let window = definition.dedupe.as_ref().map(|dedupe| dedupe.within_ms);
        let dedupe = identity.dedupe.clone().zip(window);
        Birth {
            definition: definition.name.clone(),
            version: definition.version.clone(),
            key: identity.key.clone(),
            fingerprint: identity.fingerprint.clone(),
            dedupe: dedupe.map(|(digest, within_ms)| Dedupe { digest, until: self.now.plus(within_ms) }),
            created_at: self.now,
        }
    }

    fn wait(&mut self, reply: ReplyId, saga: Uuid) {
        match self.live.get(&saga) {
            Some(live) if live.is_settled() => self.reply(reply, Ok(Reply::Saga(live.snapshot.clone()))),
            Some(_) | None => self.waiters.entry(saga).or_default().push(reply),
        }
    }

    /// Whoever waited has gone away.
    fn forget(&mut self, reply: ReplyId, saga: Uuid) {
        if let Some(waiting) = self.waiters.get_mut(&saga) {
            waiting.retain(|other| *other != reply);
            if waiting.is_empty() {
                self.waiters.remove(&saga);
            }
        }
    }

    fn answered(&mut self, call: CallId, answer: Answer, took_ms: u64) {
        let Some(ended) = self.lanes.ended(call, &answer, took_ms, self.now) else { return };
        let command =
            Command::Answered { step: ended.step, direction: ended.direction, attempt: ended.attempt, answer };
        self.submit(ended.saga, Cause::Itself, command);
    }

    /// Brings what is wanted to the saga, taking the saga from the store first where it must be.
    fn want(&mut self, id: Uuid, cause: Cause, want: Want) {
        let Some(live) = self.live.get(&id) else {
            let waiting = self.wanted.entry(id).or_default();
            waiting.push((cause, want));
            if waiting.len() == 1 && !self.set_aside.contains(&id) {
                self.outputs.push_back(Output::Acquire { saga: id });
            }
            return;
        };
        match live::command(&live.snapshot.definition, &want) {
            Ok(command) => self.submit(id, cause, command),
            Err(error) => self.turn_away(id, vec![(cause, want)], &error),
        }
    }

    // --- Decide, commit, perform ---------------------------------------------------------------------------

    /// Lets a command reach a saga, as soon as the saga's last decision is committed.
    fn submit(&mut self, id: Uuid, cause: Cause, command: Command) {
        match self.live.get_mut(&id) {
            Some(live) if live.staged.is_some() => live.inbox.push_back((cause, command)),
            Some(_) => self.pursue(id, vec![(cause, command)], Vec::new()),
            // A saga at rest was put there by a commit that knew of everything in flight: nobody waits for this.
            None => tracing::debug!(saga = %id, %command, "nobody waits for this any more"),
        }
    }

    /// Decides what follows from the commands, one after the other, and stages it as one commit. `extra` is what is to be
    /// written beside that when a saga is taken.
    fn pursue(&mut self, id: Uuid, commands: Vec<(Cause, Command)>, extra: Vec<Write>) {
        let Some(live) = self.live.get(&id) else { return };
        let definition = live.snapshot.definition.clone();
        let mut saga = live.snapshot.saga.clone();
        let mut decisions = Vec::new();
        // A saga that was just taken is this incarnation's in the store: where it belongs is written back.
        let was_taken = commands.iter().any(|(_, command)| *command == Command::Recover);
        for (cause, command) in commands {
            match self.decide(&definition, &saga, &command) {
                Ok(decision) => {
                    saga = decision.saga.clone();
                    if let (Command::Received { step, .. }, true) = (&command, decision.calls.is_empty()) {
                        self.lanes.forget(id, &definition.steps[*step].name);
                    }
                    decisions.push((cause, decision));
                }
                Err(refusal) => self.refused(id, &definition, cause, &command, refusal),
            }
        }
        if was_taken || decisions.iter().any(|(_, decision)| !decision.events.is_empty()) {
            self.stage(id, decisions, extra);
        } else {
            // Nothing to write: a message whose compensation is to be performed, whose intent is the message.
            for (cause, decision) in decisions {
                self.tell(&self.live[&id].snapshot.clone(), vec![cause], false);
                self.perform(id, decision.calls);
            }
            self.set_timer(id);
        }
    }

    /// What follows from a command. An engine that is stopping begins nothing: as for a held saga, what came back is
    /// recorded and that is all, so no call is left in doubt that was never made.
    fn decide(&mut self, definition: &Definition, saga: &Saga, command: &Command) -> Result<Decision, Refusal> {
        let moment = self.moment();
        match command {
            Command::Answered { .. }
            | Command::Withdrawn { .. }
            | Command::Received { .. }
            | Command::Tick
            | Command::Recover
                if self.closed =>
            {
                let stopped = Saga { held: true, ..saga.clone() };
                let mut decision = decide(definition, &stopped, command, moment)?;
                Arc::make_mut(&mut decision.saga).held = saga.held;
                Ok(decision)
            }
            Command::Answered { .. }
            | Command::Withdrawn { .. }
            | Command::Received { .. }
            | Command::Tick
            | Command::Recover
            | Command::Complete { .. }
            | Command::Fail { .. }
            | Command::Cancel(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Settle { .. } => decide(definition, saga, command, moment),
        }
    }

    fn refused(&mut self, id: Uuid, definition: &Definition, cause: Cause, command: &Command, refusal: Refusal) {
        match (refusal, cause) {
            (Refusal::Conflict(why), Cause::Caller(reply)) => self.reply(reply, Err(EngineError::Conflict(why))),
            (Refusal::Conflict(_), Cause::Itself) => {}
            (refusal @ Refusal::Stale, Cause::Caller(reply)) => {
                self.reply(reply, Err(EngineError::Conflict(refusal.to_string())));
            }
            (Refusal::Stale, Cause::Itself) => {
                tracing::debug!(saga = %id, %command, "nobody waits for this any more");
                // The commit that dealt with a message has taken it out of the queue.
                if let Command::Received { step, .. } = command {
                    self.lanes.forget(id, &definition.steps[*step].name);
                }
            }
        }
    }

    /// Puts decisions about one saga into the next batch.
    fn stage(&mut self, id: Uuid, decisions: Vec<(Cause, Decision)>, extra: Vec<Write>) {
        // What has nothing to do for a while stays in memory only while there is plenty of room.
        let has_plenty = self.live.len() < self.settings.live_sagas / 2;
        let keep_until = has_plenty.then(|| self.now.plus(self.settings.keep_ms));
        let live = self.live.get_mut(&id).expect("decisions are about a saga in memory");
        let mut staged = Staged::new(live.snapshot.saga.clone(), self.now);
        for (cause, decision) in decisions {
            staged.add(cause, decision);
        }
        let rest = match writes::rest(&live.snapshot.definition, &staged.saga, keep_until) {
            // What is not begun now must be found at the next start: what is owned is freed when this engine retires.
            Rest::Until(_) | Rest::Parked if self.closed => Rest::Owned,
            // The answer to a compensation in flight is still to be recorded, even if the saga is held.
            Rest::Until(_) | Rest::Parked if self.lanes.has_message_of(id) => Rest::Owned,
            rest @ (Rest::Owned | Rest::Until(_) | Rest::Parked | Rest::Finished(_)) => rest,
        };
        let mut commit = writes::commit(&writes::Decided {
            definition: &live.snapshot.definition,
            birth: &live.snapshot.birth,
            is_first: live.after == 0,
            after: live.after,
            events: &staged.events,
            at: staged.at,
            saga: &staged.saga,
            rest,
            row_before: live.row.as_ref(),
            everywhere: &self.settings.redact,
        });
        staged.row = Some(commit.row.clone());
        // A message goes with the decision, so nothing is left to perform.
        let saga = staged.saga.clone();
        for call in staged.calls.extract_if(.., |call| call.request.is_message()) {
            commit.writes.push(message::send(&live.snapshot.definition, &saga, &call, staged.at));
        }
        commit.writes.extend(extra);
        live.staged = Some(staged);
        self.commits.add(commit);
    }

    /// A batch is durable: now, and not before, its calls are made and its callers are told.
    fn committed(&mut self, batch: BatchId, outcomes: Vec<Outcome>) {
        let batch = self.commits.durable(batch, self.now);
        self.mark = self.lanes.mark();
        debug_assert_eq!(batch.len(), outcomes.len(), "the store answers every commit of a batch");
        for (commit, outcome) in batch.iter().zip(outcomes) {
            if self.set_aside.remove(&commit.saga) && self.wanted.contains_key(&commit.saga) {
                self.outputs.push_back(Output::Acquire { saga: commit.saga });
            }
            match outcome {
                Outcome::Committed => {
                    self.messages_put(commit.saga, &commit.writes);
                    self.carry_out(commit.saga);
                }
                Outcome::Exists { saga, same_input: true } | Outcome::Duplicate { saga } => {
                    self.unborn(commit.saga, saga, None);
                }
                Outcome::Exists { saga, same_input: false } => {
                    let key = commit.birth.as_ref().map(|birth| birth.key.clone()).unwrap_or_default();
                    self.unborn(commit.saga, saga, Some(EngineError::KeyReused { saga, key }));
                }
                Outcome::Stale => self.stale(commit.saga),
            }
        }
    }

    /// The lanes need not go looking for messages that this engine has written itself. One that was received before it was put
    /// anew is worth nothing: the store has begun to count its receives again, so nobody would know of an attempt that it led to.
    fn messages_put(&mut self, id: Uuid, writes: &[Write]) {
        for write in writes {
            let Write::PutMessage { step, participant, at } = write else { continue };
            self.lanes.message_put(participant, (id, step.clone()), *at, self.now);
            if self.live.get_mut(&id).is_some_and(|live| live.drop_old_message(step)) {
                self.lanes.forget(id, step);
            }
        }
    }

    fn carry_out(&mut self, id: Uuid) {
        // A saga that was set aside as unreadable is not in memory: nothing follows from its commit.
        let Some(live) = self.live.get_mut(&id) else { return };
        let Some(staged) = live.staged.take() else { return };
        let turned_back = live.turns_back_with(&staged);
        let rest = staged.row.as_ref().map_or(Rest::Owned, |row| row.rest);
        live.after = staged.saga.sequence;
        live.snapshot.saga = staged.saga;
        live.row = staged.row;
        let snapshot = live.snapshot.clone();
        let first = snapshot.saga.sequence + 1 - staged.events.len() as u64;
        if !staged.events.is_empty() {
            let events = (first..).zip(staged.events).map(|(number, event)| (number, staged.at, event)).collect();
            self.outputs.push_back(Output::Announce { saga: snapshot.clone(), events });
        }
        self.tell(&snapshot, staged.causes, first == 1);
        self.perform(id, staged.calls);
        if turned_back {
            self.lanes.withdraw(id).into_iter().for_each(|call| self.not_sent(call));
        }
        self.settle_down(id, rest);
    }

    /// Tells the callers what their commands came to, and those who wait for the end when it has come.
    fn tell(&mut self, snapshot: &Snapshot, causes: Vec<Cause>, is_new: bool) {
        for cause in causes {
            if let Cause::Caller(reply) = cause {
                let saga = snapshot.clone();
                self.reply(reply, Ok(if is_new { Reply::Accepted(saga) } else { Reply::Saga(saga) }));
            }
        }
        if live::is_settled(&snapshot.saga) {
            for reply in self.waiters.remove(&snapshot.id).unwrap_or_default() {
                self.reply(reply, Ok(Reply::Saga(snapshot.clone())));
            }
        }
    }

    /// After a commit: what has waited for it is decided; otherwise the saga is kept, or let go of.
    fn settle_down(&mut self, id: Uuid, rest: Rest) {
        let Some(live) = self.live.get_mut(&id) else { return };
        if live.staged.is_some() {
            return;
        }
        let taken_again = std::mem::take(&mut live.taken_again);
        match rest {
            Rest::Until(_) | Rest::Parked if taken_again => {
                let waiting = std::mem::take(&mut live.inbox);
                let recover = (Cause::Itself, Command::Recover);
                self.pursue(id, std::iter::once(recover).chain(waiting).collect(), Vec::new());
            }
            Rest::Owned | Rest::Finished(_) if !live.inbox.is_empty() => {
                let waiting = std::mem::take(&mut live.inbox);
                self.pursue(id, waiting.into(), Vec::new());
                // What has waited may have come to nothing; if it has not, another commit is on its way now.
                self.settle_down(id, rest);
            }
            Rest::Owned => self.set_timer(id),
            Rest::Until(at) => {
                self.claim_by(at);
                self.let_go_and_want(id);
            }
            Rest::Parked | Rest::Finished(_) => self.let_go_and_want(id),
        }
    }

    /// The saga is at rest and nobody's. What has waited for that commit takes it from the store again.
    fn let_go_and_want(&mut self, id: Uuid) {
        let Some(live) = self.let_go(id) else { return };
        for (cause, command) in live.inbox {
            let want = Want::of(&live.snapshot.definition, command);
            self.want(id, cause, want);
        }
    }

    fn let_go(&mut self, id: Uuid) -> Option<Live> {
        let live = self.live.remove(&id)?;
        if let Some(timer) = live.timer {
            self.timers.remove(&(timer, id));
        }
        Some(live)
    }

    /// Wakes the saga when it has something to do by itself.
    fn set_timer(&mut self, id: Uuid) {
        let Some(live) = self.live.get_mut(&id) else { return };
        let next = live.snapshot.saga.wake_at(&live.snapshot.definition);
        if let Some(timer) = std::mem::replace(&mut live.timer, next) {
            self.timers.remove(&(timer, id));
        }
        self.timers.extend(next.map(|at| (at, id)));
    }

    /// The start was one of work that exists already: its saga never came to be.
    fn unborn(&mut self, id: Uuid, existing: Uuid, error: Option<EngineError>) {
        let Some(live) = self.live.remove(&id) else { return };
        let waiters = self.waiters.remove(&id).unwrap_or_default();
        let starters = live.staged.into_iter().flat_map(|staged| staged.causes);
        for cause in starters.chain(waiters.into_iter().map(Cause::Caller)) {
            if let Cause::Caller(reply) = cause {
                let result = error.clone().map_or(Ok(Reply::Existing(existing)), Err);
                self.reply(reply, result);
            }
        }
    }

    /// The saga has moved on without this engine: what it knows is worthless, so it is read anew.
    fn stale(&mut self, id: Uuid) {
        tracing::warn!(saga = %id, "a commit was refused because the saga has moved on; it is read anew");
        let Some(live) = self.let_go(id) else { return };
        let (causes, calls) = live.staged.map(|staged| (staged.causes, staged.calls)).unwrap_or_default();
        // Messages whose compensations are not performed are not in hand any more: they come again.
        let undone = calls.iter().filter(|call| call.direction == Direction::Compensation).map(|call| call.step);
        let received = live
            .inbox
            .iter()
            .filter_map(|(_, command)| if let Command::Received { step, .. } = command { Some(*step) } else { None });
        for step in undone.chain(received) {
            self.lanes.forget(id, &live.snapshot.definition.steps[step].name);
        }
        let causes = causes.into_iter().chain(live.inbox.into_iter().map(|(cause, _)| cause));
        self.disappoint(causes, &EngineError::MovedOn);
        self.want(id, Cause::Itself, Want::Command(Command::Tick));
    }

    fn commit_failed(&mut self, batch: BatchId, error: StoreError) {
        match &error {
            StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                let starts = self.commits.failed(batch, &error, self.now);
                self.give_up(starts, &error);
            }
            StoreError::Fenced => {
                tracing::warn!("a commit was refused, because another orchestrator has taken over");
                self.store_failed(error);
            }
            StoreError::Damaged(_) => self.store_failed(error),
        }
    }

    /// Refuses starts of which nothing was written.
    fn give_up(&mut self, starts: Vec<Commit>, error: &StoreError) {
        for start in starts {
            let Some(live) = self.live.remove(&start.saga) else { continue };
            let waiters = self.waiters.remove(&start.saga).unwrap_or_default();
            let causes = live.staged.into_iter().flat_map(|staged| staged.causes);
            let causes = causes.chain(waiters.into_iter().map(Cause::Caller));
            self.disappoint(causes, &EngineError::Store(error.clone()));
        }
    }

    /// Tells callers that what they asked for was not done.
    fn disappoint(&mut self, causes: impl Iterator<Item = Cause>, error: &EngineError) {
        for cause in causes {
            if let Cause::Caller(reply) = cause {
                self.reply(reply, Err(error.clone()));
            }
        }
    }

    fn store_failed(&mut self, error: StoreError) {
        match error {
            StoreError::Unavailable(why) => tracing::error!(%why, "the store is not available"),
            // What it gave may be this engine's without its knowing: it must begin anew.
            StoreError::Unknown(_) | StoreError::Fenced | StoreError::Damaged(_) => {
                self.outputs.push_back(Output::Fatal(EngineError::Store(error)));
            }
        }
    }

    // --- Out -----------------------------------------------------------------------------------------------

    /// Queues calls whose intent is committed; they are made as soon as their participant has a place.
    fn perform(&mut self, id: Uuid, calls: Vec<PlannedCall>) {
        let Some(live) = self.live.get(&id) else { return };
        for call in calls {
            self.lanes.queue(&live.snapshot, call, self.now);
        }
    }

    /// Makes the calls that have a place, and asks for messages where there are places for compensations.
    fn dispatch(&mut self) {
        while let Some(call) = self.lanes.next_call(self.now) {
            let wanted = self.live.get(&call.saga).is_some_and(|live| live.still_wants(&call));
            if wanted {
                self.outputs.push_back(Output::Call(Box::new(call)));
            } else {
                self.lanes.cancel(&call, self.now);
                self.not_sent(call);
            }
        }
        if self.closed {
            return;
        }
        let requests = self.lanes.receives(self.now, self.settings.visibility_ms);
        self.outputs.extend(requests.into_iter().map(Output::Receive));
        self.outputs.extend(self.lanes.asks_for_permits(self.now).map(Output::Permits));
    }

    /// A call was given up before it was sent. A compensation's message says by itself when its turn comes again.
    fn not_sent(&mut self, call: OutgoingCall) {
        let OutgoingCall { saga, step, direction, attempt, .. } = call;
        if direction != Direction::Compensation {
            self.submit(saga, Cause::Itself, Command::Withdrawn { step, direction, attempt });
        }
    }

    fn reply(&mut self, reply: ReplyId, result: Result<Reply, EngineError>) {
        self.outputs.push_back(Output::Reply { reply, result });
    }

    fn has_room(&self) -> bool {
        self.live.len() < self.settings.live_sagas
    }

    fn moment(&mut self) -> Moment {
        Moment { now: self.now, chance: self.chance.u64(..) }
    }
}
