//! A world for one orchestrator: a memory store, participants with ledgers, and a virtual clock.

use super::super::{Input, Loaded, Orchestrator, OutgoingCall, Output, Reply, ReplyId, StartInput, Taken};
use crate::{EngineError, Order, Participant, Settings, Snapshot, codec};
use amends_core::answer::{Answer, Response};
use amends_core::definition::Definition;
use amends_core::lint;
use amends_core::machine::{Direction, Event};
use amends_core::time::Timestamp;
use amends_store::{
    Acquired, Deed, MemoryStore, Offer, Outcome, Processes, Record, Store, StoreError, StoredDefinition, Summary,
    Views, Which,
};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a participant does with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reaction {
    /// Does it, once for each key, and says so.
    Obey,
    /// Refuses with this status, without effect.
    Refuse(u16),
    /// Does it, and the answer is lost.
    LoseAnswer,
    /// Nothing reaches it.
    Unreachable,
    /// Obeys after this many milliseconds.
    Slow(u64),
}

/// What became of one key at the participants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Effect {
    pub(super) done: u32,
    pub(super) undone: u32,
    pub(super) tombstone: bool,
}

type Script = Box<dyn FnMut(&OutgoingCall) -> Reaction>;

/// One orchestrator, and everything around it.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) store: Arc<MemoryStore>,
    pub(super) orchestrator: Orchestrator,
    me: Uuid,
    settings: Settings,
    /// What will be handed in, and when. The number keeps what is due at one time in order.
    coming: BTreeMap<(Timestamp, u64), Input>,
    count: u64,
    definitions: BTreeMap<String, Arc<Definition>>,
    pub(super) script: Script,
    pub(super) effects: BTreeMap<String, Effect>,
    pub(super) calls: Vec<(Timestamp, OutgoingCall)>,
    pub(super) replies: BTreeMap<ReplyId, Result<Reply, EngineError>>,
    pub(super) announced: Vec<Event>,
    /// The process dies when this many outputs were carried out: before the one at an even number, after that at an odd one.
    pub(super) dies_at: Option<usize>,
    pub(super) carried_out: usize,
    /// The store refuses this many commits from now on.
    pub(super) store_fails: u32,
    /// The store does not let itself be read this many times from now on.
    pub(super) reads_fail: u32,
    /// The store finds of this many batches from now on that all their sagas have moved on.
    pub(super) stale_batches: u32,
    /// How many commits the store has taken, and how often it was asked for something else.
    pub(super) commits: usize,
    pub(super) reads: usize,
    /// How long the answers to commits, and those to other questions to the store, take on their way.
    pub(super) commit_answer_ms: u64,
    pub(super) read_answer_ms: u64,
}

impl World {
    pub(super) fn new() -> World {
        World::with(|_| {})
    }

    pub(super) fn with(adjust: impl FnOnce(&mut Settings)) -> World {
        // A time of our days: letters about whole sagas are numbered by it.
        let now = Timestamp(1_800_000_000_000);
        let mut settings = Settings::default();
        for name in ["one", "two", "three", "four"] {
            let url = format!("http://{name}.invalid").parse().expect("an address");
            settings.participants.insert(name.into(), Participant::at(url));
        }
        adjust(&mut settings);
        let mut world = World {
            now,
            store: Arc::new(MemoryStore::new(Processes::One)),
            orchestrator: Orchestrator::new(settings.clone(), now, 7),
            me: Uuid::from_u128(1),
            settings,
            coming: BTreeMap::new(),
            count: 0,
            definitions: BTreeMap::new(),
            script: Box::new(|_| Reaction::Obey),
            effects: BTreeMap::new(),
            calls: Vec::new(),
            replies: BTreeMap::new(),
            announced: Vec::new(),
            dies_at: None,
            carried_out: 0,
            store_fails: 0,
            reads_fail: 0,
            stale_batches: 0,
            commits: 0,
            reads: 0,
            commit_answer_ms: 1,
            read_answer_ms: 1,
        };
        world.enlist();
        world
    }

    fn enlist(&mut self) {
        done(self.store.enlist(self.me, self.now)).expect("a memory store takes an incarnation");
    }

    pub(super) fn define(&mut self, source: &str) -> Arc<Definition> {
        let definition = Arc::new(lint::compile(source).unwrap_or_else(|problems| panic!("{problems:?}")));
        let stored = StoredDefinition {
            name: definition.name.clone(),
            version: definition.version.clone(),
            source: source.to_owned(),
            created_at: self.now,
        };
        let (actor, action) = ("ada".to_owned(), "put definition".to_owned());
        let deed = Deed { actor, action, subject: definition.name.clone(), at: self.now };
        done(self.store.put_definition(stored, deed)).expect("a memory store takes a definition");
        self.definitions.insert(definition.version.clone(), definition.clone());
        definition
    }

    /// Starts a saga; its reply has the same number.
    pub(super) fn start(&mut self, number: u64, definition: &Arc<Definition>, key: &str) -> Uuid {
        let id = Uuid::from_u128(0x1000 + u128::from(number));
        let input = Arc::new(serde_json::json!({ "id": key }));
        let definition = definition.clone();
        let start = StartInput { reply: number, settled: None, id, definition, input, traceparent: None };
        self.hand_in(0, Input::Start(Box::new(start)));
        id
    }

    pub(super) fn order(&mut self, reply: ReplyId, saga: Uuid, order: Order) {
        self.hand_in(0, Input::Order { reply, saga, order });
    }

    /// Waits for a saga to settle; the reply has this number.
    pub(super) fn wait_for(&mut self, reply: ReplyId, saga: Uuid) {
        self.hand_in(0, Input::Await { reply, saga });
    }

    pub(super) fn forget(&mut self, reply: ReplyId, saga: Uuid) {
        self.hand_in(0, Input::Forget { reply, saga });
    }

    /// The process is killed and another one takes its place; what was on its way is lost.
    pub(super) fn restart(&mut self) {
        self.coming.clear();
        self.me = Uuid::from_u128(self.me.as_u128() + 1);
        self.enlist();
        self.orchestrator = Orchestrator::new(self.settings.clone(), self.now, self.me.as_u128() as u64);
        self.dies_at = None;
    }

    pub(super) fn hand_in(&mut self, after_ms: u64, input: Input) {
        self.count += 1;
        self.coming.insert((self.now.plus(after_ms), self.count), input);
    }

    /// Lets things happen until nothing more happens before `ms` have passed. Returns early where the process died.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        loop {
            let next_input = self.coming.first_key_value().map(|((at, _), _)| *at);
            let next = [next_input, self.orchestrator.wake_at()].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let input = entry.remove();
                self.orchestrator.handle(self.now, input);
            }
            self.orchestrator.turn(self.now);
            let wakes = self.orchestrator.wake_at();
            assert!(wakes.is_none_or(|at| at > self.now), "what is due is done, or the engine turns without end");
            let outputs: Vec<Output> = self.orchestrator.outputs().collect();
            for output in outputs {
                if self.has_died() {
                    return;
                }
                self.carry_out(output);
                if self.has_died() {
                    return;
                }
            }
        }
    }

    fn has_died(&mut self) -> bool {
        self.carried_out += 1;
        self.dies_at == Some(self.carried_out)
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Commit { batch, .. } if self.store_fails > 0 => {
                self.store_fails -= 1;
                let result = Err(StoreError::Unavailable("the disk is full".into()));
                self.hand_in(1, Input::Committed { batch, result });
            }
            Output::Commit { batch, commits, .. } if self.stale_batches > 0 => {
                self.stale_batches -= 1;
                let result = Ok(commits.iter().map(|_| Outcome::Stale).collect());
                self.hand_in(self.commit_answer_ms, Input::Committed { batch, result });
            }
            Output::Commit { batch, offer, commits } => {
                self.commits += commits.len();
                let result = match offer {
                    Offer::First => done(self.store.commit(self.me, commits)),
                    Offer::Again => done(self.store.commit_again(self.me, commits)),
                };
                self.hand_in(self.commit_answer_ms, Input::Committed { batch, result });
            }
            Output::Claim { limit } => {
                let claimed = self.read(|world| done(world.store.claim(world.me, world.now, limit)));
                let loaded = claimed.map(|claimed| {
                    let records = claimed.records.into_iter().map(|record| self.load(record)).collect();
                    (records, claimed.next_due)
                });
                self.hand_in(self.read_answer_ms, Input::Claimed(loaded));
            }
            Output::Acquire { saga } => {
                let acquired = self.read(|world| done(world.store.acquire(world.me, saga)));
                let result = acquired.map(|acquired| match acquired {
                    Acquired::Yours(record) => Taken::Yours(Box::new(self.load(*record))),
                    Acquired::Finished(record) => Taken::Finished(Box::new(self.load(*record))),
                    Acquired::Elsewhere(owner) => Taken::Elsewhere(owner),
                    Acquired::Missing => Taken::Missing,
                });
                self.hand_in(self.read_answer_ms, Input::Acquired { saga, result });
            }
            Output::Receive(request) => {
                let participant = request.participant.clone();
                let result = self.read(|world| done(world.store.receive(world.me, request)));
                self.hand_in(1, Input::Received { participant, result });
            }
            Output::Permits(request) => {
                let count = self.store.permits_at(self.now, request);
                self.hand_in(self.read_answer_ms, Input::Permitted(Ok(count)));
            }
            Output::Call(call) => self.call(*call),
            Output::Reply { reply, result } => drop(self.replies.insert(reply, result)),
            Output::Announce { saga, events } => self.hear(saga.id, events),
            Output::Fatal(error) => panic!("{error}"),
        }
    }

    /// Asks the store something that it may not be able to answer.
    fn read<T>(&mut self, ask: impl FnOnce(&mut World) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.reads += 1;
        if self.reads_fail > 0 {
            self.reads_fail -= 1;
            return Err(StoreError::Unavailable("the disk does not answer".into()));
        }
        ask(self)
    }

    /// What is announced is in the store already, under the number that it is announced with.
    fn hear(&mut self, saga: Uuid, events: Vec<(u64, Timestamp, Event)>) {
        let record = done(self.store.saga(saga)).expect("a memory store can be read").expect("it is stored");
        let history = codec::decode(&record.events).expect("what was written can be read");
        for (number, at, event) in events {
            assert_eq!(history.get(number as usize - 1), Some(&(at, event.clone())), "event {number}");
            self.announced.push(event);
        }
    }

    fn load(&self, record: Record) -> Loaded {
        let definition = self.definitions.get(&record.birth.version).cloned();
        Loaded { record, definition: definition.ok_or_else(|| "no such definition".into()) }
    }

    /// The participants honour the idempotency key, as those behind the layer do.
    fn call(&mut self, call: OutgoingCall) {
        let reaction = (self.script)(&call);
        self.calls.push((self.now, call.clone()));
        let stored = self.definitions_hold_intent(&call);
        assert!(stored, "a call was made whose intent is not in the store: {call:?}");
        let (answer, after_ms) = match reaction {
            Reaction::Obey => (self.obey(&call), 5),
            Reaction::Slow(ms) => (self.obey(&call), ms),
            Reaction::Refuse(status) => (response(status), 5),
            Reaction::LoseAnswer => {
                self.obey(&call);
                (Answer::Lost { error: "no answer".into() }, 50)
            }
            Reaction::Unreachable => (Answer::NotSent { error: "connection refused".into() }, 1),
        };
        self.hand_in(after_ms, Input::Answered { call: call.id, answer, took_ms: after_ms });
    }

    fn obey(&mut self, call: &OutgoingCall) -> Answer {
        let undone_key = call.action_key.clone().unwrap_or_else(|| call.key.clone());
        let effect = self.effects.entry(undone_key).or_default();
        match call.direction {
            Direction::Action if effect.tombstone => return response(409),
            Direction::Action => effect.done = 1,
            Direction::Compensation if effect.done == 1 => effect.undone = 1,
            Direction::Compensation => effect.tombstone = true,
            Direction::Probe => {
                let happened = effect.done == 1;
                let body = Arc::new(serde_json::json!({ "happened": happened }));
                return Answer::Response(Response { status: 200, retry_after_ms: None, body, body_dropped: None });
            }
        }
        response(200)
    }

    /// Whether the store holds the intent of a call: the event of an action, the message of a compensation.
    fn definitions_hold_intent(&self, call: &OutgoingCall) -> bool {
        let Some(snapshot) = self.saga(call.saga) else { return false };
        match call.direction {
            Direction::Action => snapshot.saga.steps[call.step].attempts >= call.attempt,
            Direction::Compensation | Direction::Probe => snapshot.saga.steps[call.step].attempts >= 1,
        }
    }

    /// A saga as the store has it.
    pub(super) fn saga(&self, id: Uuid) -> Option<Snapshot> {
        let record = done(self.store.saga(id)).expect("a memory store can be read")?;
        let definition = self.definitions.get(&record.birth.version)?.clone();
        Some(Snapshot::read(&record, definition).expect("what was written can be read").0)
    }

    pub(super) fn sagas(&self) -> Vec<Summary> {
        let query = amends_store::SagaQuery { limit: 10_000, ..Default::default() };
        done(self.store.sagas(query)).expect("a memory store can be read")
    }

    pub(super) fn orphans(&self) -> u64 {
        done(self.store.statistics()).expect("a memory store can be read").orphans
    }

    /// The numbers of the open dead letters.
    pub(super) fn open_letters(&self) -> Vec<u64> {
        let query = amends_store::DeadLetterQuery { limit: 10_000, ..Default::default() };
        let letters = done(self.store.dead_letters(query)).expect("a memory store can be read");
        let number = |id: &str| id.rsplit('.').next().and_then(|number| number.parse().ok());
        letters.iter().map(|letter| number(&letter.id).expect("an id ends in a number")).collect()
    }

    /// What the rows of open dead letters say.
    pub(super) fn letter_errors(&self) -> Vec<String> {
        let query = amends_store::DeadLetterQuery { limit: 10_000, ..Default::default() };
        let letters = done(self.store.dead_letters(query)).expect("a memory store can be read");
        letters.into_iter().map(|letter| letter.error).collect()
    }

    /// What was done to which saga by whom, and to which step, oldest first.
    pub(super) fn audited(&self) -> Vec<(Option<Uuid>, String, String, Option<String>)> {
        let query = amends_store::AuditQuery { limit: 10_000, ..Default::default() };
        let entries = done(self.store.audit(query)).expect("a memory store can be read").into_iter().rev();
        let about_sagas = entries.filter(|entry| entry.saga.is_some());
        about_sagas.map(|entry| (entry.saga, entry.actor, entry.action, entry.step)).collect()
    }

    /// The calls that were made to a step, in order.
    pub(super) fn calls_to(&self, step: &str, direction: Direction) -> Vec<&OutgoingCall> {
        let calls = self.calls.iter().map(|(_, call)| call);
        calls.filter(|call| call.step_name == step && call.direction == direction).collect()
    }

    pub(super) fn has_definition(&self, version: &str) -> bool {
        done(self.store.definitions(Which::Version(version.into()))).is_ok_and(|found| found.len() == 1)
    }

    /// Makes every definition unreadable, as a newer program's would be.
    pub(super) fn forget_definitions(&mut self) -> BTreeMap<String, Arc<Definition>> {
        std::mem::take(&mut self.definitions)
    }

    pub(super) fn remember_definitions(&mut self, definitions: BTreeMap<String, Arc<Definition>>) {
        self.definitions = definitions;
    }
}

fn response(status: u16) -> Answer {
    let body = Arc::new(serde_json::json!({ "status": status }));
    Answer::Response(Response { status, retry_after_ms: None, body, body_dropped: None })
}

/// The memory store never waits, so its futures are done when they are asked first.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory store never waits")
}
