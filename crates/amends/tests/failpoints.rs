//! The real server, ended at each of its failpoints and by `kill -9` at any time, while customers order at the shop,
//! calls fail by chance and operators hold sagas. What the services then have in their ledgers is compared with what
//! the server says and with what customers were told.
//!
//! A failing run prints its seed; `CRASH_SEED=<seed>` makes the same choices again, though not the same timing.
//! `cargo xtask crash --kills N` runs the long one.

#![cfg(test)]

mod support;

use amends_client::SagaStatus;
use amends_failpoints::Point;
use fastrand::Rng;
use serde_json::json;
use shop::faults::{Direction, Fault, FaultKind, preset};
use shop::{INITIAL_STOCK, Service};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use support::child;
use support::customers::{Habits, Load};
use support::seeded;
use support::setting::{SOON_VISIBLE, Setting};
use tokio::time::timeout;

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;
/// How often an order is placed, as a rule.
const BETWEEN_ORDERS: Duration = Duration::from_millis(30);
/// Long enough for an answer to reach its customer.
const SOON: Duration = Duration::from_millis(40);
/// How many kills one store and its services go through before all is compared.
const KILLS_OF_A_CAMPAIGN: usize = 40;

/// When in a server's life a point is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// When it makes a new store, once.
    New,
    /// At every start, and so while it takes up what the server before it left.
    Start,
    /// Under load, again and again.
    Work,
    /// When it is told to stop.
    Stop,
}

fn phase(point: Point) -> Phase {
    match point {
        Point::MigrationWritten | Point::MigrationCommitted => Phase::New,
        Point::StartListening
        | Point::StartOpened
        | Point::EnlistWritten
        | Point::EnlistAfter
        | Point::DefinitionWritten
        | Point::StartLoaded
        | Point::ClaimBefore
        | Point::ClaimWritten
        | Point::ClaimAfter => Phase::Start,
        Point::AcquireBefore
        | Point::AcquireWritten
        | Point::AcquireAfter
        | Point::ReceiveBefore
        | Point::ReceiveWritten
        | Point::ReceiveAfter
        | Point::TurnAfter
        | Point::CommitBefore
        | Point::CommitWritten
        | Point::TransactionWritten
        | Point::TransactionCommitted
        | Point::CommitAfter
        | Point::ReplyBefore
        | Point::CallBefore
        | Point::CallAnswered
        | Point::CallAfter => Phase::Work,
        Point::StopBegun
        | Point::RetireBefore
        | Point::RetireWritten
        | Point::RetireAfter
        | Point::CheckpointBefore
        | Point::CheckpointAfter => Phase::Stop,
    }
}

fn points(of: Phase) -> Vec<Point> {
    Point::ALL.iter().copied().filter(|point| phase(*point) == of).collect()
}

/// One way to end a server.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// When it meets a point for the n-th time.
    At(Point, u64),
    /// A moment after that, in which everything goes on that does not wait for what follows the point, whether or not
    /// it ought to.
    SoonAfter(Point, u64),
    /// From outside, so long after it has begun to take requests.
    After(Duration),
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kill::At(point, nth) => write!(f, "{} at meeting {nth}", point.name()),
            Kill::SoonAfter(point, nth) => write!(f, "soon after {} at meeting {nth}", point.name()),
            Kill::After(time) => write!(f, "kill -9 after {} ms", time.as_millis()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_at_any_point_of_its_work_loses_nothing() {
    let mut random = seeded("CRASH_SEED");
    let mut plan = Vec::new();
    // Every other one ends while it takes up what the one before it left.
    let mut recoveries = points(Phase::Start).into_iter().cycle();
    for point in shuffled(points(Phase::Work), &mut random) {
        plan.push(Kill::At(point, any_meeting(point, &mut random)));
        plan.extend(recoveries.next().map(|point| Kill::At(point, 1)));
    }
    let setting = Setting::start(&mut random, "some", SOON_VISIBLE).await;
    campaign(&setting, &plan, &mut random).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_a_saga_before_it_is_durable() {
    let mut random = seeded("CRASH_SEED");
    let soon_after = |_| Kill::SoonAfter(Point::TransactionWritten, random.u64(15..40));
    let plan: Vec<Kill> = (0..10).map(soon_after).collect();
    // So many orders that most transactions have the start of a saga in them.
    let setting = Setting::start(&mut random, "none", SOON_VISIBLE).await;
    let found = end_again_and_again(&setting, &plan, "none", Duration::from_millis(5), &mut random).await;
    eprintln!("{} kills: {found}", plan.len());
    assert_eq!(found.disagreements, Vec::<String>::new());
    assert!(found.interrupted > 0, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_at_any_point_of_its_start_or_stop_loses_nothing() {
    let mut random = seeded("CRASH_SEED");
    let mut plan: Vec<Kill> = points(Phase::New).into_iter().map(|point| Kill::At(point, 1)).collect();
    let rest = [points(Phase::Start), points(Phase::Stop)].concat();
    plan.extend(shuffled(rest, &mut random).into_iter().map(|point| Kill::At(point, 1)));
    let setting = Setting::start(&mut random, "some", SOON_VISIBLE).await;
    campaign(&setting, &plan, &mut random).await;
}

/// The server after it takes over what the dead one had when its lease has run out, and works beside it until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgresql_that_ends_at_any_point_loses_nothing() {
    let mut random = seeded("CRASH_SEED");
    let of_a_file = [Point::CommitWritten, Point::CheckpointBefore, Point::CheckpointAfter];
    let rest = [points(Phase::Start), points(Phase::Work), points(Phase::Stop)].concat();
    let rest = rest.into_iter().filter(|point| !of_a_file.contains(point)).collect();
    let mut plan: Vec<Kill> = points(Phase::New).into_iter().map(|point| Kill::At(point, 1)).collect();
    for point in shuffled(rest, &mut random) {
        let nth = if phase(point) == Phase::Work { any_meeting(point, &mut random) } else { 1 };
        plan.push(Kill::At(point, nth));
    }
    let setting = format!("{SOON_VISIBLE}\n[postgres]\nlease = \"1s\"");
    let setting = Setting::start_on(&test_postgres::database(), &mut random, "some", &setting).await;
    campaign(&setting, &plan, &mut random).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_that_fail_or_delay_cost_time_and_nothing_else() {
    let mut random = seeded("CRASH_SEED");
    let setting = Setting::start(&mut random, "some", SOON_VISIBLE).await;
    let failures = [20, 30, 31, 60].map(|nth| format!("transaction.written=error@{nth}")).join(";");
    let rest = "call.before=error@7;commit.after=delay(10);call.after=delay(20);transaction.committed=delay(5)";
    let Ok(server) = setting.launch(Some(&format!("{failures};{rest}")), &[]).await else {
        panic!("it does not start: {}", setting.log())
    };
    let load = Load::start(&setting, Habits { orders: 60, held: 0.3, ..Habits::default() }, &mut random);
    let evidence = setting.settled(load.end().await).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
    let struck = |what: &str| setting.log().matches(what).count();
    assert_eq!((struck("failpoint transaction.written: Error"), struck("failpoint call.before: Error")), (4, 1));
    assert!(struck("failpoint call.after: Delay") > 100, "{}", setting.log());
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes as long as it is told to; cargo xtask crash --kills N"]
async fn hundreds_of_kills() {
    let mut random = seeded("CRASH_SEED");
    let kills = std::env::var("CRASH_KILLS").map_or(100, |kills| kills.parse().expect("CRASH_KILLS is a number"));
    let (began, mut tally, mut violations) = (Instant::now(), BTreeMap::<String, usize>::new(), Vec::new());
    let (mut done, mut retried) = (0, 0);
    while done < kills {
        let plan = plan(KILLS_OF_A_CAMPAIGN.min(kills - done), &mut random);
        let faults = if random.bool() { "some" } else { "many" };
        let setting = Setting::start(&mut random, faults, SOON_VISIBLE).await;
        let found = end_again_and_again(&setting, &plan, faults, BETWEEN_ORDERS, &mut random).await;
        done += plan.len();
        retried += found.retried;
        for kill in &plan {
            *tally.entry(name(*kill)).or_default() += 1;
        }
        eprintln!("{done} of {kills} kills, {:.0} s: {found}", began.elapsed().as_secs_f64());
        violations.extend(found.disagreements);
    }
    eprintln!("\n{:<24} {:>6}", "ended at", "kills");
    for (name, count) in &tally {
        eprintln!("{name:<24} {count:>6}");
    }
    eprintln!("\n{done} kills, {} violations", violations.len());
    assert_eq!(violations, Vec::<String>::new());
    assert!(retried > 0, "no dead letter was tried again");
}

/// Any points and any times, the new store's points first. What follows a kill is often one in the recovery from it.
fn plan(kills: usize, random: &mut Rng) -> Vec<Kill> {
    let mut plan: Vec<Kill> = points(Phase::New).into_iter().map(|point| Kill::At(point, 1)).collect();
    let (starts, works, stops) = (points(Phase::Start), points(Phase::Work), points(Phase::Stop));
    while plan.len() < kills {
        plan.push(match random.u32(..10) {
            0..=1 => Kill::After(Duration::from_millis(random.u64(..600))),
            2..=3 => Kill::At(starts[random.usize(..starts.len())], 1),
            4 => Kill::At(stops[random.usize(..stops.len())], 1),
            5 => Kill::SoonAfter(Point::TransactionWritten, random.u64(10..60)),
            _ => {
                let point = works[random.usize(..works.len())];
                Kill::At(point, any_meeting(point, random))
            }
        });
    }
    plan.truncate(kills);
    plan
}

/// Late enough, at times, for work to be in flight; a saga is taken by itself only now and then.
fn any_meeting(point: Point, random: &mut Rng) -> u64 {
    match point {
        Point::AcquireBefore | Point::AcquireWritten | Point::AcquireAfter => random.u64(1..5),
        _ => random.u64(1..30),
    }
}

fn name(kill: Kill) -> String {
    match kill {
        Kill::At(point, _) | Kill::SoonAfter(point, _) => point.name().to_owned(),
        Kill::After(_) => "kill -9 at any time".to_owned(),
    }
}

/// What came of a campaign.
struct Found {
    disagreements: Vec<String>,
    completed: usize,
    compensated: usize,
    stuck: usize,
    retried: usize,
    interrupted: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { disagreements, completed, compensated, stuck, retried, interrupted } = self;
        let violations = disagreements.len();
        write!(f, "{completed} completed, {compensated} compensated, {stuck} stuck, {retried} dead letters retried, ")?;
        write!(f, "{interrupted} calls interrupted, {violations} violations")
    }
}

/// Goes through a plan, and expects nothing to be wrong and enough to have happened.
async fn campaign(setting: &Setting, plan: &[Kill], random: &mut Rng) {
    let found = end_again_and_again(setting, plan, "some", BETWEEN_ORDERS, random).await;
    eprintln!("{} kills: {found}", plan.len());
    assert_eq!(found.disagreements, Vec::<String>::new());
    // A campaign in which nothing turned back or no kill met a call in flight would show little.
    assert!(found.completed > 0 && found.compensated > 0 && found.interrupted > 0, "{found}");
}

/// Ends servers on one store by a plan, lets the last one finish all there is, and compares. `faults` is how
/// unreliable the services are.
async fn end_again_and_again(
    setting: &Setting,
    plan: &[Kill],
    faults: &str,
    between_orders: Duration,
    random: &mut Rng,
) -> Found {
    refuse_some_compensations(setting, faults).await;
    let habits = Habits { between_orders, held: 0.5, retried: 0.2, ..Habits::default() };
    let load = Load::start(setting, habits, random);
    for kill in plan {
        let began = Instant::now();
        end(setting, &load, *kill).await;
        eprintln!("  {kill}: {} ms", began.elapsed().as_millis());
    }
    let server = setting.serve().await;
    // However few kills there were: with so many orders, some turn back.
    load.wait_for(60).await;
    load.close();
    let accepted = load.end().await;
    let evidence = setting.settled(accepted).await;
    let count = |status| evidence.with_status(status).count();
    let found = Found {
        disagreements: evidence.disagreements(INITIAL_STOCK),
        completed: count(SagaStatus::Completed),
        compensated: count(SagaStatus::Compensated),
        stuck: count(SagaStatus::Stuck),
        retried: evidence.retried(),
        interrupted: evidence.interrupted(),
    };
    drop(server);
    found
}

/// Besides the faults they have, lets the services refuse compensations: each such refusal is a dead letter.
async fn refuse_some_compensations(setting: &Setting, faults: &str) {
    for service in Service::ALL {
        let refusal = Fault { direction: Some(Direction::Compensation), ..Fault::new(FaultKind::Forbidden, 0.3) };
        let faults: Vec<Fault> = preset(faults, service).unwrap().into_iter().chain([refusal]).collect();
        setting.shop.put(service, "/faults", &json!(faults)).await;
    }
}

/// Starts a server and sees it end as planned, and in no other way.
async fn end(setting: &Setting, load: &Load, kill: Kill) {
    let said_before = setting.log().len();
    match kill {
        Kill::After(time) => {
            let mut server = setting.serve().await;
            assert!(timeout(time, server.ended()).await.is_err(), "it has ended by itself: {}", setting.log());
            assert_eq!(server.kill().await.signal(), Some(SIGKILL));
        }
        Kill::At(point, nth) => {
            let status = end_at(setting, load, point, &format!("{}=abort@{nth}", point.name())).await;
            check_struck(status, &setting.log()[said_before..], point, nth);
        }
        Kill::SoonAfter(point, nth) => {
            let failpoints = format!("{}=abort({})@{nth}", point.name(), SOON.as_millis());
            let status = end_at(setting, load, point, &failpoints).await;
            check_struck(status, &setting.log()[said_before..], point, nth);
        }
    }
}

fn check_struck(status: ExitStatus, said: &str, point: Point, nth: u64) {
    let struck = format!("failpoint {}: Abort", point.name());
    let struck = said.lines().any(|line| line.starts_with(&struck) && line.ends_with(&format!("at meeting {nth}")));
    assert_eq!((status.signal(), struck), (Some(SIGABRT), true), "{} at meeting {nth}: {said}", point.name());
}

async fn end_at(setting: &Setting, load: &Load, point: Point, failpoints: &str) -> ExitStatus {
    match (setting.launch(Some(failpoints), &[]).await, phase(point)) {
        (Err(status), _) => status,
        (Ok(mut server), Phase::Stop) => {
            // A log that has grown long is moved into the file under load, too.
            let by_itself = tokio::select! {
                status = server.ended() => Some(status),
                () = load.wait_for(3) => None,
            };
            match by_itself {
                Some(status) => status,
                None => server.terminate().await,
            }
        }
        (Ok(mut server), Phase::New | Phase::Start | Phase::Work) => server.ended().await,
    }
}

fn shuffled(mut points: Vec<Point>, random: &mut Rng) -> Vec<Point> {
    random.shuffle(&mut points);
    points
}

#[test]
fn a_misspelt_failpoint_is_refused_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arguments = ["serve".into(), "--listen".into(), "127.0.0.1:0".into()];
    let log = folder.path().join("log");
    let launch = child::Launch { arguments: &arguments, log: &log, failpoints: Some("clame.after=abort"), within: &[] };
    let Err(status) = runtime.block_on(launch.start()) else { panic!("it has started") };
    let said = child::read(&log);
    assert_eq!((status.code(), said.contains("did you mean `claim.after`?")), (Some(1), true), "{said}");
}
