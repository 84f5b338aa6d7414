use super::errors::{Failure, OpenError};
use super::schema::{self, Migration};
use super::writer::Writing;
use super::{SqliteOptions, SqliteStore, audit, queues, reads, writer, writes};
use crate::columns;
use crate::conformance::{self, Subject};
use crate::{
    Acquired, Birth, Commit, Count, Counter, DeadLetterQuery, Outcome, Rest, Row, SagaQuery, Store, StoreError,
    StoredEvents, Views,
};
use amends_core::machine::Status;
use amends_core::time::Timestamp;
use rusqlite::{Connection, ffi};
use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tempfile::TempDir;
use uuid::Uuid;

const ME: Uuid = Uuid::from_u128(0xA);

struct Opened {
    store: SqliteStore,
    fatal: Receiver<String>,
    directory: TempDir,
}

fn options(path: &Path) -> (SqliteOptions, Receiver<String>) {
    let (sender, fatal) = channel();
    let sender = Mutex::new(sender);
    let on_fatal = Box::new(move |reason: &str| {
        let _ = sender.lock().unwrap().send(reason.to_owned());
    });
    (SqliteOptions { on_fatal, ..SqliteOptions::new(path) }, fatal)
}

async fn open() -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let (options, fatal) = options(&directory.path().join("amends.db"));
    let store = SqliteStore::open(options).unwrap();
    store.enlist(ME, Timestamp(0)).await.unwrap();
    Opened { store, fatal, directory }
}

fn birth(number: u128, body_bytes: usize) -> Commit {
    Commit {
        saga: Uuid::from_u128(number),
        after: 0,
        birth: Some(Birth {
            definition: "order".into(),
            version: "v1".into(),
            key: number.to_string(),
            fingerprint: "f".into(),
            dedupe: None,
            created_at: Timestamp(1),
        }),
        events: Some(StoredEvents { count: 1, at: Timestamp(1), body: vec![b'x'; body_bytes] }),
        row: Row { status: Status::Running, paused: false, reason: None, rest: Rest::Owned },
        changes_row: true,
        writes: Vec::new(),
        counts: Vec::new(),
    }
}

/// Stops the writer in the middle of a transaction, until the sender is dropped. Where something queued behind it fails,
/// this is run again like the rest, and a gate without its sender stands open.
async fn hold(store: &SqliteStore) -> (impl Future<Output = Result<(), StoreError>>, Sender<()>) {
    let (holding, held) = channel();
    let (open_gate, gate) = channel();
    let mut work = Box::pin(store.writer.perform(move |_| {
        let _ = holding.send(());
        let _ = gate.recv();
        Ok(())
    }));
    assert!(begin(work.as_mut()).is_pending());
    held.recv().unwrap();
    (work, open_gate)
}

/// Polls once, which is what puts a call in the writer's queue.
fn begin<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn calls_that_meet_share_a_transaction() {
    let Opened { store, .. } = open().await;
    let before = store.transactions();
    let (held, gate) = hold(&store).await;
    let mut calls: Vec<_> = (0..50).map(|number| Box::pin(store.commit(ME, vec![birth(number, 10)].into()))).collect();
    for call in &mut calls {
        assert!(begin(call.as_mut()).is_pending());
    }
    drop(gate);
    held.await.unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap(), [Outcome::Committed]);
    }
    assert_eq!(store.transactions() - before, 1);
}

/// However much is queued, its first caller is not kept waiting for all of it.
#[tokio::test]
async fn a_transaction_has_room_for_so_many_calls() {
    let Opened { store, .. } = open().await;
    let before = store.transactions();
    let (held, gate) = hold(&store).await;
    // With the one that holds the writer, they are one too many.
    let mut calls: Vec<_> = (0..writer::BATCH_JOBS_MAX).map(|_| Box::pin(store.writer.perform(|_| Ok(())))).collect();
    for call in &mut calls {
        assert!(begin(call.as_mut()).is_pending());
    }
    drop(gate);
    held.await.unwrap();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(store.transactions() - before, 2);
}

/// Statistics are sums, so this is seen only by those who look at the course of things.
#[tokio::test]
async fn counts_are_kept_under_the_minute_in_which_they_happened() {
    let Opened { store, directory, .. } = open().await;
    let count = |at| Count { definition: "order".into(), counter: Counter::Started, at: Timestamp(at) };
    let counts = [0, 59_999, 60_000, 119_999, 600_000, 60_001].map(count).into();
    store.commit(ME, vec![Commit { counts, ..birth(1, 10) }].into()).await.unwrap();
    let connection = Connection::open(directory.path().join("amends.db")).unwrap();
    let mut kept = connection.prepare("SELECT minute, value FROM count ORDER BY minute").unwrap();
    let kept: Vec<(i64, i64)> =
        kept.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(kept, [(0, 2), (1, 3), (10, 1)]);
}

/// What is said of them is the same, and the recent ones are kept by the minute.
#[tokio::test]
async fn counts_are_added_up_when_they_are_old() {
    const DAY: u64 = 24 * 60;
    let Opened { store, directory, .. } = open().await;
    let now = store.time().await.unwrap().0 / 60_000;
    let connection = Connection::open(directory.path().join("amends.db")).unwrap();
    for (days, minute) in [0, 1, 3, 40].into_iter().flat_map(|days| (0..DAY).map(move |minute| (days, minute))) {
        let minute = (now - days * DAY - minute) as i64;
        connection.execute("INSERT INTO count VALUES (?1, 'order', 'started', 1)", [minute]).unwrap();
    }
    for round in ["once", "again"] {
        store.keep_up(None).await.unwrap();
        assert_eq!(store.statistics().await.unwrap().started, 4 * DAY, "{round}");
        let count = |text: &str| connection.query_row(text, [now as i64], |row| row.get::<_, i64>(0)).unwrap();
        // The test may run over the end of a minute.
        let recent = count("SELECT count(*) FROM count WHERE minute > ?1 - 2 * 1440 + 1");
        let old = count("SELECT count(*) FROM count WHERE minute < ?1 - 2 * 1440 - 1");
        assert!((2 * 1_440 - 3..=2 * 1_440).contains(&recent), "{round}: {recent}");
        assert!((25..=29).contains(&old), "{round}: a row for each hour of one day, and for each of two days: {old}");
    }
}

#[tokio::test]
async fn a_poisoned_call_fails_alone() {
    let Opened { store, fatal, .. } = open().await;
    let before = store.transactions();
    let (held, gate) = hold(&store).await;
    let mut first = pin!(store.commit(ME, vec![birth(1, 10)].into()));
    let mut poisoned = pin!(store.writer.perform(|writing| {
        writing.sql.execute("INSERT INTO current_definition (name, version) VALUES ('half', 'done')", [])?;
        Ok(writing.sql.execute("INSERT INTO saga (id) VALUES (x'00')", [])?)
    }));
    let mut refused = pin!(store.commit(Uuid::from_u128(0xB), vec![birth(2, 10)].into()));
    let mut last = pin!(store.commit(ME, vec![birth(3, 10)].into()));
    assert!(begin(first.as_mut()).is_pending());
    assert!(begin(poisoned.as_mut()).is_pending());
    assert!(begin(refused.as_mut()).is_pending());
    assert!(begin(last.as_mut()).is_pending());
    drop(gate);
    held.await.unwrap();
    assert_eq!(first.await.unwrap(), [Outcome::Committed]);
    assert!(matches!(poisoned.await, Err(StoreError::Damaged(_))));
    assert!(matches!(refused.await, Err(StoreError::Fenced)));
    assert_eq!(last.await.unwrap(), [Outcome::Committed]);
    assert!(store.saga(Uuid::from_u128(1)).await.unwrap().is_some());
    assert!(store.definitions(crate::Which::Current).await.unwrap().is_empty());
    assert!(store.transactions() - before >= 3, "each was done again in a transaction of its own");
    assert!(fatal.try_recv().is_err());
}

/// Work that fails with these errors, one each time it is run, and how often that was.
fn failing(errors: &'static [c_int]) -> (impl FnMut(&mut Writing<'_>) -> Result<(), Failure> + Send, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let work = move |_: &mut Writing<'_>| {
        let error = ffi::Error::new(errors[counted.fetch_add(1, Ordering::Relaxed)]);
        Err(rusqlite::Error::SqliteFailure(error, None).into())
    };
    (work, runs)
}

/// Nobody else can have been the cause, and on a full disk each attempt is a transaction written for nothing.
#[tokio::test]
async fn a_call_that_failed_alone_is_not_tried_again() {
    let Opened { store, fatal, .. } = open().await;
    let (work, runs) = failing(&[ffi::SQLITE_FULL]);
    assert!(matches!(store.writer.perform(work).await, Err(StoreError::Unavailable(_))));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(fatal.try_recv().is_err());
}

/// The first failure only says that each call is to be done again alone; the second is as bad as any.
#[tokio::test]
async fn a_call_that_meets_a_failing_disk_when_it_is_done_again_ends_the_writer() {
    let Opened { store, fatal, .. } = open().await;
    let (held, gate) = hold(&store).await;
    let (work, runs) = failing(&[ffi::SQLITE_FULL, ffi::SQLITE_IOERR]);
    let mut failing = pin!(store.writer.perform(work));
    let mut last = pin!(store.commit(ME, vec![birth(1, 10)].into()));
    assert!(begin(failing.as_mut()).is_pending());
    assert!(begin(last.as_mut()).is_pending());
    drop(gate);
    held.await.unwrap();
    assert!(matches!(failing.await, Err(StoreError::Damaged(_))));
    assert!(fatal.try_recv().unwrap().contains("disk I/O error"));
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert!(matches!(last.await, Err(StoreError::Damaged(_))), "what is queued behind it is not done");
}

#[tokio::test]
async fn an_enlisting_that_was_rolled_back_has_not_happened() {
    let Opened { store, .. } = open().await;
    let (other, now) = (Uuid::from_u128(0xB), Timestamp(5));
    let half = store.writer.perform(move |writing| {
        writes::enlist(writing, other, now)?;
        Ok(writing.sql.execute("INSERT INTO saga (id) VALUES (x'00')", [])?)
    });
    assert!(matches!(half.await, Err(StoreError::Damaged(_))));
    assert_eq!(store.commit(ME, vec![birth(1, 10)].into()).await.unwrap(), [Outcome::Committed]);
    assert!(matches!(store.commit(other, Vec::new().into()).await, Err(StoreError::Fenced)));
}

/// One process has the file, so this cannot come about; were it to, nobody is to work on what another one owns.
#[tokio::test]
async fn what_a_stranger_owns_is_left_alone() {
    let Opened { store, .. } = open().await;
    let saga = Uuid::from_u128(1);
    store.commit(ME, vec![birth(1, 10)].into()).await.unwrap();
    let stranger = Uuid::from_u128(0xC);
    let steal = store
        .writer
        .perform(move |writing| Ok(writing.sql.execute("UPDATE saga SET owner = ?1", [stranger.as_bytes()])?));
    assert_eq!(steal.await.unwrap(), 1);
    let next = Commit { birth: None, after: 1, ..birth(1, 10) };
    assert_eq!(store.commit(ME, vec![next].into()).await.unwrap(), [Outcome::Stale]);
    assert_eq!(store.acquire(ME, saga).await.unwrap(), Acquired::Elsewhere(stranger));
}

#[tokio::test]
async fn readers_read_beside_an_open_transaction() {
    let Opened { store, .. } = open().await;
    store.commit(ME, vec![birth(1, 10)].into()).await.unwrap();
    let (held, gate) = hold(&store).await;
    assert!(store.saga(Uuid::from_u128(1)).await.unwrap().is_some());
    assert_eq!(store.sagas(SagaQuery { limit: 5, ..SagaQuery::default() }).await.unwrap().len(), 1);
    drop(gate);
    held.await.unwrap();
}

#[tokio::test]
async fn a_dropped_call_is_carried_out_and_a_dropped_store_finishes_its_queue() {
    let Opened { store, directory, .. } = open().await;
    let (held, gate) = hold(&store).await;
    for number in 0..20 {
        assert!(begin(pin!(store.commit(ME, vec![birth(number, 10)].into()))).is_pending());
    }
    drop(held);
    drop(gate);
    drop(store);
    assert!(!directory.path().join("amends.db-wal").exists(), "the log was moved into the file");
    let store = SqliteStore::open(SqliteOptions::new(directory.path().join("amends.db"))).unwrap();
    assert_eq!(store.sagas(SagaQuery { limit: 100, ..SagaQuery::default() }).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_full_disk_refuses_whole_commits_until_there_is_room() {
    let Opened { store, fatal, directory: _directory } = open().await;
    store.commit(ME, vec![birth(1, 10)].into()).await.unwrap();
    let store = Arc::new(store);
    let subject: Subject = Arc::clone(&store) as Subject;
    allow_pages(&store, Some(8)).await;
    let before = conformance::dump(&subject, ME).await.unwrap();
    let batch = vec![birth(2, 10), birth(3, 100_000)];
    let refused = store.commit(ME, batch.clone().into()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "got {refused:?}");
    assert_eq!(conformance::dump(&subject, ME).await.unwrap(), before);
    assert_eq!(
        store.commit(ME, vec![birth(4, 10)].into()).await.unwrap(),
        [Outcome::Committed],
        "a small one has room"
    );
    allow_pages(&store, None).await;
    assert_eq!(store.commit(ME, batch.into()).await.unwrap(), [Outcome::Committed, Outcome::Committed]);
    assert!(fatal.try_recv().is_err());
}

/// Lets the file grow by so many pages, or without bounds.
async fn allow_pages(store: &SqliteStore, room: Option<u32>) {
    let set = store.writer.perform(move |writing| {
        let now: u32 = writing.sql.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let most = room.map_or(u32::MAX - 1, |room| now + room);
        Ok(writing.sql.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?)
    });
    set.await.unwrap();
}

#[tokio::test]
async fn damage_that_the_writer_meets_ends_it_unanswered() {
    let Opened { store, directory, .. } = open().await;
    // The schema, without which the file cannot be opened at all, and what tables and indexes begin with.
    let spared = pages(&store).await;
    for number in 0..200 {
        store.commit(ME, vec![birth(number, 1_000)].into()).await.unwrap();
    }
    drop(store);
    let path = directory.path().join("amends.db");
    overwrite_behind(&path, spared);
    let (options, fatal) = options(&path);
    let store = SqliteStore::open(options).unwrap();
    let answer = store.enlist(ME, Timestamp(0)).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "got {answer:?}");
    assert!(fatal.try_recv().unwrap().contains("malformed"));
    // Nothing more is done, and nobody waits for it.
    assert!(matches!(store.claim(ME, Timestamp(0), 1).await, Err(StoreError::Damaged(_))));
    assert!(fatal.try_recv().is_err());
}

/// How many pages the file has.
async fn pages(store: &SqliteStore) -> u32 {
    let count =
        store.writer.perform(|writing| Ok(writing.sql.pragma_query_value(None, "page_count", |row| row.get(0))?));
    count.await.unwrap()
}

/// Damages a file behind its first pages.
fn overwrite_behind(path: &Path, pages: u32) {
    let spared = pages as usize * 4096;
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    file.seek(SeekFrom::Start(spared as u64)).unwrap();
    file.write_all(&vec![0xEE; bytes.len() - spared]).unwrap();
}

#[tokio::test]
async fn a_reader_that_meets_damage_says_so_and_the_store_goes_on() {
    let Opened { store, fatal, .. } = open().await;
    let broken = store.writer.perform(|writing| {
        writing.sql.execute(
            "INSERT INTO saga VALUES (x'00', 'd', 'v', 'k', 'f', 1, 'running', 0, NULL, NULL, NULL, NULL)",
            [],
        )?;
        Ok(())
    });
    broken.await.unwrap();
    let everything = SagaQuery { limit: 9, ..SagaQuery::default() };
    assert!(matches!(store.sagas(everything).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.commit(ME, vec![birth(1, 10)].into()).await.unwrap(), [Outcome::Committed]);
    assert!(store.saga(Uuid::from_u128(1)).await.unwrap().is_some());
    assert!(fatal.try_recv().is_err());
}

#[tokio::test]
async fn a_panic_in_the_writer_is_fatal() {
    let Opened { store, fatal, .. } = open().await;
    let answer = store.writer.perform(|_| -> Result<(), _> { panic!("a defect, on purpose") }).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))));
    assert_eq!(fatal.recv().unwrap(), "the writer panicked");
    assert!(matches!(store.commit(ME, Vec::new().into()).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn a_panic_in_a_reader_is_one_callers() {
    let Opened { store, fatal, .. } = open().await;
    for _ in 0..5 {
        let answer = store.readers.perform(|_| -> rusqlite::Result<()> { panic!("a defect, on purpose") }).await;
        assert!(matches!(answer, Err(StoreError::Damaged(_))));
    }
    assert_eq!(store.saga(ME).await.unwrap(), None);
    assert!(fatal.try_recv().is_err());
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_as_it_grows() {
    let Opened { store, directory, .. } = open().await;
    let size = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().len();
    for number in 0..60 {
        store.commit(ME, vec![birth(number, 1_000_000)].into()).await.unwrap();
    }
    let bound = u64::from(writer::CHECKPOINT_PAGES) * 4096 * 3 / 2;
    assert!(size("amends.db-wal") < bound, "the log has {} bytes", size("amends.db-wal"));
    assert!(size("amends.db") > 30_000_000, "the file has {} bytes", size("amends.db"));
}

/// SQLite on its own would do it much sooner, and where that fails nobody would hear of it.
#[tokio::test]
async fn the_log_is_moved_by_the_writer_and_not_by_sqlite() {
    let Opened { store, directory, .. } = open().await;
    let size = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().len();
    let before = size("amends.db");
    for number in 0..10 {
        store.commit(ME, vec![birth(number, 1_000_000)].into()).await.unwrap();
    }
    assert!(size("amends.db-wal") > 10_000_000, "the log has {} bytes", size("amends.db-wal"));
    assert_eq!(size("amends.db"), before);
}

/// What was answered as durable may be gone with it, so that nobody may go on as if nothing were wrong.
#[tokio::test]
async fn a_log_that_cannot_be_read_when_it_is_moved_is_fatal() {
    let Opened { store, fatal, directory } = open().await;
    store.commit(ME, vec![birth(1, 100_000)].into()).await.unwrap();
    File::options().write(true).open(directory.path().join("amends.db-wal")).unwrap().set_len(0).unwrap();
    drop(store);
    assert!(fatal.try_recv().unwrap().contains("disk I/O error"));
}

#[test]
fn every_status_is_read_as_it_is_written() {
    let next = |status| match status {
        Status::Running => Some(Status::Compensating),
        Status::Compensating => Some(Status::Completed),
        Status::Completed => Some(Status::Compensated),
        Status::Compensated => Some(Status::Stuck),
        Status::Stuck => None,
    };
    let mut all = std::iter::successors(Some(Status::Running), |status| next(*status));
    assert!(all.all(|status| columns::status(status.as_str()) == Some(status)));
    assert_eq!(columns::status("Running"), None);
}

/// What the writer asks on every commit, claim and receive, and what lists are made of, walks an index to its answer:
/// no table is read from end to end, and nothing is sorted.
#[tokio::test]
async fn hot_statements_search_and_never_scan() {
    let Opened { directory, .. } = open().await;
    let connection = Connection::open(directory.path().join("amends.db")).unwrap();
    let hot = [
        reads::SAGA,
        reads::EVENTS,
        reads::FORGETTABLE,
        writes::SAGA_BY_KEY,
        writes::SAGA_EXISTS,
        writes::DEDUPE,
        writes::SAGA_NOW,
        writes::CHANGE_SAGA,
        writes::DELETE_MESSAGE,
        writes::CLOSE_DEAD_LETTER,
        writes::DUE,
        writes::NEXT_DUE,
        writes::OWN,
        writes::READY,
        writes::TAKE_MESSAGE,
        writes::NEXT_MESSAGE,
        queues::DEAD_IDS,
        queues::READY_IN_QUEUE,
        queues::DEAD,
        queues::WAITING,
    ];
    for text in hot.into_iter().chain(writes::FORGET) {
        let plan = plan(&connection, text);
        assert!(plan.iter().all(|line| !line.contains("SCAN") && !line.contains("TEMP")), "{text}\n{plan:#?}");
    }
    let (definition, key) = (Some("order".to_owned()), Some("1".to_owned()));
    let (before, limit) = (Some(ME), 20);
    let (status, ended) = (Some(Status::Stuck), Some(Status::Compensated));
    let lists = [
        (SagaQuery { limit, ..SagaQuery::default() }, "PRIMARY KEY"),
        (SagaQuery { before, limit, ..SagaQuery::default() }, "PRIMARY KEY"),
        (SagaQuery { status, limit, ..SagaQuery::default() }, "saga_unfinished (status=? AND id<?)"),
        (SagaQuery { status, before, limit, ..SagaQuery::default() }, "saga_unfinished (status=? AND id<?)"),
        (SagaQuery { status: ended, limit, ..SagaQuery::default() }, "saga_compensated (status=? AND id<?)"),
        (SagaQuery { status: Some(Status::Completed), limit, ..SagaQuery::default() }, "PRIMARY KEY (id<?)"),
        (SagaQuery { definition: definition.clone(), limit, ..SagaQuery::default() }, "saga_by_definition"),
        (SagaQuery { key: key.clone(), limit, ..SagaQuery::default() }, "sqlite_autoindex_saga_2"),
        (SagaQuery { key: key.clone(), status, limit, ..SagaQuery::default() }, "sqlite_autoindex_saga_2"),
        (SagaQuery { key, definition, before, status, limit }, "sqlite_autoindex_saga_2"),
    ];
    for (query, index) in lists {
        let (text, _) = reads::sagas_statement(&query);
        let plan = plan(&connection, &text);
        assert!(plan[0].starts_with("SEARCH saga") && plan[0].contains(index), "{text}\n{plan:#?}");
        // Those of one key are one for each definition.
        assert!(plan.len() == 1 || query.key.is_some(), "{text}\n{plan:#?}");
    }
    let letters = |saga, definition, closed| DeadLetterQuery { definition, saga, closed, limit, ..letters_like(None) };
    let lists = [
        (letters(None, None, false), "dead_letter_open"),
        (letters(None, Some("order".into()), false), "dead_letter_open"),
        (letters(None, None, true), "PRIMARY KEY"),
        (letters(Some(ME), None, true), "dead_letter_by_saga"),
        (DeadLetterQuery { limit, ..letters_like(Some("00f1")) }, "dead_letter_alike"),
    ];
    for (query, index) in lists {
        let (text, _) = reads::dead_letters_statement(&query);
        let plan = plan(&connection, &text);
        assert!(plan[0].starts_with("SEARCH dead_letter") && plan[0].contains(index), "{text}\n{plan:#?}");
        assert!(plan.iter().all(|line| !line.contains("TEMP")), "{text}\n{plan:#?}");
    }
}

/// What is asked rarely may walk an index from end to end, if that holds only what was asked for.
#[tokio::test]
async fn rare_statements_walk_partial_indexes_alone() {
    let Opened { directory, .. } = open().await;
    let connection = Connection::open(directory.path().join("amends.db")).unwrap();
    let cases = [
        (writes::FREE, "saga_unfinished"),
        (writes::FREE_ALL_BUT, "saga_unfinished"),
        (reads::ORPHANS, "saga_parked"),
        (writes::WAKE_ORPHANS, "saga_parked"),
        (reads::DEAD_LETTERS_OPEN, "dead_letter_alike"),
        (audit::IS_UNSEALED, "audit_unsealed"),
        (audit::UNSEALED, "audit_unsealed"),
        (audit::SEALED, "audit_sealed"),
        (audit::HEAD, "audit_sealed"),
    ];
    for (text, index) in cases {
        let plan = plan(&connection, text);
        assert!(plan[0].contains(index), "{text}\n{plan:#?}");
        assert!(plan[1..].iter().all(|line| !line.contains("SCAN")), "{text}\n{plan:#?}");
    }
}

/// Open dead letters are counted in an index alone, and one of each group is looked up.
#[tokio::test]
async fn groups_of_dead_letters_are_counted_in_their_index() {
    let Opened { directory, .. } = open().await;
    let connection = Connection::open(directory.path().join("amends.db")).unwrap();
    let plan = plan(&connection, reads::DEAD_LETTER_GROUPS);
    let read: Vec<&String> = plan.iter().filter(|line| line.starts_with("S")).collect();
    let [counted, groups, letter, saga] = &read[..] else { panic!("{plan:#?}") };
    assert_eq!(*counted, "SCAN dead_letter USING COVERING INDEX dead_letter_alike", "{plan:#?}");
    assert_eq!(*groups, "SCAN alike", "{plan:#?}");
    assert!(letter.starts_with("SEARCH dead_letter") && saga.starts_with("SEARCH saga"), "{plan:#?}");
}

fn letters_like(fingerprint: Option<&str>) -> DeadLetterQuery {
    DeadLetterQuery { fingerprint: fingerprint.map(str::to_owned), ..DeadLetterQuery::default() }
}

fn plan(connection: &Connection, text: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
    let mut rows = statement.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        plan.push(row.get(3).unwrap());
    }
    plan
}

#[test]
fn a_ladder_is_climbed_step_by_step_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("amends.db");
    let mut connection = schema::open(&path).unwrap();
    let first = "CREATE TABLE one (a)";
    let second = "CREATE TABLE two (a)";
    let broken = "CREATE TABLE three (a); CREATE TABLE one (a)";
    let climbed = schema::climb(&path, &mut connection, &[first]).unwrap();
    assert_eq!(climbed, Migration { from: 0, to: 1 });
    assert!(schema::climb(&path, &mut connection, &[first, second, broken]).is_err());
    let climbed = schema::climb(&path, &mut connection, &[first, second]).unwrap();
    assert_eq!(climbed, Migration { from: 2, to: 2 }, "what stood before the broken step stays");
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 2);
    let refused = schema::climb(&path, &mut connection, &[first]);
    assert!(matches!(refused, Err(OpenError::Newer { found: 2, known: 1, .. })));
}
