//! The file: how it is opened, what tables it has, and how an older one is brought up to date.

use super::errors::OpenError;
use amends_failpoints::failpoint;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// "Amen" in the file's header says that it is ours.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"Amen");

/// Every step from one schema to the next: the file's `user_version` is how many of them it has seen. A step that
/// was released is never changed.
const LADDER: &[&str] = &[include_str!("schema/0001.sql")];

/// Nobody else holds the file for long: a checkpoint waits for readers, and a person may look at it with a tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// More than there are statements, so that each is prepared once for each connection.
const STATEMENTS_MAX: usize = 64;

const WRITER_PRAGMAS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -32768;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;";

const READER_PRAGMAS: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -8192;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;";

/// From which schema to which a store was brought; 0 is an empty file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Migration {
    pub from: u32,
    pub to: u32,
}

/// The one path by which a file is known, so that its lock is found whichever way leads to it.
pub(super) fn place(path: &Path) -> Result<PathBuf, OpenError> {
    let refuse = |why: String| OpenError::Unusable { path: path.to_owned(), why };
    if path.is_dir() {
        return Err(refuse("it is a directory; name a file in it".into()));
    }
    if let Ok(path) = fs::canonicalize(path) {
        return Ok(path);
    }
    let name = path.file_name().ok_or_else(|| refuse("it has no file name".into()))?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let folder = fs::canonicalize(folder).map_err(|error| refuse(format!("its directory: {error}")))?;
    Ok(folder.join(name))
}

/// Opens the writer's connection: to a file that is empty or ours, and in write-ahead mode.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| unusable(path, &error))?;
    // SQLite opens what it may not write for reading, and says so only later and less clearly.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(|error| unusable(path, &error))? {
        return Err(unusable(path, &"there is no permission to write it"));
    }
    if !is_ours_or_empty(&connection).map_err(|error| not_ours(path, &error))? {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    let prepared = prepare_writer(&connection).map_err(|error| unusable(path, &error))?;
    if let Err(why) = prepared {
        return Err(OpenError::Unusable { path: path.to_owned(), why });
    }
    sync_directory(path).map_err(|error| unusable(path, &error))?;
    Ok(connection)
}

/// Opens a connection that can only read, beside the writer's.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        prepare_statements_once(&connection)?;
        connection.execute_batch(READER_PRAGMAS)?;
        Ok(connection)
    };
    open().map_err(|error| unusable(path, &error))
}

/// Brings a file that is empty or ours to the newest schema.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<Migration, OpenError> {
    climb(path, connection, LADDER)
}

/// Takes the steps that the file has not seen, each in a transaction that also counts it.
pub(super) fn climb(path: &Path, connection: &mut Connection, ladder: &[&str]) -> Result<Migration, OpenError> {
    let failed = |error: rusqlite::Error| unusable(path, &error);
    let from: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let to = u32::try_from(ladder.len()).expect("a ladder has a handful of steps");
    if from > to {
        return Err(OpenError::Newer { path: path.to_owned(), found: from, known: to });
    }
    for (step, version) in ladder.iter().zip(1..).skip(from as usize) {
        climb_one(connection, step, version).map_err(failed)?;
    }
    Ok(Migration { from, to })
}

fn climb_one(connection: &mut Connection, step: &str, version: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)?;
    failpoint!(MigrationWritten);
    transaction.commit()?;
    failpoint!(MigrationCommitted);
    Ok(())
}

fn is_ours_or_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let application: u32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(application == APPLICATION_ID || (application == 0 && version == 0 && tables == 0))
}

/// Puts the connection in the state that the writer needs, or says what stands in the way.
fn prepare_writer(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Ok(Err(format!("its file system allows no write-ahead log (the journal mode stays {mode})")));
    }
    prepare_statements_once(connection)?;
    connection.execute_batch(WRITER_PRAGMAS)?;
    Ok(Ok(()))
}

/// Keeps every statement that was prepared. Left to itself, SQLite prepares one anew whenever a parameter changes that it
/// compared with the condition of a partial index, and here that is at every commit.
fn prepare_statements_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// A new file's name is durable only once its directory is.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// What it means that a file cannot be read as ours: SQLite says so of a file that it did not write.
fn not_ours(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotAStore { path: path.to_owned() },
        Some(_) | None => unusable(path, error),
    }
}

pub(super) fn unusable(path: &Path, error: &dyn Display) -> OpenError {
    OpenError::Unusable { path: path.to_owned(), why: error.to_string() }
}
