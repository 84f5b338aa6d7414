//! The shop whose payment service is asked by message, as a process that lives off its queue: it is killed in the middle of
//! its work, and it falls asleep while customers go on ordering.
//!
//! A failing run prints its seed; `BY_MESSAGE_SEED=<seed> cargo test -p amends --test by_message` makes the same choices
//! again, though not the same timing. `BY_MESSAGE_ASLEEP_S=45` lets the payment service sleep for so many seconds.

#![cfg(test)]

mod support;

use amends_client::{Event, QueueDepth, Saga, SagaStatus, StartOptions, StepStatus};
use fastrand::Rng;
use serde_json::json;
use shop::faults::{Direction, Fault, FaultKind};
use shop::{CATALOGUE, INITIAL_STOCK, PAYMENT_QUEUE, Service};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use support::agreement::{Accepted, Evidence};
use support::child::Program;
use support::customers::{Habits, Load};
use support::seeded;
use support::setting::{SOON_VISIBLE, Setting, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

const SIGKILL: i32 = 9;

/// The definition of orders that do not need the payment service.
const ON_ACCOUNT: &str = "order-on-account";
/// How often an order is placed, of either definition.
const BETWEEN_ORDERS: Duration = Duration::from_millis(50);
/// Less than a gateway would wait, and far more than such an order takes.
const COMPLETED_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_SAMPLES: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_service_that_is_killed_again_and_again_loses_nothing_and_charges_nothing_twice() {
    let mut random = seeded("BY_MESSAGE_SEED");
    let setting = Setting::start_by_message(&mut random, "some", SOON_VISIBLE).await;
    let undeliverable = json!([{ "fault": "decline", "probability": 0.15, "direction": "action" }]);
    setting.shop.put(Service::Shipping, "/faults", &undeliverable).await;
    let server = setting.serve().await;
    let mut faults = shop::faults::preset("some", Service::Payment).unwrap();
    faults.push(Fault { direction: Some(Direction::Action), ..Fault::new(FaultKind::Decline, 0.1) });
    let faults = serde_json::to_string(&faults).unwrap();
    let mut payment = payment(&setting, &faults, &mut random).await;
    let load = Load::start(&setting, Habits { orders: 150, ..Habits::default() }, &mut random);
    let mut in_hand = 0;
    for kill in 0..5 {
        load.wait_for(random.usize(5..25)).await;
        until(async || (depth(&setting).await.invisible > 0).then_some(())).await;
        let status = payment.kill().await;
        assert_eq!(status.signal(), Some(SIGKILL), "it had ended by itself");
        let left = depth(&setting).await;
        eprintln!("kill {kill}: {left:?}");
        in_hand += left.invisible;
        payment = self::payment(&setting, &faults, &mut random).await;
    }
    assert!(in_hand > 0, "no kill met a command that was worked on");
    let accepted = load.end().await;
    let evidence = setting.settled(accepted).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
    check_coverage(&evidence);
    assert!(payment.terminate().await.success(), "it stops in order");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_payment_service_sleeps_nothing_waits_but_the_orders_that_need_it() {
    let asleep = std::env::var("BY_MESSAGE_ASLEEP_S").map_or(6, |seconds| seconds.parse().expect("a number"));
    let asleep = Duration::from_secs(asleep);
    let mut random = seeded("BY_MESSAGE_SEED");
    let setting = Setting::start_by_message(&mut random, "none", SOON_VISIBLE).await;
    std::fs::write(setting.path(&format!("sagas/{ON_ACCOUNT}.yaml")), on_account()).unwrap();
    let server = setting.serve().await;
    let awake = payment(&setting, "none", &mut random).await;
    let habits = Habits { between_orders: BETWEEN_ORDERS, ..Habits::default() };
    let paying = Load::start(&setting, habits, &mut random);
    paying.wait_for(10).await;
    let (before, _) = tokio::join!(Run::of(&setting, "before", asleep), watch(&setting, asleep));

    // It sleeps much longer than the test takes, and is woken by being killed and started again.
    let an_hour = json!([{ "fault": { "latency": { "min_ms": 3_600_000, "max_ms": 3_600_000 } } }]);
    setting.shop.put(Service::Payment, "/faults", &an_hour).await;
    let fell = Instant::now();
    let charged = charges(&setting).await;
    let (during, samples) = tokio::join!(Run::of(&setting, "during", asleep), watch(&setting, asleep));
    paying.close();
    let mut accepted = paying.end().await;

    // The orders that wait are rows: once the others have ended, the server has none in memory.
    let waiting = until(async || {
        let Sample { live, waiting, .. } = Sample::take(&setting).await;
        (live == 0).then_some(waiting)
    });
    let waiting = waiting.await;
    let slept = fell.elapsed();
    eprintln!("before: {before}\nduring {slept:.1?} of sleep, in which {waiting} orders came to wait: {during}");
    assert!(waiting > 10, "{waiting} orders wait, so little was shown");
    assert!(charges(&setting).await <= charged + 4, "the payment service is not asleep");
    assert!(during.slowest() < asleep, "an order that needs no payment took as long as the sleep: {during}");
    let most_live = samples.iter().map(|sample| sample.live).max().unwrap();
    eprintln!("at most {most_live} sagas in memory at once");
    assert!(samples.iter().all(|sample| sample.calls_to_payment == 0), "{samples:?}");
    let later = &samples[samples.len() / 2..];
    let fewest_live = later.iter().map(|sample| sample.live).min().unwrap();
    assert!(fewest_live < waiting / 4, "memory grows with what waits: {samples:?}");

    awake.kill().await;
    let awake = payment(&setting, "none", &mut random).await;
    accepted.extend(before.orders.into_iter().chain(during.orders).map(|(accepted, _)| accepted));
    let evidence = setting.settled(accepted).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
    assert_eq!(evidence.with_status(SagaStatus::Completed).count(), evidence.sagas.len(), "all orders complete");
    drop((server, awake));
}

/// Starts the payment service as a process on its own file and at its own address, as often as it is killed.
async fn payment(setting: &Setting, faults: &str, random: &mut Rng) -> Program {
    let address = setting.shop.addresses[Service::Payment as usize].to_string();
    let amends = format!("http://{}", setting.address);
    let seed = random.u64(..).to_string();
    let mut arguments: Vec<OsString> =
        vec!["shop-service".into(), "payment".into(), "--database".into(), setting.path("paid.db").into()];
    let words =
        ["--listen", &address, "--queue", PAYMENT_QUEUE, "--amends", &amends, "--faults", faults, "--seed", &seed];
    arguments.extend(words.map(OsString::from));
    Program::start(&arguments, &setting.path("payment.log")).await
}

/// The shop's definition without the payment.
fn on_account() -> String {
    let text = shop::definition().replace("saga: order-fulfilment\n", &format!("saga: {ON_ACCOUNT}\n"));
    let (before, after) = text.split_once("  charge-payment:\n").unwrap();
    let (_, after) = after.split_once("  create-shipment:\n").unwrap();
    format!("{before}  create-shipment:\n{after}")
}

/// Cards were refused, and payments that had been made were given back.
fn check_coverage(evidence: &Evidence) {
    let completed = evidence.with_status(SagaStatus::Completed).count();
    let status = |saga: &Saga, name: &str| saga.steps.iter().find(|step| step.name == name).map(|step| step.status);
    let refunded = evidence.with_status(SagaStatus::Compensated).filter(|saga| {
        status(saga, "charge-payment") == Some(StepStatus::Compensated)
            && status(saga, "create-shipment") == Some(StepStatus::Refused)
    });
    let refunded = refunded.count();
    let says = |event: &Event| event.detail.to_string().contains("The card was declined.");
    let refused = evidence.histories.iter().filter(|history| history.iter().any(says)).count();
    eprintln!("{completed} completed, {refused} cards refused, {refunded} payments given back");
    assert!(completed > 0 && refused > 0 && refunded > 0, "one of them is missing, so little was shown");
}

async fn depth(setting: &Setting) -> QueueDepth {
    setting.client.queues().await.unwrap().items.into_iter().find(|queue| queue.name == PAYMENT_QUEUE).unwrap()
}

async fn charges(setting: &Setting) -> u64 {
    setting.shop.get(Service::Payment, "/ledger").await["totals"]["done"].as_u64().unwrap()
}

/// Orders that need no payment, and how long each took from its start to its end.
struct Run {
    orders: Vec<(Accepted, Duration)>,
}

impl Run {
    /// Places orders for so long, whether or not those before are finished, and waits for all of them.
    async fn of(setting: &Setting, label: &str, lasting: Duration) -> Run {
        let (mut orders, mut ticks) = (JoinSet::new(), interval(BETWEEN_ORDERS));
        let end = Instant::now() + lasting;
        for number in 0.. {
            if ticks.tick().await >= end {
                break;
            }
            let (client, customer, product) = (setting.client.clone(), format!("{label}-{number}"), CATALOGUE[0]);
            orders.spawn(async move {
                let lines = json!([{ "sku": product.sku, "quantity": 1, "price_cents": product.price_cents }]);
                let order_id = uuid::Uuid::now_v7().to_string();
                let input = json!({
                    "order_id": order_id, "customer_id": customer, "lines": lines, "total_cents": product.price_cents
                });
                let begun = Instant::now();
                let options = StartOptions { wait: Some(COMPLETED_WITHIN), ..StartOptions::default() };
                let saga = client.start(ON_ACCOUNT, &input, options).await.unwrap().saga;
                assert_eq!(saga.status, SagaStatus::Completed, "{saga:#?}");
                (Accepted { customer, lines, order_id, saga_id: saga.id }, begun.elapsed())
            });
        }
        let mut orders = orders.join_all().await;
        orders.sort_by_key(|(_, took)| *took);
        Run { orders }
    }

    fn slowest(&self) -> Duration {
        self.orders.last().expect("orders were placed").1
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percentile = |percent: usize| self.orders[(self.orders.len() - 1) * percent / 100].1;
        let (median, p99) = (percentile(50), percentile(99));
        let (count, slowest) = (self.orders.len(), self.slowest());
        write!(f, "{count} orders without payment, p50 {median:.1?}, p99 {p99:.1?}, slowest {slowest:.1?}")
    }
}

/// What the server says of itself at one moment.
#[derive(Debug)]
struct Sample {
    /// Sagas in memory.
    live: u64,
    /// Calls and compensations that are in flight to the payment service, or wait for a place there.
    calls_to_payment: u64,
    /// Commands that the payment service has not dealt with.
    waiting: u64,
}

impl Sample {
    async fn take(setting: &Setting) -> Sample {
        let url = format!("http://{}/metrics", setting.address);
        let text = setting.shop.http.get(url).send().await.unwrap().text().await.unwrap();
        let value = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
            let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        };
        let calls = ["calls_in_flight", "calls_waiting", "compensations_in_flight"];
        let depth = depth(setting).await;
        Sample {
            live: value("amends_sagas_live"),
            calls_to_payment: calls
                .map(|name| value(&format!("amends_{name}{{participant=\"payment\"}}")))
                .iter()
                .sum(),
            waiting: depth.ready + depth.invisible,
        }
    }
}

async fn watch(setting: &Setting, lasting: Duration) -> Vec<Sample> {
    let (mut samples, mut ticks) = (Vec::new(), interval(BETWEEN_SAMPLES));
    let end = Instant::now() + lasting;
    while ticks.tick().await < end {
        samples.push(Sample::take(setting).await);
    }
    samples
}
