//! The shop's definition, failed, repeated and crashed at every step: in its action, in its compensation, and where
//! there is one in the question whether it happened. Engine, store and services are the real ones.
//!
//! The tables say what goes wrong and what must become of it, and are applied to every step. Of each order the whole
//! truth is checked, from outside: where its saga came to rest, what each of the six ledgers holds, what became of the
//! stock, and that the faults struck the requests they were meant for, as often as they were meant to.

#![cfg(test)]

mod support;

use amends_core::lint;
use amends_core::machine::{Claim, Direction, Operator, Status};
use amends_engine::Order;
use amends_idempotency::rusqlite::Connection;
use futures_util::future::join_all;
use shop::faults::{CrashPoint, Fault, FaultKind};
use shop::{Service, faults};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use support::child::{Program, lasting_address};
use support::orders::{
    CHARGE, CONFIRM, Case, End, Kind, Problems, SHIP, STEPS, Step, TIMEOUT_S, World, faults_of, looks,
};
use support::shop::{Effect, Shop};
use tokio::sync::Semaphore;

/// One line of a table: what happens, the faults, how many requests they strike, and what becomes of the saga.
type Line<E> = (&'static str, &'static [Plant], u64, E);

/// What becomes of a saga.
#[derive(Clone, Copy)]
enum Fate {
    /// Everything is done.
    Completes,
    /// It turns back, and the step itself never had an effect.
    TurnsBack,
    /// It turns back, and the effect of the step itself was there.
    Undoes,
    /// It waits for a person: what is claimed of the step, and what is there of it.
    Stuck(Claim, Effect),
}

/// A fault, before it is known whom it is for.
#[derive(Clone, Copy)]
struct Plant {
    fault: FaultKind,
    nth: Option<u64>,
    limit: Option<u64>,
}

use Claim::{Done, Undone, Unknown};
use Fate::{Completes, Stuck, TurnsBack, Undoes};
use FaultKind::{Decline, LostResponse, OutOfStock};

/// How often each call is tried.
const TRIES: u64 = 4;
/// How many orders are being fulfilled at once, besides those that wait.
const AT_ONCE: usize = 24;
const RETRY: &str = "{ attempts: 4, initial: 10ms, factor: 2, max: 40ms }";
const ERROR: FaultKind = FaultKind::Error { status: 503 };
/// Later than anybody waits.
const LATE: FaultKind = FaultKind::TimeoutAfterEffect { hold_ms: (TIMEOUT_S + 1) * 1_000 };
const BUSY: FaultKind = FaultKind::RateLimit { retry_after_s: 0 };
const BUSY_FOR_A_SECOND: FaultKind = FaultKind::RateLimit { retry_after_s: 1 };
/// The first of these strikes the second request, the next one the third, and so on: each counts only what those before
/// it in the list let pass.
const LATER: Plant = Plant { nth: Some(2), ..always(BUSY) };
const LOST_THEN_BUSY: [Plant; 4] = [once(LostResponse), LATER, LATER, LATER];
/// What is there of a step's effect: it never was, it is, it was undone.
const NEVER: Effect = Effect::NONE;
const THERE: Effect = Effect::DONE;
const GONE: Effect = Effect::UNDONE;

/// What can go wrong with an action, and what follows for a step that can be undone, for one whose participant is
/// asked, and for one that only goes forward.
const ACTIONS: &[Line<[Fate; 3]>] = &[
    ("is declined", &[always(Decline)], 1, [TurnsBack, TurnsBack, Stuck(Undone, NEVER)]),
    ("is out of stock", &[always(OutOfStock)], 1, [TurnsBack, TurnsBack, Stuck(Undone, NEVER)]),
    ("fails once", &[once(ERROR)], 1, [Completes, Completes, Completes]),
    ("fails for ever", &[always(ERROR)], TRIES, [TurnsBack, TurnsBack, Stuck(Unknown, NEVER)]),
    ("fails, then is declined", &[once(ERROR), always(Decline)], 2, [TurnsBack, TurnsBack, Stuck(Unknown, NEVER)]),
    ("loses its answer once", &[once(LostResponse)], 1, [Completes, Completes, Completes]),
    ("loses every answer", &[always(LostResponse)], TRIES, [Undoes, Completes, Stuck(Unknown, THERE)]),
    ("is answered late once", &[once(LATE)], 1, [Completes, Completes, Completes]),
    ("is always answered late", &[always(LATE)], TRIES, [Undoes, Completes, Stuck(Unknown, THERE)]),
    ("is rate limited once", &[once(BUSY_FOR_A_SECOND)], 1, [Completes, Completes, Completes]),
    ("is rate limited for ever", &[always(BUSY)], TRIES, [TurnsBack, TurnsBack, Stuck(Undone, NEVER)]),
    ("loses its answer, then is rate limited", &LOST_THEN_BUSY, TRIES, [Undoes, Completes, Stuck(Unknown, THERE)]),
];

/// What can go wrong with a compensation. What is claimed is for a step that is known to be done. Unlike an action's,
/// the refusal of a compensation is not kept, so each try meets it anew.
const COMPENSATIONS: &[Line<Fate>] = &[
    ("is declined", &[always(Decline)], TRIES, Stuck(Done, THERE)),
    ("is refused for ever", &[always(OutOfStock)], TRIES, Stuck(Done, THERE)),
    ("fails once", &[once(ERROR)], 1, Undoes),
    ("fails for ever", &[always(ERROR)], TRIES, Stuck(Unknown, THERE)),
    ("fails, then is declined", &[once(ERROR), always(Decline)], TRIES, Stuck(Unknown, THERE)),
    ("loses its answer once", &[once(LostResponse)], 1, Undoes),
    ("loses every answer", &[always(LostResponse)], TRIES, Stuck(Unknown, GONE)),
    ("is answered late once", &[once(LATE)], 1, Undoes),
    ("is always answered late", &[always(LATE)], TRIES, Stuck(Unknown, GONE)),
    ("is rate limited once", &[once(BUSY_FOR_A_SECOND)], 1, Undoes),
    ("is rate limited for ever", &[always(BUSY)], TRIES, Stuck(Done, THERE)),
    ("loses its answer, then is rate limited", &LOST_THEN_BUSY, TRIES, Stuck(Unknown, GONE)),
];

/// What can go wrong with the question whether the charge happened: first what leads to it, for ever.
const QUESTIONS: &[(FaultKind, Line<Fate>)] = &[
    (ERROR, ("fails once", &[once(ERROR)], 1, TurnsBack)),
    (ERROR, ("fails for ever", &[always(ERROR)], TRIES, TurnsBack)),
    (ERROR, ("loses every answer", &[always(LostResponse)], TRIES, TurnsBack)),
    (LostResponse, ("fails once", &[once(ERROR)], 1, Completes)),
    (LostResponse, ("fails for ever", &[always(ERROR)], TRIES, Undoes)),
    (LostResponse, ("loses its answer once", &[once(LostResponse)], 1, Completes)),
    (LostResponse, ("loses every answer", &[always(LostResponse)], TRIES, Undoes)),
    (LostResponse, ("is answered late once", &[once(LATE)], 1, Completes)),
    (LostResponse, ("is rate limited once", &[once(BUSY_FOR_A_SECOND)], 1, Completes)),
];

const CRASHES: [CrashPoint; 3] = [CrashPoint::BeforeEffect, CrashPoint::BeforeCommit, CrashPoint::AfterCommit];
/// Patient enough for a service that has to start again, on a machine that has much to do.
const RETRY_WHILE_IT_STARTS: &str = "{ attempts: 60, initial: 20ms, factor: 2, max: 300ms }";
const SIGABRT: i32 = 6;

#[test]
fn the_tables_are_about_every_step_of_the_definition() {
    let definition = lint::compile(shop::definition()).unwrap();
    let written = definition.steps.iter().map(|step| {
        let is_asked = step.call().is_some_and(|call| call.probe.is_some());
        (step.name.as_str(), step.compensation().is_some(), is_asked)
    });
    let known = STEPS.iter().map(|step| {
        let is_asked = matches!(step.kind, Kind::Asked(_));
        (step.name, step.compensation().is_some(), is_asked)
    });
    assert_eq!(written.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_a_call_every_order_comes_out_even() {
    let cases = cases();
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::in_process(folder.path(), |options| {
        options.faults = faults_of(options.service, &cases).to_string();
    });
    let world = World::start(folder.path(), shop.await, RETRY).await;
    join_all(cases.iter().map(|case| world.fill_the_shelf(case))).await;
    let places = Semaphore::new(AT_ONCE);
    let sagas = join_all(cases.iter().map(async |case| {
        // Those that are going to wait for late answers are begun at once, and hold up nobody.
        let is_slow = case.faults.iter().any(|(_, fault)| fault.fault == LATE);
        let _place = if is_slow { None } else { Some(places.acquire().await) };
        let started = world.fulfil(case).await;
        assert!(started.created, "{}", case.label);
        world.at_rest(started.saga.id).await
    }));
    let sagas = sagas.await;

    let evidence = world.evidence().await;
    let mut wrong = Vec::new();
    for (case, saga) in cases.iter().zip(&sagas) {
        let mut problems = Problems::of(case);
        world.check_end(case, saga, &mut problems).await;
        evidence.check_effects(&case.order, saga.id, &case.effects, &mut problems);
        evidence.check_struck(case, &mut problems);
        wrong.extend(problems.told(&world, saga).await);
    }
    assert!(wrong.is_empty(), "{} of {} cases are wrong\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let stuck = cases.iter().filter(|case| matches!(case.end, End::Stuck { .. })).count() as u64;
    let statistics = world.statistics().await;
    assert_eq!((statistics.started, statistics.dead_letters_open, statistics.orphans), (cases.len() as u64, stuck, 0));

    // Everything is mended, and those that wait for a person are told to try again.
    let none = serde_json::json!([]);
    join_all(Service::ALL.map(|service| world.shop.put(service, "/faults", &none))).await;
    let mended = cases.iter().zip(&sagas).filter(|(case, _)| case.mended.is_some());
    let mended = join_all(mended.map(async |(case, saga)| {
        world.retry(saga).await;
        let again = world.fulfil(case).await;
        assert_eq!((again.created, again.saga.id), (false, saga.id), "{}", case.label);
        (case, again.saga)
    }));
    let mended = mended.await;
    let evidence = world.evidence().await;
    for (case, saga) in &mended {
        let (status, effects) = case.mended.as_ref().unwrap();
        let mut problems = Problems::of(case);
        problems.compare("once it is mended the saga is", &saga.saga.status(), status);
        evidence.check_effects(&case.order, saga.id, effects, &mut problems);
        wrong.extend(problems.told(&world, saga).await);
    }
    assert!(wrong.is_empty(), "{} of {} are wrong\n{}", wrong.len(), mended.len(), wrong.join("\n"));
    let statistics = world.statistics().await;
    assert_eq!((statistics.dead_letters_open, statistics.orphans), (stuck - mended.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_service_crashes_in_a_call_it_has_its_effect_once() {
    let folder = tempfile::tempdir().unwrap();
    let cases = crash_cases();
    let orders: Vec<&Case> = cases.iter().map(|crash| &crash.case).collect();
    let services = join_all(Service::ALL.map(|service| Crashing::start(service, folder.path(), &cases))).await;
    let addresses: Vec<SocketAddr> = services.iter().map(|service| service.program.address).collect();
    let shop = Shop::at(addresses.try_into().unwrap());
    let world = World::start(folder.path(), shop, RETRY_WHILE_IT_STARTS).await;
    join_all(orders.iter().map(|case| world.fill_the_shelf(case))).await;
    // One service after the other meets its crashes, each of them at its own pace, while the others go on.
    let sagas = join_all(services.into_iter().map(|service| service.meet_all(&world, &cases))).await;

    let evidence = world.evidence().await;
    let mut wrong = Vec::new();
    let mut met = 0;
    for (crash, saga) in sagas.iter().flat_map(|(_, sagas)| sagas) {
        met += 1;
        let mut problems = Problems::of(&crash.case);
        world.check_end(&crash.case, saga, &mut problems).await;
        evidence.check_effects(&crash.case.order, saga.id, &crash.case.effects, &mut problems);
        wrong.extend(problems.told(&world, saga).await);
    }
    assert_eq!(met, cases.len());
    assert!(wrong.is_empty(), "{} of {} cases are wrong\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let statistics = world.statistics().await;
    assert_eq!((statistics.started, statistics.dead_letters_open, statistics.orphans), (cases.len() as u64, 0, 0));
}

const fn always(fault: FaultKind) -> Plant {
    Plant { fault, nth: None, limit: None }
}

const fn once(fault: FaultKind) -> Plant {
    Plant { fault, nth: None, limit: Some(1) }
}

impl Plant {
    /// The fault for one order's requests to one path.
    fn at(self, direction: faults::Direction, path: &str, order: &str) -> Fault {
        Fault {
            direction: Some(direction),
            path: Some(path.replace("{}", "*")),
            order_id: Some(order.to_owned()),
            nth: self.nth,
            limit: self.limit,
            ..Fault::new(self.fault, 1.0)
        }
    }
}

/// Every line of every table at every step that it can happen to.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        for (what, plants, struck, fates) in ACTIONS {
            let mut case = Case::new(cases.len(), format!("the action of {} {what}", step.name));
            case.plant(step, Way::Action, plants, *struck);
            let column = match step.kind {
                Kind::Undoable(_) => 0,
                Kind::Asked(_) => 1,
                Kind::Forward => 2,
            };
            // The refusal of an action is kept: who tries again is told the same.
            let is_kept = plants.iter().any(|plant| matches!(plant.fault, Decline | OutOfStock));
            cases.push(case.fated(index, Direction::Action, fates[column], !is_kept));
        }
        for (what, plants, struck, fate) in COMPENSATIONS.iter().filter(|_| step.compensation().is_some()) {
            let mut case = Case::new(cases.len(), format!("the compensation of {} {what}", step.name));
            case.turn_back_at_the_shipment(index);
            case.plant(step, Way::Compensation, plants, *struck);
            cases.push(case.fated(index, Direction::Compensation, *fate, true));
        }
    }
    for (cause, (what, plants, struck, fate)) in QUESTIONS {
        let step = &STEPS[CHARGE];
        let mut case = Case::new(cases.len(), format!("after {cause:?} the question about {} {what}", step.name));
        case.plant(step, Way::Action, &[always(*cause)], TRIES);
        case.plant(step, Way::Question, plants, *struck);
        cases.push(case.fated(CHARGE, Direction::Probe, *fate, true));
    }
    cases
}

/// Which of a step's calls.
#[derive(Clone, Copy)]
enum Way {
    Action,
    Compensation,
    Question,
}

impl Case {
    fn new(number: usize, label: String) -> Case {
        Case {
            label,
            // No order's name is part of another's: faults look for it in paths and keys.
            order: format!("order-{number:04}"),
            faults: Vec::new(),
            struck: BTreeMap::new(),
            end: End::Completed,
            effects: [Effect::DONE; 8],
            mended: None,
        }
    }

    /// Plants faults that are to strike this many requests.
    fn plant(&mut self, step: &Step, way: Way, plants: &[Plant], struck: u64) {
        let (direction, name, path) = match way {
            Way::Action => (faults::Direction::Action, "action", step.action),
            Way::Compensation => (faults::Direction::Compensation, "compensation", step.compensation().unwrap()),
            // The shop's only question asks for what the action made, at the same path.
            Way::Question => (faults::Direction::Probe, "probe", step.action),
        };
        let faults = plants.iter().map(|plant| (step.service, plant.at(direction, path, &self.order)));
        self.faults.extend(faults);
        let call = (step.service.name(), name.to_owned(), path.replace("{}", &self.order));
        *self.struck.entry(call).or_default() += struck;
    }

    /// Makes the saga turn back when this step is done: by a refusal of the shipment, or, where that is the step
    /// itself, because nobody can say whether it happened.
    fn turn_back_at_the_shipment(&mut self, step: usize) {
        let (plant, struck) = if step == SHIP { (always(LostResponse), TRIES) } else { (always(Decline), 1) };
        self.plant(&STEPS[SHIP], Way::Action, &[plant], struck);
    }

    /// Says what must become of the saga, where the fault is at this step and in this direction.
    fn fated(mut self, step: usize, direction: Direction, fate: Fate, can_be_mended: bool) -> Case {
        // When a compensation fails, all that can be undone was done before; the shipment only if it is the step.
        let is_back = direction == Direction::Compensation;
        let was_done = |other: usize| match is_back {
            true => other < SHIP || other == step,
            false => other < step.min(CONFIRM) || (step > CONFIRM && other != step),
        };
        let each = |effect: &dyn Fn(usize) -> Effect| std::array::from_fn(effect);
        let undone = each(&|other| if was_done(other) { Effect::UNDONE } else { Effect::NONE });
        (self.end, self.effects) = match fate {
            Completes => (End::Completed, [Effect::DONE; 8]),
            TurnsBack => (End::Compensated, undone),
            Undoes => (End::Compensated, each(&|other| if other == step { Effect::UNDONE } else { undone[other] })),
            Stuck(claim, own) => {
                // The shipment is undone without anybody knowing whether it was there.
                let claim = if is_back && step == SHIP { Unknown } else { claim };
                let left = each(&|other| match other {
                    _ if other == step => own,
                    _ if is_back && other > step => undone[other],
                    _ if was_done(other) => Effect::DONE,
                    _ => Effect::NONE,
                });
                (End::Stuck { step, direction, claim }, left)
            }
        };
        let is_stuck = matches!(fate, Stuck(..)) && can_be_mended;
        let mended = if is_back { (Status::Compensated, undone) } else { (Status::Completed, [Effect::DONE; 8]) };
        self.mended = is_stuck.then_some(mended);
        self
    }
}

// --- Crashes ---------------------------------------------------------------------------------------------------

/// An order during which a service crashes once.
struct Crash {
    case: Case,
    step: usize,
    way: Way,
    at: CrashPoint,
    fault: Fault,
}

/// A service that crashes and is started again on the same database, at the same address.
struct Crashing {
    service: Service,
    program: Program,
    database: PathBuf,
    log: PathBuf,
    /// The faults that it always has.
    faults: serde_json::Value,
}

fn crash_cases() -> Vec<Crash> {
    let mut cases: Vec<Crash> = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        for at in CRASHES {
            let plant = once(FaultKind::Crash { at });
            let label = format!("{} crashes {at:?} in the action of {}", step.service, step.name);
            let case = Case::new(cases.len(), label).fated(index, Direction::Action, Completes, false);
            let fault = plant.at(faults::Direction::Action, step.action, &case.order);
            cases.push(Crash { case, step: index, way: Way::Action, at, fault });
            let Some(path) = step.compensation() else { continue };
            let label = format!("{} crashes {at:?} in the compensation of {}", step.service, step.name);
            let mut case = Case::new(cases.len(), label).fated(index, Direction::Compensation, Undoes, false);
            case.turn_back_at_the_shipment(index);
            let fault = plant.at(faults::Direction::Compensation, path, &case.order);
            cases.push(Crash { case, step: index, way: Way::Compensation, at, fault });
        }
    }
    cases
}

impl Crashing {
    async fn start(service: Service, folder: &Path, cases: &[Crash]) -> Crashing {
        let faults = cases.iter().flat_map(|crash| &crash.case.faults).filter(|(at, _)| *at == service);
        let faults = serde_json::json!(faults.map(|(_, fault)| fault).collect::<Vec<_>>());
        let (database, log) = (folder.join(format!("{service}.db")), folder.join(format!("{service}.log")));
        let program = Program::start(&arguments(service, lasting_address(), &database, &faults), &log).await;
        Crashing { service, program, database, log, faults }
    }

    /// Lets the service crash in each of its cases. Returns the sagas with them; the service goes on.
    async fn meet_all<'c>(
        mut self,
        world: &World,
        cases: &'c [Crash],
    ) -> (Crashing, Vec<(&'c Crash, amends_engine::Snapshot)>) {
        let (service, mut sagas) = (self.service, Vec::new());
        for crash in cases.iter().filter(|crash| STEPS[crash.step].service == service) {
            let mut faults = self.faults.clone();
            faults.as_array_mut().unwrap().push(serde_json::json!(crash.fault));
            world.shop.put(service, "/faults", &faults).await;
            let (saga, (), ()) = tokio::join!(world.fulfil(&crash.case), self.meet(crash), cancel(world, crash));
            assert!(saga.created, "{}", crash.case.label);
            sagas.push((crash, saga.saga));
        }
        (self, sagas)
    }

    /// Waits for the crash, looks at what it left, and starts the service again.
    async fn meet(&mut self, crash: &Crash) {
        let status = self.program.ended().await;
        assert_eq!(status.signal(), Some(SIGABRT), "{}: {status}", crash.case.label);
        let expected = i64::from(crash.at == CrashPoint::AfterCommit);
        assert_eq!(written(&self.database, crash), expected, "{}", crash.case.label);
        let arguments = arguments(self.service, self.program.address, &self.database, &self.faults);
        self.program = Program::start(&arguments, &self.log).await;
    }
}

fn arguments(service: Service, listen: SocketAddr, database: &Path, faults: &serde_json::Value) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["shop-service".into(), service.name().into()];
    arguments.extend(["--listen".into(), listen.to_string().into(), "--database".into(), database.into()]);
    arguments.extend(["--faults".into(), faults.to_string().into()]);
    arguments
}

/// How many entries a service that does not run has in its ledger about the call that it crashed in.
fn written(database: &Path, crash: &Crash) -> i64 {
    let direction = match crash.way {
        Way::Action => "action",
        Way::Compensation => "compensation",
        Way::Question => "nothing",
    };
    let ledger = Connection::open(database).unwrap();
    let mut select = ledger
        .prepare("SELECT count(*) FROM ledger WHERE order_id = ?1 AND direction = ?2 AND action_key LIKE '%-' || ?3")
        .unwrap();
    select.query_row([&crash.case.order, direction, STEPS[crash.step].name], |row| row.get(0)).unwrap()
}

/// Where the shipment itself is to be undone: cancels the order as soon as the shipment was sent and no answer came.
/// To wait until its attempts are spent would take long, because they have to outlast a crash.
async fn cancel(world: &World, crash: &Crash) {
    if (crash.step, matches!(crash.way, Way::Compensation)) != (SHIP, true) {
        return;
    }
    let mut looks = looks();
    let id = loop {
        looks.tick().await;
        if let Some(id) = world.find(&crash.case.order).await {
            break id;
        }
    };
    world.wait_until(id, |saga| saga.saga.steps[SHIP].uncertain).await;
    let operator = Operator { actor: "somebody".into(), reason: "nobody answers".into() };
    world.engine.order(id, Order::Cancel(operator)).await.unwrap();
}
