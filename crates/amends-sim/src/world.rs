//! The loop: a queue of what will happen, in virtual time, and everything that it happens to.

mod clients;
mod messages;
mod network;
mod processes;

use crate::chaos::Plan;
use crate::coverage::Coverage;
use crate::definitions::{self, PARTICIPANTS};
use crate::model::{Model, Violation};
use crate::participants::{Participants, Request, Work};
use crate::process::{Life, Process, ProcessId};
use amends_core::answer::Answer;
use amends_core::lint;
use amends_core::time::Timestamp;
use amends_engine::orchestrator::{CallId, Input, Output};
use amends_engine::{Participant, Settings};
use amends_store::{Commit, Deed, MemoryStore, Processes, Store, StoredDefinition, Views};
use clients::Clients;
use fastrand::Rng;
use futures_util::FutureExt;
use messages::{Answered, Delivery};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// After this long without a sign of life an incarnation is taken over.
const LEASE_MS: u64 = 3_000;
/// How long all may take to end once the faults have stopped, apart from clocks that were wrong.
const PATIENCE_MS: u64 = 10 * 60_000;
/// The world begins at a time of our days: letters about whole sagas are numbered by it.
const DAWN: Timestamp = Timestamp(1_800_000_000_000);

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Something is handed in to a process.
    Input { life: Life, input: Box<Input> },
    /// An operation reaches the store.
    Store { life: Life, incarnation: Uuid, output: Box<Output> },
    /// A commit reaches the store that nobody waits for any more.
    Ghost { incarnation: Uuid, batch: Arc<[Commit]> },
    /// A request reaches its participant; `asks` waits for the answer, which for a duplicate is nobody.
    Arrives { request: Request, asks: Option<Asks> },
    /// The work on a request ends.
    Finishes { request: Request, asks: Option<Asks>, work: Work },
    /// A caller hears, or gives up.
    Hears { asks: Asks, answer: Answer },
    /// A message reaches its participant.
    Delivered(Delivery),
    /// The work on a message ends.
    Handled(Delivery, Work),
    /// The answer with this number, to a message, is brought to a process.
    Replied(usize),
    /// A process starts.
    Starts(ProcessId),
    /// A frozen process goes on.
    Thaws(Life),
    /// An incarnation has given no sign of life for the length of a lease.
    Expires { life: Life, incarnation: Uuid },
    /// A client starts a saga, again and again until it is answered.
    ClientStarts { client: usize, try_number: u32 },
    /// Somebody looks around and may act.
    PersonActs,
    /// Definitions can be read again.
    Remembers,
    /// The faults stop.
    Heals,
}

/// Who asked a participant, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    life: Life,
    call: CallId,
    since: Timestamp,
}

/// Everything.
pub(crate) struct World {
    now: Timestamp,
    rng: Rng,
    plan: Plan,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    count: u64,
    steps: u64,
    store: MemoryStore,
    processes: Vec<Process>,
    retired: BTreeSet<Uuid>,
    settings: Settings,
    participants: Participants,
    /// Answers to messages; those that were taken are gone.
    answers: Vec<Option<Answered>>,
    /// Until when each participant is away.
    away_until: BTreeMap<String, Timestamp>,
    /// Whether definitions can be read.
    remembers: bool,
    model: Model,
    clients: Clients,
    coverage: Coverage,
    /// When the last compensations began, as many as the rate.
    begun: VecDeque<Timestamp>,
    /// Whether the faults have stopped.
    is_healed: bool,
    trace: bool,
}

/// What a run came to.
pub(crate) struct End {
    pub(crate) coverage: Coverage,
    pub(crate) steps: u64,
    pub(crate) violation: Option<Violation>,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let shares_rate = seed % 8 == 3;
        let mut settings = Settings {
            sweep_ms: 5_000,
            visibility_ms: 1_500,
            keep_ms: 500,
            commits_in_flight: plan.commits,
            // Without a draw: a seed stays the run that it was.
            full_batch: if seed % 4 == 2 { 3 } else { 1 },
            is_shared: shares_rate,
            compensations_per_second: if shares_rate { 5 } else { 200 },
            ..Settings::default()
        };
        for name in PARTICIPANTS {
            let url = format!("http://{name}.invalid").parse().expect("an address");
            let mut participant = Participant::at(url);
            (participant.in_flight, participant.compensations_in_flight) = (plan.places, plan.places);
            settings.participants.insert(name.into(), participant);
        }
        let store = MemoryStore::new(if plan.processes == 1 { Processes::One } else { Processes::Several });
        let mut world = World {
            now: DAWN,
            queue: BTreeMap::new(),
            count: 0,
            steps: 0,
            store,
            processes: (0..plan.processes).map(Process::dead).collect(),
            retired: BTreeSet::new(),
            settings,
            participants: Participants::default(),
            answers: Vec::new(),
            away_until: BTreeMap::new(),
            remembers: true,
            model: Model::default(),
            clients: Clients::default(),
            coverage: Coverage::default(),
            begun: VecDeque::new(),
            is_healed: false,
            trace,
            rng,
            plan,
        };
        world.trace(|world| format!("the plan: {:?}", world.plan));
        world.furnish();
        world
    }

    /// Puts everything in place.
    fn furnish(&mut self) {
        for number in 0..self.plan.definitions {
            let source = definitions::draw(&mut self.rng, number);
            self.trace(|_| format!("a definition:\n{source}"));
            let definition = lint::compile(&source).unwrap_or_else(|problems| panic!("{source}\n{problems:?}"));
            let stored = StoredDefinition {
                name: definition.name.clone(),
                version: definition.version.clone(),
                source,
                created_at: self.now,
            };
            let (actor, action) = ("ada".to_owned(), "put definition".to_owned());
            let deed = Deed { actor, action, subject: definition.name.clone(), at: self.now };
            done(self.store.put_definition(stored, deed)).expect("a memory store takes a definition");
            self.model.definitions.insert(definition.version.clone(), Arc::new(definition));
        }
        for process in 0..self.plan.processes {
            self.after(0, Happening::Starts(process));
        }
        self.clients = Clients::draw(&mut self.rng, &self.plan);
        for client in 0..self.clients.len() {
            let at_ms = self.rng.u64(..self.plan.storm_ms);
            self.after(at_ms, Happening::ClientStarts { client, try_number: 1 });
        }
        for _ in 0..self.plan.storm_ms / 500 {
            let at_ms = self.rng.u64(..self.plan.storm_ms);
            self.after(at_ms, Happening::PersonActs);
        }
        self.after(self.plan.storm_ms, Happening::Heals);
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> End {
        let violation = self.live().and_then(|()| self.judge()).err();
        End { coverage: self.coverage, steps: self.steps, violation }
    }

    fn live(&mut self) -> Result<(), Violation> {
        let end = DAWN.plus(self.plan.storm_ms + PATIENCE_MS + 3 * self.plan.skew_ms);
        while !self.is_over() {
            let next_wake = self.processes.iter().filter_map(Process::wake_at).min();
            let next = [self.queue.keys().next().map(|(at, _)| *at), next_wake].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else {
                let (unfinished, held) = (self.describe_unfinished(), self.in_memory());
                return Err(format!("not all has come to an end, and {held} sagas are in memory: {unfinished}"));
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let happening = entry.remove();
                self.steps += 1;
                self.happen(happening)?;
            }
            for process in 0..self.processes.len() {
                self.turn(process)?;
            }
        }
        Ok(())
    }

    /// Whether every saga is finished, nothing is under way, and no saga is in memory.
    fn is_over(&self) -> bool {
        self.is_healed
            && self.remembers
            && self.clients.are_served()
            && self.model.sagas.values().all(|known| known.saga.is_finished())
            && self.queue.is_empty()
            && self.processes.iter().all(|process| process.calls_in_flight == 0)
            && self.in_memory() == 0
    }

    /// How many sagas processes hold. One that was taken over and has not noticed yet still holds what it will drop.
    fn in_memory(&self) -> usize {
        let living = self.processes.iter().filter(|process| !self.retired.contains(&process.incarnation));
        living.map(Process::live_sagas).sum()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        self.trace(|_| format!("{happening:?}"));
        match happening {
            Happening::Input { life, input } => self.hand_in(life, *input),
            Happening::Ghost { incarnation, batch } => return self.ghost(incarnation, batch),
            Happening::Store { life, incarnation, output } => return self.reach_store(life, incarnation, *output),
            Happening::Arrives { request, asks } => self.arrive(request, asks),
            Happening::Finishes { request, asks, work } => return self.finish(&request, asks, work),
            Happening::Hears { asks, answer } => self.hear(asks, answer),
            Happening::Delivered(delivery) => self.deliver(delivery),
            Happening::Handled(delivery, work) => return self.handled(delivery, work),
            Happening::Replied(number) => self.bring(number),
            Happening::Starts(process) => self.start(process),
            Happening::Thaws(life) => self.thaw(life),
            Happening::Expires { life, incarnation } => self.expire(life, incarnation),
            Happening::ClientStarts { client, try_number } => self.client_starts(client, try_number),
            Happening::PersonActs => self.person_acts(),
            Happening::Remembers => self.remembers = true,
            Happening::Heals => self.heal(),
        }
        Ok(())
    }

    /// The faults stop: everybody is there again, and people see to what is left.
    fn heal(&mut self) {
        self.is_healed = true;
        self.remembers = true;
        self.away_until.clear();
        for process in 0..self.processes.len() {
            self.thaw(self.processes[process].life);
        }
        self.after(100, Happening::PersonActs);
    }

    /// What must hold when all is over.
    fn judge(&mut self) -> Result<(), Violation> {
        for known in self.model.sagas.values() {
            known.check_books(&self.participants)?;
            let stored = done(self.store.saga(known.saga.id)).expect("a memory store can be read");
            let stored = stored.ok_or_else(|| format!("{} is not in the store", known.saga.id))?;
            let definition = known.definition.clone();
            let (snapshot, _) =
                amends_engine::Snapshot::read(&stored, definition).map_err(|error| error.to_string())?;
            if *snapshot.saga != known.saga {
                return Err(format!("{}: the store and the observer disagree", known.saga.id));
            }
        }
        for (key, effect) in self.participants.ledger() {
            if effect.done > 1 || effect.undone > effect.done || effect.under_way != 0 {
                return Err(format!("the books are wrong about {key}: {effect:?}"));
            }
        }
        self.judge_promises()
    }

    fn describe_unfinished(&self) -> String {
        let unfinished = self.model.sagas.values().filter(|known| !known.saga.is_finished());
        let sagas: Vec<_> = unfinished.map(|known| format!("{:#?}, {:?}", known.saga, known.rest)).collect();
        let clients = if self.clients.are_served() { "" } else { " and clients wait" };
        let queue = self.queue.values().next();
        format!("{}{clients}; next in the queue: {queue:?}", sagas.join("\n"))
    }

    // --- Tools -----------------------------------------------------------------------------------------------

    /// Whether something happens that happens so many times in a thousand, while there are faults.
    fn strikes(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && !self.is_healed && self.rng.u32(..1_000) < per_mille
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now.plus(ms), self.count), happening);
    }

    fn trace(&self, what: impl FnOnce(&World) -> String) {
        if self.trace {
            eprintln!("{:>9} {}", self.now.since(DAWN), what(self));
        }
    }
}

/// The memory store never waits, so its futures are done when they are asked first.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory store never waits")
}
