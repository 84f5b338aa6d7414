//! How many commits a second the SQLite store takes, how long each waits, and how much is written for it.
//!
//! `cargo run --release -p amends-store --example commits -- DIRECTORY CALLERS SAGAS SECONDS`
//!
//! Each caller has so many sagas at a time and takes them in turn through five commits of two events each: birth, three
//! steps and the end. Bytes are what the kernel was asked to write to storage (Linux), the moves from the log into the file included.

use amends_core::machine::Status;
use amends_core::time::Timestamp;
use amends_store::{
    Birth, Commit, Count, Counter, Incarnation, Outcome, Rest, Row, SqliteOptions, SqliteStore, Store, StoredEvents,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const STEPS: u64 = 5;
const EVENTS: u64 = 2;
const BODY_BYTES: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, callers, sagas, seconds] = arguments.as_slice() else {
        panic!("DIRECTORY CALLERS SAGAS SECONDS");
    };
    let sagas: usize = sagas.parse().expect("SAGAS is a number");
    let callers: u32 = callers.parse().expect("CALLERS is a number");
    let length = Duration::from_secs(seconds.parse().expect("SECONDS is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built").block_on(measure(directory, callers, sagas, length));
}

async fn measure(directory: &str, callers: u32, sagas: usize, length: Duration) {
    let path = std::path::Path::new(directory).join(format!("commits-{}.db", Uuid::now_v7()));
    let store = Arc::new(SqliteStore::open(SqliteOptions::new(path)).expect("the store can be opened"));
    let me = Uuid::now_v7();
    store.enlist(me, now()).await.expect("it can be enlisted with");
    let (bytes_before, begun) = (bytes_written(), Instant::now());
    let transactions_before = store.transactions();
    let callers: Vec<_> =
        (0..callers).map(|_| tokio::spawn(call(Arc::clone(&store), me, sagas, begun + length))).collect();
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.expect("no caller panics"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let transactions = store.transactions() - transactions_before;
    drop(store);
    let bytes = bytes_written() - bytes_before;
    waits.sort_unstable();
    let (commits, percentile) = (waits.len(), |part: usize| waits[(waits.len() - 1) * part / 1_000]);
    println!(
        "{:.0} commits/s, {:.1} a transaction; waited {:?} (p50) {:?} (p99) {:?} (p99.9); {} bytes written a commit",
        commits as f64 / seconds,
        commits as f64 / transactions as f64,
        percentile(500),
        percentile(990),
        percentile(999),
        bytes / commits as u64,
    );
}

async fn call(store: Arc<SqliteStore>, me: Incarnation, sagas: usize, until: Instant) -> Vec<Duration> {
    let mut waits = Vec::new();
    // They begin at different steps, so that from the first round on every kind of commit is in every transaction.
    let mut at_work: Vec<(Uuid, u64)> = Vec::new();
    while Instant::now() < until {
        if at_work.len() < sagas {
            at_work.push((Uuid::now_v7(), 0));
        }
        for (saga, after) in &mut at_work {
            let begun = Instant::now();
            let outcomes = store.commit(me, vec![commit(*saga, *after)].into()).await.expect("the store takes it");
            assert_eq!(outcomes, [Outcome::Committed]);
            waits.push(begun.elapsed());
            *after += EVENTS;
            if *after == STEPS * EVENTS {
                (*saga, *after) = (Uuid::now_v7(), 0);
            }
        }
    }
    waits
}

fn commit(saga: Uuid, after: u64) -> Commit {
    let birth = || Birth {
        definition: "order-fulfilment".into(),
        version: "f".repeat(64),
        key: format!("order-{saga}"),
        fingerprint: "a".repeat(64),
        dedupe: None,
        created_at: now(),
    };
    let last = after + EVENTS == STEPS * EVENTS;
    let (status, rest) = if last { (Status::Completed, Rest::Finished(now())) } else { (Status::Running, Rest::Owned) };
    let counter = if last { Counter::Completed } else { Counter::Started };
    let count = Count { definition: "order-fulfilment".into(), counter, at: now() };
    Commit {
        saga,
        after,
        birth: (after == 0).then(birth),
        events: Some(StoredEvents { count: EVENTS, at: now(), body: vec![b'x'; BODY_BYTES] }),
        row: Row { status, paused: false, reason: None, rest },
        changes_row: last || after == 0,
        writes: Vec::new(),
        counts: if last || after == 0 { vec![count] } else { Vec::new() },
    }
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(now.as_millis()).unwrap_or_default())
}

fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}
