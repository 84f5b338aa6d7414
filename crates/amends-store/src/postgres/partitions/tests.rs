use super::super::reads::EVENTS;
use super::super::statements::{FIND_WRITTEN, JUDGE, PLAIN, PUT_EVENTS, Sql};
use super::*;
use crate::{Commit, Forget, Incarnation, Outcome, PostgresStore, Rest, Store, Views, conformance};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;

const ME: Incarnation = Uuid::from_u128(0xA);

struct Opened {
    store: Arc<PostgresStore>,
    /// A connection beside those of the store.
    link: Link,
}

async fn open() -> Opened {
    let (store, link) = PostgresStore::open_for_test().await;
    store.enlist(ME, Timestamp(0)).await.unwrap();
    Opened { store: Arc::new(store), link }
}

/// A saga that was born in a period.
fn born_in(period: Period, number: u128) -> Uuid {
    Uuid::from_u128(period.ids()[0].as_u128() + number)
}

fn birth(saga: Uuid, rest: Rest) -> Commit {
    conformance::birth(saga.as_u128(), rest)
}

async fn commit(store: &PostgresStore, commit: Commit) {
    assert_eq!(store.commit(ME, vec![commit].into()).await.unwrap(), [Outcome::Committed]);
}

/// How many rows a table has.
async fn rows(link: &Link, table: &str) -> i64 {
    link.query_text(&format!("SELECT count(*) FROM amends.{table}"), &[]).await.unwrap()[0].get(0)
}

#[test]
fn a_period_is_known_by_its_ids_and_its_table() {
    let period = Period(688);
    let [from, to] = period.ids();
    assert_eq!(Period::of(&period.table()), Some(period));
    assert_eq!(Period::of("event_default"), None);
    assert_eq!((Period::at(period.begins()), Period::at(period.next().begins())), (period, Period(689)));
    assert!(from < to && period.next().ids()[0] == to);
    let born = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, period.begins().0 / 1_000, 0));
    assert!(from <= born && born < to, "{from} {born} {to}");
}

/// A server that has just started finds room for what is born now, and for what is born when this period has ended.
#[tokio::test]
async fn partitions_are_made_ahead_of_time() {
    let Opened { store, link } = open().await;
    let now = Period::at(reads::time(&link).await.unwrap());
    assert_eq!(present(&link).await.unwrap(), [now, now.next()]);
    link.run(&format!("DROP TABLE amends.{}", now.next().table())).await.unwrap();
    store.keep_up(None).await.unwrap();
    assert_eq!(present(&link).await.unwrap(), [now, now.next()]);
    commit(&store, birth(Uuid::now_v7(), Rest::Owned)).await;
    assert_eq!((rows(&link, &now.table()).await, rows(&link, "event_default").await), (1, 0));
}

/// What found no partition in time stays in the default one, can be read, and is forgotten all the same.
#[tokio::test]
async fn what_is_in_the_default_partition_stays_there() {
    let Opened { store, link } = open().await;
    let period = Period(10);
    let (saga, end) = (born_in(period, 1), period.next().begins());
    commit(&store, birth(saga, Rest::Finished(end))).await;
    add(&link, period).await.unwrap();
    assert!(!present(&link).await.unwrap().contains(&period));
    assert_eq!(store.saga(saga).await.unwrap().unwrap().sequence, 1);
    let request = Forget { finished_before: end.plus(1), after: Uuid::nil(), limit: 10, now: end };
    assert_eq!(store.forget(request).await.unwrap(), [saga]);
    assert_eq!(rows(&link, "event_default").await, 0);
}

/// Not before its time, and not while there is a saga of it, whatever has become of the others.
#[tokio::test]
async fn a_partition_is_dropped_when_all_of_it_is_forgotten() {
    let Opened { store, link } = open().await;
    let (first, second, third) = (Period(10), Period(11), Period(12));
    for period in [first, second, third] {
        add(&link, period).await.unwrap();
    }
    let end = second.next().begins();
    commit(&store, birth(born_in(first, 1), Rest::Finished(end))).await;
    commit(&store, birth(born_in(second, 1), Rest::Finished(end))).await;
    commit(&store, birth(born_in(second, 2), Rest::Parked)).await;
    let old = async || {
        let mut present = present(&link).await.unwrap();
        present.retain(|period| *period <= third);
        present
    };
    store.keep_up(Some(end)).await.unwrap();
    assert_eq!(old().await, [first, second, third], "none of them is forgotten");
    let request = Forget { finished_before: end.plus(1), after: Uuid::nil(), limit: 10, now: end };
    assert_eq!(store.forget(request).await.unwrap(), [born_in(first, 1), born_in(second, 1)]);
    store.keep_up(None).await.unwrap();
    store.keep_up(Some(Timestamp(first.next().begins().0 - 1))).await.unwrap();
    assert_eq!(old().await, [first, second, third], "none of them is past its time");
    store.keep_up(Some(end)).await.unwrap();
    assert_eq!(old().await, [second, third], "one saga is left of the second, and the third is not past its time");
    assert_eq!(store.saga(born_in(second, 2)).await.unwrap().unwrap().sequence, 1);
}

/// Statements that were prepared before are carried out after, and no commit is refused on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_while_partitions_come_and_go() {
    let Opened { store, link } = open().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut work = JoinSet::new();
    for _ in 0..3 {
        let (store, is_over) = (store.clone(), is_over.clone());
        work.spawn(async move {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let saga = Uuid::now_v7();
                commit(&store, birth(saga, Rest::Owned)).await;
                commit(&store, Commit { after: 1, birth: None, ..birth(saga, Rest::Finished(Timestamp(1))) }).await;
                assert_eq!(store.saga(saga).await.unwrap().unwrap().sequence, 2);
                count += 1;
            }
            count
        });
    }
    for period in (10..30).map(Period) {
        add(&link, period).await.unwrap();
    }
    for period in (10..30).map(Period) {
        drop_forgotten(&link, period).await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let counts: Vec<i32> = work.join_all().await;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(present(&link).await.unwrap().len(), 2);
}

/// The partitions that a statement looks into. It is prepared as the store prepares it, and carried out.
async fn looked_into(link: &Link, sql: &Sql, values: &str) -> BTreeSet<String> {
    let types: Vec<&str> = sql.types.iter().map(Type::name).collect();
    link.run(&format!("PREPARE hot ({}) AS {}", types.join(", "), sql.text)).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE hot ({values})");
    let mut tables = BTreeSet::new();
    for row in link.query_text(&explain, &[]).await.unwrap() {
        let line: String = row.get(0);
        let Some((_, period)) = line.split_once("Scan").and_then(|(_, on)| on.split_once(" on event_")) else {
            continue;
        };
        if !line.contains("never executed") {
            tables.insert(format!("event_{}", period.split(['_', ' ']).next().unwrap()));
        }
    }
    link.run("DEALLOCATE hot").await.unwrap();
    tables
}

/// However many partitions there are, what is asked of one saga is looked for in one of them.
#[tokio::test]
async fn a_saga_is_looked_for_in_its_own_partition_alone() {
    let Opened { store, link } = open().await;
    let period = Period(11);
    for period in (10..14).map(Period) {
        add(&link, period).await.unwrap();
    }
    let saga = born_in(period, 1);
    commit(&store, birth(saga, Rest::Owned)).await;
    let events = Sql { name: "events", text: EVENTS, types: &[Type::UUID_ARRAY], ..PLAIN };
    let cases = [
        (&events, format!("'{{{saga}}}'")),
        (&FIND_WRITTEN, format!("'{saga}', 1")),
        (&JUDGE, format!("'{{{saga}}}', '{{1}}', '{ME}'")),
        (&PUT_EVENTS, format!(r"'{{{saga}}}', '{{1}}', '{{1}}', '{{1}}', ARRAY['\x']::bytea[], '{ME}'")),
    ];
    for (sql, values) in cases {
        assert_eq!(looked_into(&link, sql, &values).await, BTreeSet::from([period.table()]), "{}", sql.name);
    }
}
