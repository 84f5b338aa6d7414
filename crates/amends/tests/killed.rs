//! The real server, killed in the middle of its work and started again on the same file, while customers go on
//! ordering at the shop and calls to the services fail by chance. Whatever was in flight, every order ends.
//!
//! A failing run prints its seed; `KILLED_SEED=<seed> cargo test -p amends --test killed` makes the same choices
//! again, though not the same timing.

#![cfg(test)]

mod support;

use amends_client::{SagaQuery, SagaStatus};
use amends_idempotency::rusqlite::Connection;
use fastrand::Rng;
use serde_json::json;
use shop::{INITIAL_STOCK, Service};
use std::os::unix::process::ExitStatusExt;
use std::time::{SystemTime, UNIX_EPOCH};
use support::agreement::Evidence;
use support::child;
use support::customers::{Habits, Load};
use support::seeded;
use support::setting::{SOON_VISIBLE, Setting, until};

const SIGKILL: i32 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_nothing() {
    let mut random = seeded("KILLED_SEED");
    let setting = Setting::start(&mut random, "some", SOON_VISIBLE).await;
    let mut server = setting.serve().await;
    let load = Load::start(&setting, Habits { orders: 200, ..Habits::default() }, &mut random);
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
    let evidence = stopped_in_the_middle(&mut seeded("KILLED_SEED")).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_leaves_no_call_in_doubt() {
    // All calls in flight end within the grace, so none of them is interrupted.
    assert_eq!(stopped_in_the_middle(&mut seeded("KILLED_SEED")).await.interrupted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_gives_its_messages_back() {
    let mut random = seeded("KILLED_SEED");
    // One compensation a second, so that most messages that were received wait for their turn when the server stops.
    let setting = Setting::start(&mut random, "none", "per_second = 1").await;
    let declined = json!([{ "fault": "decline", "direction": "action" }]);
    setting.shop.put(Service::Payment, "/faults", &declined).await;
    let server = setting.serve().await;
    Load::start(&setting, Habits { orders: 12, ..Habits::default() }, &mut random).end().await;
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
    let load = Load::start(&setting, Habits { orders: 60, ..Habits::default() }, random);
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
