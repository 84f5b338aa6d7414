use super::*;
use rusqlite::ErrorCode;
use std::path::Path;

/// What a log is told of its length, and how it is to be moved then.
type Told = (u32, Option<&'static str>);

#[test]
fn a_log_is_moved_whenever_it_has_grown_by_so_much() {
    let cases: [(&str, &[Told]); 6] = [
        ("short", &[(0, None), (1, None), (CHECKPOINT_PAGES - 1, None)]),
        (
            "grown, and not again before it has grown as much",
            &[
                (CHECKPOINT_PAGES, Some("PASSIVE")),
                (CHECKPOINT_PAGES, None),
                (CHECKPOINT_PAGES * 2 - 1, None),
                (CHECKPOINT_PAGES * 2, Some("PASSIVE")),
            ],
        ),
        (
            "grown by much at once",
            &[
                (CHECKPOINT_PAGES * 3, Some("PASSIVE")),
                (CHECKPOINT_PAGES * 4 - 1, None),
                (CHECKPOINT_PAGES * 4, Some("PASSIVE")),
            ],
        ),
        (
            "begun again from its start",
            &[
                (CHECKPOINT_PAGES * 2, Some("PASSIVE")),
                (1, None),
                (CHECKPOINT_PAGES - 1, None),
                (CHECKPOINT_PAGES, Some("PASSIVE")),
            ],
        ),
        (
            "not begun again for long, because of readers",
            &[
                (RESTART_PAGES - 1, Some("PASSIVE")),
                (RESTART_PAGES, None),
                (RESTART_PAGES - 1 + CHECKPOINT_PAGES, Some("RESTART")),
            ],
        ),
        ("long from the first", &[(RESTART_PAGES, Some("RESTART"))]),
    ];
    for (what, lengths) in cases {
        let mut log = Log::default();
        let modes: Vec<_> = lengths.iter().map(|(pages, _)| (*pages, log.checkpoint_at(*pages))).collect();
        assert_eq!(modes, lengths, "{what}");
    }
}

/// A file with something in its log, and the thread's loop, which is told only to move the log.
fn with_a_log(path: &Path, on_fatal: OnFatal) -> Loop {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE thing (body BLOB)").unwrap();
    connection.execute_batch("INSERT INTO thing VALUES (zeroblob(100000))").unwrap();
    let (_, queue) = channel();
    Loop {
        connection,
        queue,
        incarnations: Incarnations::default(),
        on_fatal,
        transactions: Arc::default(),
        log_pages: Arc::default(),
        log: Log::default(),
    }
}

/// Everything is still in the log, so there is nothing that a new start would put right.
#[test]
fn a_log_that_cannot_be_moved_now_is_kept_and_the_store_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept.db");
    let writer = with_a_log(&path, Box::new(|reason| panic!("{reason}")));
    let mut statement = writer.connection.prepare("SELECT 1 FROM sqlite_schema").unwrap();
    let mut reading = statement.query([]).unwrap();
    assert!(reading.next().unwrap().is_some());
    let refused = writer.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseLocked), "one that reads does not move the log");
    assert!(writer.checkpoint("PASSIVE").is_ok());

    drop(reading);
    let size = || std::fs::metadata(&path).unwrap().len();
    assert!(size() < 100_000);
    assert!(writer.checkpoint("PASSIVE").is_ok());
    assert!(size() > 100_000, "it is moved once it can be");
}
