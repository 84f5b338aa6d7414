//! The relay between a store and an emulated SQS.

#![cfg(test)]

use crate::support::{New, QUEUE, at, emulator, message, now};
use crate::way::{State, Way};
use amends_core::time::Timestamp;
use amends_sqs::Relay;
use amends_store::queues::{NewMessage, Queues, ReceiveRequest};
use amends_store::{MemoryStore, PostgresOptions, PostgresStore, Processes, StoreAndViews};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A relay that runs.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start<S: StoreAndViews + 'static>(store: &Arc<S>, address: &str, queue: &str, lease_ms: u64) -> Running {
        let relay = Relay { queue: QUEUE.into(), store: store.clone(), queues: Arc::new(at(address, queue)), lease_ms };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(relay.run(async {
            stopped.await.expect("a relay is stopped before it is forgotten");
        }));
        Running { stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it still runs");
        self.task.await.expect("it ends in order");
    }
}

/// A store whose queue has so many messages.
async fn store_with(messages: usize) -> (Arc<MemoryStore>, Vec<String>) {
    let store = Arc::new(MemoryStore::new(Processes::Several));
    let ids = fill(&*store, messages).await;
    (store, ids)
}

async fn fill(store: &impl Queues, messages: usize) -> Vec<String> {
    let ids: Vec<String> = (0..messages).map(|number| format!("m-{number:03}")).collect();
    store.send_to(QUEUE, ids.iter().map(|id| message(id, "pay")).collect()).await.unwrap();
    ids
}

async fn left(store: &impl Queues) -> u64 {
    let depth = store.depth(QUEUE, now()).await.unwrap();
    assert_eq!(depth.dead, 0);
    depth.ready + depth.invisible
}

#[tokio::test]
async fn what_is_sent_while_sqs_is_away_arrives_when_it_is_back() {
    let new = New::standard().await;
    let (store, ids) = store_with(45).await;
    let way = Way::new(State::Cut).await;
    let relay = Running::start(&store, &way.address, &new.name, 60_000);
    way.stopped(6).await;
    assert_eq!(left(&*store).await, 45);
    way.set(State::Open);
    assert_eq!(new.drain(45).await, ids, "each of them once: none of them was sent before");
    way.set(State::Cut);
    store.send_to(QUEUE, vec![message("one more", "pay")]).await.unwrap();
    way.stopped(12).await;
    way.set(State::Open);
    assert_eq!(new.drain(1).await, ["one more"]);
    relay.stop().await;
    assert_eq!(left(&*store).await, 0);
}

#[tokio::test]
async fn what_is_sent_twice_has_the_same_id() {
    let new = New::standard().await;
    let (store, ids) = store_with(3).await;
    // The way is open while the queue's address is asked for: that answer must come.
    let way = Way::new(State::Open).await;
    let relay = Running::start(&store, &way.address, &new.name, 60_000);
    assert_eq!(new.drain(3).await, ids);
    way.set(State::Deaf);
    store.send_to(QUEUE, vec![message("again", "pay")]).await.unwrap();
    way.stopped(2).await;
    way.set(State::Open);
    let mut arrived = Vec::new();
    while arrived.len() < 2 {
        arrived.extend(new.drain(1).await);
    }
    assert!(arrived.iter().all(|id| id == "again"), "{arrived:?}");
    relay.stop().await;
    assert_eq!(left(&*store).await, 0);
}

#[tokio::test]
async fn a_relay_that_dies_leaves_its_messages_to_another() {
    let new = New::standard().await;
    let (store, ids) = store_with(5).await;
    let way = Way::new(State::Silent).await;
    let dead = Running::start(&store, &way.address, &new.name, 1_000);
    way.stopped(1).await;
    dead.task.abort();
    let relay = Running::start(&store, &emulator(), &new.name, 60_000);
    assert_eq!(new.drain(5).await, ids);
    relay.stop().await;
    assert_eq!(left(&*store).await, 0);
}

#[tokio::test]
async fn two_relays_share_the_work() {
    let new = New::standard().await;
    let database = test_postgres::database();
    let open = async || Arc::new(PostgresStore::open(PostgresOptions::new(database.clone())).await.unwrap());
    let stores = [open().await, open().await];
    let ids = fill(&*stores[0], 400).await;
    let relays = stores.each_ref().map(|store| Running::start(store, &emulator(), &new.name, 60_000));
    assert_eq!(new.drain(400).await, ids, "each of them once");
    for relay in relays {
        relay.stop().await;
    }
    assert_eq!(left(&*stores[0]).await, 0);
}

#[tokio::test]
async fn a_message_that_is_refused_waits_and_hinders_no_other() {
    let new = New::standard().await;
    let (store, ids) = store_with(12).await;
    let refused = NewMessage { at: Timestamp(0), ..message("a", "bell\u{7}") };
    store.send_to(QUEUE, vec![refused]).await.unwrap();
    let relay = Running::start(&store, &emulator(), &new.name, 60_000);
    assert_eq!(new.drain(12).await, ids);
    relay.stop().await;
    assert_eq!(left(&*store).await, 1);
    let request = |now| ReceiveRequest { limit: 9, now, wait_ms: 0, visibility_ms: 0, receives_max: 99 };
    let soon = store.receive_from(QUEUE, request(now())).await.unwrap();
    let later = store.receive_from(QUEUE, request(now().plus(900_000))).await.unwrap();
    assert_eq!((soon.len(), later.len()), (0, 1), "it is tried again, but not at once");
}

#[tokio::test]
async fn stopping_is_prompt_and_loses_nothing() {
    let new = New::standard().await;
    let (store, ids) = store_with(3).await;
    let way = Way::new(State::Silent).await;
    let relay = Running::start(&store, &way.address, &new.name, 60_000);
    way.stopped(1).await;
    let began = Instant::now();
    relay.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "SQS hangs: {:?}", began.elapsed());
    let request =
        ReceiveRequest { limit: 9, now: now().plus(60_000), wait_ms: 0, visibility_ms: 60_000, receives_max: 99 };
    let left = store.receive_from(QUEUE, request).await.unwrap();
    assert_eq!(left.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids);
    let idle = Running::start(&store, &emulator(), &new.name, 60_000);
    let began = Instant::now();
    idle.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "nothing is to be done: {:?}", began.elapsed());
}
