//! The claim, the handler's writes and the stored answer are one transaction, and only the layer ends it.

use crate::service::{Caller, Service, answer, keyed};
use amends_idempotency::rusqlite::Connection;
use amends_idempotency::{OpenError, Options, Store};
use axum::body::Body;
use axum::extract::Request;

fn scripted(key: &str) -> Request {
    let request = Request::post("/scripted").header("idempotency-key", key).header("content-type", "application/json");
    request.body(answer(201).into()).unwrap()
}

#[tokio::test]
async fn a_panic_rolls_back_and_frees_the_key() {
    let service = Service::new();
    for path in ["/panic", "/panic-inside", "/panic-elsewhere"] {
        for _ in 0..2 {
            let reply = service.send(keyed(path, "k", Body::empty())).await;
            assert_eq!(reply.problem(), (500, "handler-failed".into()), "{path}");
        }
        assert_eq!((service.effects(), service.records()), (0, 0), "{path}");
    }
    assert_eq!(service.send(scripted("k")).await.status, 201, "the connection and the key are free again");
}

#[tokio::test]
async fn a_handler_that_commits_or_breaks_its_transaction_leaves_nothing() {
    let service = Service::new();
    for path in ["/commits", "/breaks"] {
        for _ in 0..2 {
            let reply = service.send(keyed(path, "k", Body::empty())).await;
            assert_eq!(reply.problem(), (500, "transaction-failed".into()), "{path}");
        }
        assert_eq!((service.effects(), service.records()), (0, 0), "{path}");
    }
    assert_eq!(service.send(scripted("k")).await.status, 201);
}

#[tokio::test]
async fn the_answer_is_not_given_before_the_commit() {
    let service = Service::new();
    for _ in 0..2 {
        let reply = service.send(keyed("/dangling", "k", Body::empty())).await;
        assert_eq!(reply.problem(), (503, "store-unavailable".into()), "the handler's 201 went out");
    }
    assert_eq!((service.effects(), service.records()), (0, 0));
}

#[tokio::test]
async fn a_transaction_that_outlives_its_handler_is_of_no_use() {
    let service = Service::new();
    assert_eq!(service.send(keyed("/late", "k", Body::empty())).await.status, 201);
    service.signals.open.add_permits(1);
    service.signals.ended.acquire().await.unwrap().forget();
    assert_eq!((service.effects(), service.records()), (0, 1));
}

#[tokio::test]
async fn a_store_that_is_down_fails_closed() {
    let service = Service::new();
    service.database().execute_batch("ALTER TABLE amends_idempotency RENAME TO elsewhere").unwrap();
    let reply = service.send(scripted("k")).await;
    assert_eq!(reply.problem(), (503, "store-unavailable".into()));
    assert!(reply.asks_again());
    assert_eq!(service.effects(), 0, "the handler ran without a claim");
    service.database().execute_batch("ALTER TABLE elsewhere RENAME TO amends_idempotency").unwrap();
    assert_eq!(service.send(scripted("k")).await.status, 201);
}

#[tokio::test]
async fn a_database_that_another_process_has_locked_fails_closed() {
    let service = Service::new();
    let other = service.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(service.send(scripted("k")).await.problem(), (503, "store-unavailable".into()));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(service.effects(), 0);
    assert_eq!(service.send(scripted("k")).await.status, 201);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_not_guessed_at() {
    let service = Service::new();
    service.send(scripted("k")).await;
    service.database().execute_batch("UPDATE amends_idempotency SET headers = '{'").unwrap();
    assert_eq!(service.send(scripted("k")).await.problem(), (503, "store-unavailable".into()));
    assert_eq!(service.effects(), 1);
}

#[tokio::test]
async fn records_outlive_the_process() {
    let service = Service::with(Options::default(), Caller::Single);
    let first = service.send(scripted("k")).await;
    let database = service.database();
    let mode: String = database.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let kept: Vec<u8> = database.query_row("SELECT body FROM amends_idempotency", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, first.body);
}

#[tokio::test]
async fn a_database_that_forgets_is_refused() {
    let error = Store::new(Connection::open_in_memory().unwrap()).err();
    assert!(matches!(error, Some(OpenError::NotDurable { mode }) if mode == "memory"));
}

#[tokio::test]
async fn reads_wait_for_no_writer_and_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("service.db")).unwrap();
    connection.execute_batch("CREATE TABLE orders (id INTEGER)").unwrap();
    let store = Store::new(connection).unwrap();
    let other = Connection::open(folder.path().join("service.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; INSERT INTO orders VALUES (1)").unwrap();
    let count =
        || store.read(|database| database.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)));
    assert_eq!(count().await.unwrap(), 0);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(count().await.unwrap(), 1);
    assert!(store.read(|database| database.execute("INSERT INTO orders VALUES (2)", [])).await.is_err());
}
