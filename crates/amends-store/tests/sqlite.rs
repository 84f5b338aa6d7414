//! What is SQLite's own: the file, who may have it, and what is in it after a crash.

#![allow(clippy::unwrap_used, reason = "as in any test; this also covers what the tests share")]

use amends_core::machine::Status;
use amends_core::time::Timestamp;
use amends_store::conformance::dump;
use amends_store::{
    AuditLog, Birth, Commit, Count, Counter, Deed, Migration, OpenError, Outcome, Rest, Row, SagaQuery, SqliteOptions,
    SqliteStore, Store, StoreAndViews, StoredDefinition, StoredEvents, Views, Write, migrate,
};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

const ME: Uuid = Uuid::from_u128(0xA);

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("amends.db");
    (directory, path)
}

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(SqliteOptions::new(path))
}

fn commit(saga: Uuid, after: u64, rest: Rest) -> Commit {
    let birth = Birth {
        definition: "order".into(),
        version: "v1".into(),
        key: saga.to_string(),
        fingerprint: "f".into(),
        dedupe: None,
        created_at: Timestamp(1),
    };
    let count = Count { definition: "order".into(), counter: Counter::Started, at: Timestamp(1) };
    Commit {
        saga,
        after,
        birth: (after == 0).then_some(birth),
        events: Some(StoredEvents { count: 1, at: Timestamp(after), body: after.to_string().into_bytes() }),
        row: Row { status: Status::Running, paused: false, reason: None, rest },
        changes_row: true,
        writes: Vec::new(),
        counts: if after == 0 { vec![count] } else { Vec::new() },
    }
}

#[tokio::test]
async fn everything_is_there_when_a_store_is_opened_again() {
    let (_directory, path) = place();
    let store: Arc<dyn StoreAndViews> = Arc::new(open(&path).unwrap());
    store.enlist(ME, Timestamp(0)).await.unwrap();
    let source = "saga: order".to_owned();
    let (name, version, created_at) = ("order".to_owned(), "v1".to_owned(), Timestamp(1));
    let subject = "order v1".to_owned();
    let deed = Deed { actor: "kim".into(), action: "put definition".into(), subject, at: Timestamp(1) };
    store.put_definition(StoredDefinition { name, version, source, created_at }, deed).await.unwrap();
    let message = Write::PutMessage { step: "charge".into(), participant: "payment".into(), at: Timestamp(7) };
    let letter = Write::OpenDeadLetter {
        id: "letter-1".into(),
        step: None,
        direction: "saga".into(),
        claim: "unknown".into(),
        error: "e".into(),
        fingerprint: "f".into(),
        participant: None,
        at: Timestamp(1),
    };
    let (actor, action, reason) = ("kim".to_owned(), "skip".to_owned(), "r".to_owned());
    let audit = Write::Audit { actor, action, step: None, reason, at: Timestamp(1) };
    let rests = [Rest::Until(Timestamp(5)), Rest::Parked, Rest::Finished(Timestamp(9))];
    for (number, rest) in (1..).zip(rests) {
        let first = commit(Uuid::from_u128(number), 0, rest);
        let writes = if rest == Rest::Parked { vec![message.clone(), letter.clone(), audit.clone()] } else { vec![] };
        store.commit(ME, vec![Commit { writes, ..first }].into()).await.unwrap();
    }
    let before = dump(&store, ME).await.unwrap();
    drop(store);
    let store: Arc<dyn StoreAndViews> = Arc::new(open(&path).unwrap());
    store.enlist(Uuid::from_u128(0xB), Timestamp(0)).await.unwrap();
    assert_eq!(dump(&store, Uuid::from_u128(0xB)).await.unwrap(), before);
}

#[tokio::test]
async fn who_opens_a_store_again_takes_over_what_was_owned() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.enlist(ME, Timestamp(0)).await.unwrap();
    let saga = Uuid::from_u128(1);
    store.commit(ME, vec![commit(saga, 0, Rest::Owned)].into()).await.unwrap();
    drop(store);
    let store = open(&path).unwrap();
    store.commit(ME, Vec::new().into()).await.expect_err("an incarnation is one process's");
    assert_eq!(store.saga(saga).await.unwrap().unwrap().row.rest, Rest::Owned, "nobody has taken over yet");
    let other = Uuid::from_u128(0xB);
    store.enlist(other, Timestamp(50)).await.unwrap();
    let claimed = store.claim(other, Timestamp(50), 10).await.unwrap();
    assert_eq!(claimed.records.iter().map(|record| record.id).collect::<Vec<_>>(), [saga]);
}

/// Who is killed between a commit and its sealing has lost nothing: whoever opens the store next seals it, behind what was sealed.
#[tokio::test]
async fn what_was_not_sealed_is_sealed_by_the_next() {
    let (_directory, path) = place();
    for number in 1..=3 {
        let store = open(&path).unwrap();
        let me = Uuid::from_u128(0xA0 + number);
        store.enlist(me, Timestamp(0)).await.unwrap();
        let (actor, action, reason) = ("kim".to_owned(), "pause".to_owned(), number.to_string());
        let entry = Write::Audit { actor, action, step: None, reason, at: Timestamp(1) };
        let first = commit(Uuid::from_u128(number), 0, Rest::Owned);
        store.commit(me, vec![Commit { writes: vec![entry], ..first }].into()).await.unwrap();
        if number == 2 {
            assert_eq!(store.seal(1).await.unwrap().unwrap().number, 1);
        }
    }
    let store = open(&path).unwrap();
    while store.seal(1).await.unwrap().is_some() {}
    let reasons: Vec<String> = store.sealed(0, 10).await.unwrap().into_iter().map(|entry| entry.reason).collect();
    assert_eq!(reasons, ["1", "2", "3"]);
}

/// Not by mistake, that is: whoever owns the file can take the triggers away.
#[tokio::test]
async fn the_audit_log_is_neither_changed_nor_deleted_from() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.enlist(ME, Timestamp(0)).await.unwrap();
    for number in 1..=2 {
        let (actor, action, reason) = ("kim".to_owned(), "pause".to_owned(), number.to_string());
        let entry = Write::Audit { actor, action, step: None, reason, at: Timestamp(1) };
        let first = commit(Uuid::from_u128(number), 0, Rest::Owned);
        store.commit(ME, vec![Commit { writes: vec![entry], ..first }].into()).await.unwrap();
        if number == 1 {
            store.seal(10).await.unwrap().unwrap();
        }
    }
    for refused in [
        "UPDATE audit SET reason = 'another' WHERE number = 1",
        "UPDATE audit SET number = NULL, hash = NULL WHERE number = 1",
        "UPDATE audit SET reason = 'another' WHERE number IS NULL",
        "DELETE FROM audit WHERE number = 1",
        "DELETE FROM audit WHERE number IS NULL",
    ] {
        let error = Connection::open(&path).unwrap().execute(refused, []).unwrap_err();
        assert!(error.to_string().contains("never"), "{refused}: {error}");
    }
    assert_eq!(store.seal(10).await.unwrap().unwrap().number, 2);
}

/// Changes the file behind the store's back, as a fault of a disk or of a person would.
fn damage(path: &Path, sql: &str) {
    assert!(Connection::open(path).unwrap().execute(sql, []).unwrap() > 0, "{sql}");
}

/// What is wrong with one saga is that saga's: the others are claimed, and it can be set aside.
#[tokio::test]
async fn a_damaged_saga_is_handed_out_as_such_and_hinders_no_other() {
    let cases = [
        ("UPDATE saga SET status = 'confused' WHERE key LIKE '%2'", "`confused` is no status of a saga"),
        ("UPDATE saga SET created_at = -1 WHERE key LIKE '%2'", "-1"),
        ("UPDATE saga SET key = CAST(x'ff' AS TEXT) WHERE key LIKE '%2'", "invalid utf-8"),
        ("UPDATE events SET at = -1 WHERE last = 2", "events 2 to 2"),
        ("DELETE FROM events WHERE last = 2", "event 2 is missing"),
        ("DELETE FROM events WHERE last = 1 AND saga = (SELECT saga FROM events WHERE last = 2)", "event 1 is missing"),
        ("UPDATE events SET first = 7, last = 7 WHERE last = 3", "event 3 is missing"),
        ("UPDATE events SET first = 4, last = 9223372036854775807 WHERE last = 3", "event 3 is missing"),
        ("UPDATE events SET first = 2 WHERE last = 3", "event 3 is missing"),
    ];
    for (sql, why) in cases {
        let (_directory, path) = place();
        let store = open(&path).unwrap();
        store.enlist(ME, Timestamp(0)).await.unwrap();
        let (one, two, three) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let due = Rest::Until(Timestamp(5));
        let commits = [(one, 0, due), (two, 0, Rest::Owned), (two, 1, Rest::Owned), (two, 2, due), (three, 0, due)];
        for (saga, after, rest) in commits {
            store.commit(ME, vec![commit(saga, after, rest)].into()).await.unwrap();
        }
        damage(&path, sql);
        let claimed = store.claim(ME, Timestamp(5), 10).await.unwrap();
        let seen: Vec<_> = claimed.records.iter().map(|record| (record.id, record.damage.is_some())).collect();
        assert_eq!(seen, [(one, false), (two, true), (three, false)], "{sql}");
        let record = &claimed.records[1];
        assert!(record.damage.as_ref().unwrap().contains(why), "{record:?}");
        assert!(record.events.iter().zip(0..).all(|(event, number)| event.at == Timestamp(number)), "{record:?}");
        assert_eq!(store.sagas(SagaQuery { limit: 9, ..SagaQuery::default() }).await.unwrap().len(), 3, "{sql}");
        assert_eq!(store.saga(two).await.unwrap().as_ref(), Some(record));
        // It is set aside: the row says so, and nobody finds it due any more.
        let row = Row { status: Status::Stuck, paused: false, reason: Some(why.into()), rest: Rest::Parked };
        let aside = Commit { events: None, row: row.clone(), ..commit(two, record.sequence, Rest::Parked) };
        assert_eq!(store.commit(ME, vec![aside].into()).await.unwrap(), [Outcome::Committed], "{sql}");
        assert_eq!(store.saga(two).await.unwrap().unwrap().row, row);
        assert_eq!(store.claim(ME, Timestamp(9), 10).await.unwrap(), Default::default());
        let stuck = SagaQuery { status: Some(Status::Stuck), limit: 9, ..SagaQuery::default() };
        assert_eq!(store.sagas(stuck).await.unwrap().len(), 1, "{sql}");
    }
}

#[test]
fn a_second_server_is_refused_and_told_who_has_the_store() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Held { .. }));
    let text = refused.to_string();
    assert!(text.contains(&format!("in use by process {} since 20", std::process::id())), "{text}");
    assert!(matches!(migrate(&path), Err(OpenError::Held { .. })));
    let around = directory.path().join("x").join("..").join("amends.db");
    fs::create_dir(directory.path().join("x")).unwrap();
    assert!(matches!(open(&around), Err(OpenError::Held { .. })), "another way to the same file");
    #[cfg(unix)]
    {
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(open(&link), Err(OpenError::Held { .. })), "a link to the same file");
    }
    drop(store);
    open(&path).unwrap();
}

#[test]
fn a_store_of_a_newer_program_is_refused() {
    let (_directory, path) = place();
    drop(open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, known: 1, .. }), "{refused}");
    assert!(matches!(migrate(&path), Err(OpenError::Newer { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let (directory, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1").unwrap();
    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().pragma_update(None, "application_id", 7).unwrap();
    let text = directory.path().join("notes.txt");
    fs::write(&text, "These are notes and not a database, whatever their length may be.\n".repeat(90)).unwrap();
    for path in [path, other, text] {
        let before = fs::read(&path).unwrap();
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::NotAStore { .. }), "{refused}");
        assert!(matches!(migrate(&path), Err(OpenError::NotAStore { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_place_where_no_store_can_be_is_refused_with_the_reason() {
    let (directory, _) = place();
    let refused = open(directory.path()).unwrap_err().to_string();
    assert!(refused.contains("it is a directory"), "{refused}");
    let refused = open(&directory.path().join("missing").join("amends.db")).unwrap_err().to_string();
    assert!(refused.contains("its directory: No such file or directory"), "{refused}");
    assert!(matches!(open(Path::new("..")), Err(OpenError::Unusable { .. })));
}

#[test]
fn migrating_says_from_where_to_where() {
    let (_directory, path) = place();
    assert_eq!(migrate(&path).unwrap(), Migration { from: 0, to: 1 });
    assert_eq!(migrate(&path).unwrap(), Migration { from: 1, to: 1 });
    open(&path).unwrap();
}

/// Set to the path of a store, it makes a process of this test program into one that commits until it is killed.
const CHILD: &str = "AMENDS_STORE_OF_CHILD";

/// Not a test but what [`everything_acknowledged_survives_a_kill`] kills.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&path)).unwrap());
        let me = Uuid::now_v7();
        store.enlist(me, Timestamp(1)).await.unwrap();
        let callers = (0..8).map(|_| tokio::spawn(commit_for_ever(Arc::clone(&store), me)));
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

async fn commit_for_ever(store: Arc<SqliteStore>, me: Uuid) {
    loop {
        let saga = Uuid::now_v7();
        for after in 0..4 {
            let outcomes = store.commit(me, vec![commit(saga, after, Rest::Owned)].into()).await.unwrap();
            assert_eq!(outcomes, [Outcome::Committed]);
            // One write for a line, so that a kill leaves whole lines.
            let line = format!("acknowledged {saga} {}\n", after + 1);
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        }
    }
}

/// Starts a process that commits, kills it after so many acknowledgements, and returns how far each saga had come by
/// all that it said.
fn acknowledged_before_a_kill(path: &Path, after: usize) -> BTreeMap<Uuid, usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_commits_until_it_is_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((saga, events)) = line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        acknowledged.insert(saga.parse().unwrap(), events.parse().unwrap());
        count += 1;
        if count == after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(count >= after, "the child ended by itself after {count} acknowledgements");
    acknowledged
}

#[tokio::test]
async fn everything_acknowledged_survives_a_kill() {
    let (_directory, path) = place();
    let mut earlier: BTreeMap<Uuid, usize> = BTreeMap::new();
    for kill_after in [3, 50, 400] {
        let latest = acknowledged_before_a_kill(&path, kill_after);
        let store = open(&path).unwrap();
        for (saga, events) in earlier.iter().chain(&latest) {
            let record = store.saga(*saga).await.unwrap().expect("an acknowledged saga is there");
            assert!(record.events.len() >= *events, "saga {saga} has lost events");
            let bodies: Vec<Vec<u8>> = record.events.into_iter().map(|event| event.body).collect();
            let expected: Vec<Vec<u8>> = (0..bodies.len()).map(|event| event.to_string().into_bytes()).collect();
            assert_eq!(bodies, expected);
            // Whoever came after a kill has freed what the killed one owned.
            let expected = if latest.contains_key(saga) { Rest::Owned } else { Rest::Until(Timestamp(1)) };
            assert_eq!(record.row.rest, expected);
        }
        // A commit is there whole or not at all: as many births as were counted.
        let sagas = store.sagas(SagaQuery { limit: usize::MAX, ..SagaQuery::default() }).await.unwrap();
        assert_eq!(sagas.len() as u64, store.statistics().await.unwrap().started);
        earlier.extend(latest);
    }
}
