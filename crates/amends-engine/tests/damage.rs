//! One saga that cannot be read, found at a start: it is set aside, in plain sight, and the others go on.

#![cfg(test)]

mod support;

use amends_core::lint;
use amends_core::machine::{Operator, Settlement, Status};
use amends_engine::{Engine, EngineOptions, Order, Participant, Settings, StartRequest};
use amends_store::{DeadLetterQuery, SqliteOptions, SqliteStore, Views};
use serde_json::json as value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Behaviour, Scripted, json};
use tokio::time::timeout;
use uuid::Uuid;

const DEFINITION: &str = r#"
saga: order
key: "{{ input.id }}"
steps:
  reserve:
    action: { post: "shop:/reserve", timeout: 60s }
    compensation: { post: "shop:/release" }
"#;

async fn engine(path: &Path, shop: &Scripted) -> (Engine, Arc<SqliteStore>) {
    let store = Arc::new(SqliteStore::open(SqliteOptions::new(path)).expect("the file is a store"));
    let url = format!("http://{}", shop.address).parse().expect("an address makes a URL");
    let mut settings = Settings { sweep_ms: 20, ..Settings::default() };
    settings.participants.insert("shop".into(), Participant::at(url));
    let options = EngineOptions { store: store.clone(), views: store.clone(), settings };
    (Engine::start(options).await.expect("the store takes an engine"), store)
}

fn start(id: &str, wait_ms: Option<u64>) -> StartRequest {
    StartRequest { definition: "order".into(), input: Arc::new(value!({ "id": id })), traceparent: None, wait_ms }
}

/// Where this saga stands, once it is finished or stuck.
async fn settled(store: &SqliteStore, engine: &Engine, saga: Uuid) -> Status {
    let patience = Duration::from_secs(30);
    timeout(patience, settles(store, engine, saga)).await.expect("the saga comes to rest in time")
}

async fn settles(store: &SqliteStore, engine: &Engine, saga: Uuid) -> Status {
    let mut committed = engine.committed();
    loop {
        let record = store.saga(saga).await.expect("it can be read").expect("it is there");
        if !matches!(record.row.status, Status::Running | Status::Compensating)
            && record.row.rest != amends_store::Rest::Owned
        {
            return record.row.status;
        }
        let _told_or_not = timeout(Duration::from_millis(20), committed.recv()).await;
    }
}

#[tokio::test]
async fn a_damaged_saga_is_set_aside_and_the_others_go_on() {
    let cases = [
        ("UPDATE saga SET status = 'confused' WHERE key = 'two'", "no status of a saga", true),
        (
            "UPDATE events SET first = 2 WHERE first = 1 AND saga = (SELECT id FROM saga WHERE key = 'two')",
            "event 1 is missing",
            false,
        ),
    ];
    for (sql, why, can_be_read_again) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("amends.db");
        let shop = Scripted::start().await;
        shop.answers("/reserve", [Behaviour::Silence]);
        let (first, store) = engine(&path, &shop).await;
        let compiled = lint::compile(DEFINITION).expect("the test's definition is valid");
        first.put_definition(DEFINITION, compiled, "a test").await.expect("the store takes a definition");
        let mut sagas = Vec::new();
        for id in ["one", "two", "three"] {
            sagas.push(first.start_saga(start(id, None)).await.expect("the start is accepted").saga.id);
        }
        first.stop(0).await.expect("the store lets go");
        drop((first, store));
        let file = rusqlite::Connection::open(&path).expect("the file is free");
        assert_eq!(file.execute(sql, []).expect("it is valid SQL"), 1, "{sql}");
        drop(file);

        shop.answers("/reserve", [json(200, "{}")]);
        let (second, store) = engine(&path, &shop).await;
        let mut outcomes = Vec::new();
        for saga in &sagas {
            outcomes.push(settled(&store, &second, *saga).await);
        }
        assert_eq!(outcomes, [Status::Completed, Status::Stuck, Status::Completed], "{sql}");
        let open = DeadLetterQuery { limit: 9, ..DeadLetterQuery::default() };
        let letters = store.dead_letters(open.clone()).await.expect("they can be read");
        assert_eq!((letters.len(), letters[0].saga), (1, sagas[1]));
        assert!(letters[0].error.contains(why), "{}", letters[0].error);
        assert_eq!(store.statistics().await.expect("they can be read").orphans, 0);

        let (_, letter) = letters[0].id.rsplit_once('.').expect("an id ends in a number");
        let settle = Order::Settle {
            letter: letter.parse().expect("an id ends in a number"),
            settlement: Settlement::Retry,
            operator: Operator { actor: "kim".into(), reason: "the disk was mended".into() },
            seen: None,
        };
        assert_eq!(second.order(sagas[1], settle).await.is_ok(), can_be_read_again, "{sql}");
        let expected = if can_be_read_again { Status::Completed } else { Status::Stuck };
        assert_eq!(settled(&store, &second, sagas[1]).await, expected, "{sql}");
        let left = store.dead_letters(open).await.expect("they can be read").len();
        assert_eq!(left, usize::from(!can_be_read_again), "{sql}");
        second.stop(0).await.expect("the store lets go");
    }
}
