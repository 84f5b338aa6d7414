//! The real server, killed in the middle of its work and started again on the same file, while customers go on
//! ordering at the shop and calls to the services fail by chance. Whatever was in flight, every order ends.
//!
//! A failing run prints its seed; `KILLED_SEED=<seed> cargo test -p amends --test killed` makes the same choices
//! again, though not the same timing.

#![cfg(test)]

mod support {
    #[allow(dead_code, reason = "each test file uses other parts of it")]
    pub mod agreement;
    #[allow(dead_code, reason = "each test file uses other parts of it")]
    pub mod child;
    #[allow(dead_code, reason = "each test file uses other parts of it")]
    pub mod shop;
}

use amends_client::{Client, SagaQuery, SagaStatus, Statistics};
use amends_idempotency::rusqlite::Connection;
use amends_store::{Rest, SqliteOptions, SqliteStore, Views};
use fastrand::Rng;
use serde_json::{Value, json};
use shop::{CATALOGUE, INITIAL_STOCK, Service};
use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::agreement::{Accepted, Evidence};
use support::child::{self, Program, lasting_address};
use support::shop::Shop;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often an order is placed, whether or not the server is there.
const BETWEEN_ORDERS: Duration = Duration::from_millis(16);
/// How soon a customer who was not answered tries again.
const BETWEEN_CLICKS: Duration = Duration::from_millis(100);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);
const SIGKILL: i32 = 9;
/// A compensation that was in flight at a kill is not begun again before its message is visible again, and no test
/// waits for the minute that this takes by default.
const SOON_VISIBLE: &str = "visibility = \"3s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_nothing() {
    let mut random = seeded();
    let setting = Setting::start(&mut random, "some", SOON_VISIBLE).await;
    let mut server = setting.serve().await;
    let load = Load::start(&setting, 200, &mut random);
    for kill in 0..8 {
        // Each server is killed after it has accepted so many orders; some of them as soon as they take requests, and
        // so while they still take up what the one before them left.
        let more = if kill % 3 == 2 { 0 } else { random.usize(5..30) };
        load.wait_for(more).await;
        let statistics = setting.in_flight().await;
        let status = server.kill().await;
        assert_eq!(status.signal(), Some(SIGKILL), "it had ended by itself: {}", setting.log());
        eprintln!("kill {kill}, {more} orders after the start: {statistics:?}");
        server = setting.serve().await;
    }
    let accepted = load.end().await;
    let evidence = setting.settled(accepted).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
    setting.check_coverage(&evidence).await;
    assert!(evidence.interrupted() > 0, "no kill met a call in flight");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_gives_up_its_sagas_and_the_next_one_goes_on() {
    let evidence = stopped_in_the_middle(&mut seeded()).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_leaves_no_call_in_doubt() {
    // All calls in flight end within the grace, so none of them is interrupted.
    assert_eq!(stopped_in_the_middle(&mut seeded()).await.interrupted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_gives_its_messages_back() {
    let mut random = seeded();
    // One compensation a second, so that most messages that were received wait for their turn when the server stops.
    let setting = Setting::start(&mut random, "none", "per_second = 1").await;
    let declined = json!([{ "fault": "decline", "direction": "action" }]);
    setting.shop.put(Service::Payment, "/faults", &declined).await;
    let server = setting.serve().await;
    Load::start(&setting, 12, &mut random).end().await;
    let compensating = SagaQuery { status: Some(SagaStatus::Compensating), ..SagaQuery::default() };
    until(async || (setting.client.sagas(&compensating).await.unwrap().items.len() > 8).then_some(())).await;
    let status = server.terminate().await;
    assert!(status.success(), "{status}: {}", setting.log());
    let store = Connection::open(setting.path("amends.db")).unwrap();
    let messages: i64 = store.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
    assert!(messages > 0, "all was undone before the stop, so nothing was shown");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let in_hand = "SELECT count(*) FROM message WHERE receives > 0 AND visible_at > ?1";
    let in_hand: i64 = store.query_row(in_hand, [now], |row| row.get(0)).unwrap();
    // A new try counts the receives from 0 again, so these are in the hands of a server that does not exist any more.
    assert_eq!(in_hand, 0, "of {messages} messages");
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_and_told_who_has_it() {
    let setting = Setting::start(&mut Rng::with_seed(0), "none", SOON_VISIBLE).await;
    let first = setting.serve().await;
    let mut second = setting.arguments();
    second.extend(["--listen".into(), "127.0.0.1:0".into()]);
    let (succeeded, said) = child::run(&second).await;
    let holder = format!("process {} since", first.id());
    assert!(!succeeded && said.contains(&holder) && said.contains("amends.db"), "{said}");
    assert!(setting.client.is_ready().await, "the second server disturbed the first");

    // The lock ends with its holder, however that ends, though its file stays.
    first.kill().await;
    assert!(setting.folder.path().join("amends.db.lock").exists());
    let third = setting.serve().await;
    assert!(setting.client.is_ready().await);
    drop(third);
}

/// Stops a server in order in the middle of its work, looks at what it leaves, and lets another one go on to the end.
async fn stopped_in_the_middle(random: &mut Rng) -> Evidence {
    let setting = Setting::start(random, "some", SOON_VISIBLE).await;
    let server = setting.serve().await;
    let load = Load::start(&setting, 60, random);
    load.wait_for(random.usize(10..25)).await;
    let statistics = setting.in_flight().await;
    let status = server.terminate().await;
    assert!(status.success(), "{status}: {}", setting.log());
    let unfinished = setting.released().await;
    eprintln!("{unfinished} sagas were left, after {statistics:?}");
    assert!(unfinished > 0, "all sagas were finished when the server had stopped, so nothing was shown");

    let server = setting.serve().await;
    let accepted = load.end().await;
    let evidence = setting.settled(accepted).await;
    drop(server);
    evidence
}

/// Chance from a seed that is printed with a failure.
fn seeded() -> Rng {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let given = std::env::var("KILLED_SEED").ok();
    let seed = given.map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().expect("KILLED_SEED is a number"));
    eprintln!("seed {seed}; repeat with KILLED_SEED={seed} cargo test -p amends --test killed");
    Rng::with_seed(seed)
}

/// The shop, and a place for a server that comes and goes.
struct Setting {
    folder: TempDir,
    shop: Shop,
    client: Client,
}

impl Setting {
    /// Starts the shop with these faults, which stays for the whole test. `compensations` is what the server's
    /// configuration says about them.
    async fn start(random: &mut Rng, faults: &str, compensations: &str) -> Setting {
        let folder = tempfile::tempdir().unwrap();
        let address = lasting_address();
        let amends = format!("http://{address}");
        let shop = Shop::in_process(folder.path(), |options| {
            options.amends = (options.service == Service::Order).then(|| amends.clone());
            options.faults = faults.to_owned();
            options.seed = random.u64(..);
        });
        let shop = shop.await;
        std::fs::create_dir(folder.path().join("sagas")).unwrap();
        std::fs::write(folder.path().join("sagas/order-fulfilment.yaml"), shop::definition()).unwrap();
        std::fs::write(folder.path().join("amends.toml"), configuration(address, &shop, compensations)).unwrap();
        let client = Client::new(&amends).unwrap();
        Setting { folder, shop, client }
    }

    fn arguments(&self) -> Vec<OsString> {
        vec!["serve".into(), "--config".into(), self.path("amends.toml").into()]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        child::read(&self.path("server.log"))
    }

    /// Starts a server on the file of the one before it, at the same address.
    async fn serve(&self) -> Program {
        Program::start(&self.arguments(), &self.path("server.log")).await
    }

    /// Waits until sagas are in flight, and says how many.
    async fn in_flight(&self) -> Statistics {
        until(async || {
            let statistics = self.client.statistics().await.unwrap();
            assert_eq!(statistics.orphans, 0, "{statistics:?}");
            (statistics.in_flight > statistics.dead_letters).then_some(statistics)
        })
        .await
    }

    /// How many sagas a server that has stopped has left unfinished. None of them is anybody's.
    async fn released(&self) -> usize {
        let store = SqliteStore::open(SqliteOptions::new(self.path("amends.db"))).unwrap();
        let query = amends_store::SagaQuery { limit: 1_000, ..Default::default() };
        let sagas = store.sagas(query).await.unwrap();
        let owned: Vec<_> = sagas.iter().filter(|saga| saga.row.rest == Rest::Owned).collect();
        assert!(owned.is_empty(), "these are still owned by the server that stopped: {owned:?}");
        sagas.iter().filter(|saga| !matches!(saga.row.rest, Rest::Finished(_))).count()
    }

    /// Waits until no saga moves any more, and finds everything out about all of them.
    async fn settled(&self, accepted: Vec<Accepted>) -> Evidence {
        for status in [SagaStatus::Running, SagaStatus::Compensating, SagaStatus::Running] {
            until(async || {
                let query = SagaQuery { status: Some(status), limit: Some(1), ..SagaQuery::default() };
                self.client.sagas(&query).await.unwrap().items.is_empty().then_some(())
            })
            .await;
        }
        Evidence::gather(&self.client, &self.shop, accepted).await
    }

    /// A run in which nothing went wrong at the services, or no saga turned back, would show little.
    async fn check_coverage(&self, evidence: &Evidence) {
        let completed = evidence.with_status(SagaStatus::Completed).count();
        let compensated = evidence.with_status(SagaStatus::Compensated).count();
        assert!(completed > 0 && compensated > 0, "{completed} completed and {compensated} compensated");
        for service in [Service::Order, Service::Inventory, Service::Payment, Service::Shipping] {
            let faults = self.shop.get(service, "/faults").await;
            assert!(!faults["firings"].as_array().unwrap().is_empty(), "no fault of {service} struck");
        }
    }
}

fn configuration(address: SocketAddr, shop: &Shop, compensations: &str) -> String {
    let mut text = format!(
        "listen = \"{address}\"\nstore = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\n\
         [log]\nlevel = \"warn\"\n[compensations]\n{compensations}\n"
    );
    for service in Service::ALL {
        writeln!(text, "[participants.{service}]\nurl = \"{}\"", shop.url(service)).unwrap();
    }
    text
}

/// Customers that place orders, each until it is accepted.
struct Load {
    placing: tokio::task::JoinHandle<Vec<Accepted>>,
    accepted: watch::Receiver<usize>,
    orders: usize,
}

impl Load {
    fn start(setting: &Setting, orders: usize, random: &mut Rng) -> Load {
        let (count, accepted) = watch::channel(0);
        let (http, shop) = (setting.shop.http.clone(), setting.shop.url(Service::Order));
        let baskets: Vec<Value> = (0..orders).map(|_| basket(random)).collect();
        let placing = tokio::spawn(async move {
            let mut customers = JoinSet::new();
            let mut ticks = interval(BETWEEN_ORDERS);
            for (number, lines) in baskets.into_iter().enumerate() {
                ticks.tick().await;
                let (http, url, count) = (http.clone(), format!("{shop}/checkout"), count.clone());
                customers.spawn(async move {
                    let accepted = check_out(&http, &url, format!("customer-{number}"), lines).await;
                    count.send_modify(|count| *count += 1);
                    accepted
                });
            }
            customers.join_all().await
        });
        Load { placing, accepted, orders }
    }

    /// Waits until so many more orders were accepted, or all of them.
    async fn wait_for(&self, more: usize) {
        let mut accepted = self.accepted.clone();
        let target = (*accepted.borrow() + more).min(self.orders);
        timeout(PATIENCE, accepted.wait_for(|count| *count >= target)).await.expect("orders are accepted").unwrap();
    }

    /// Waits until all orders are accepted.
    async fn end(self) -> Vec<Accepted> {
        let accepted = timeout(PATIENCE, self.placing).await.expect("all orders are accepted").unwrap();
        assert_eq!(accepted.len(), self.orders);
        accepted
    }
}

/// What a customer buys.
fn basket(random: &mut Rng) -> Value {
    let product = CATALOGUE[random.usize(..CATALOGUE.len())];
    json!([{ "sku": product.sku, "quantity": random.u32(1..5), "price_cents": product.price_cents }])
}

/// Presses the button until the order is accepted.
async fn check_out(http: &reqwest::Client, url: &str, customer: String, lines: Value) -> Accepted {
    let body = json!({ "customer_id": customer, "lines": lines });
    let mut clicks = interval(BETWEEN_CLICKS);
    clicks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clicks.tick().await;
        let answer = http.post(url).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 202 {
            let told: Value = answer.json().await.unwrap();
            let [order_id, saga_id] = ["order_id", "saga_id"].map(|name| told[name].as_str().unwrap().to_owned());
            return Accepted { customer, lines, order_id, saga_id };
        }
        assert_eq!(status, 503, "{:?}", answer.text().await);
    }
}

/// Looks again and again until there is something to see.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut looks = interval(BETWEEN_LOOKS);
        loop {
            looks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    timeout(PATIENCE, looking).await.expect("it comes about in time")
}
