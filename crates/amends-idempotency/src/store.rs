//! The service's SQLite database: one connection that writes, one transaction at a time, and some that read.
//!
//! SQLite has one writer at a time in any case, so a queue before it costs nothing, and whoever has the write lock
//! has the claim on every key. Nothing that a handler does with the connection can commit: the commit hook
//! turns every commit into a rollback while the handler has it, also that of a lone statement after the
//! transaction broke.

use crate::in_flight::InFlight;
use crate::records;
use crate::transaction::TransactionError;
use rusqlite::{Connection, OpenFlags};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// The service's database, with the idempotency records in it. Cheap to clone; clones share their connections.
///
/// Everything that the service writes, it should write through a [`crate::Transaction`]: another connection that
/// writes makes requests wait, and answers them with 503 once the connection's busy timeout is over.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database is in memory, or on a file system without shared memory: the records would not outlive a crash.
    #[error(
        "the database cannot keep a write-ahead log (its journal mode is `{mode}`), so its records would not be durable"
    )]
    NotDurable {
        /// What SQLite offers instead.
        mode: String,
    },
    /// SQLite refused.
    #[error("the idempotency records cannot be set up")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why the records cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database is busy")]
    Busy,
    #[error("the service is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

struct Shared {
    writer: Arc<tokio::sync::Mutex<Writer>>,
    /// How long a request waits for its turn to write.
    busy_timeout: Duration,
    path: PathBuf,
    readers: Mutex<Vec<Connection>>,
    in_flight: Arc<InFlight>,
}

struct Writer {
    connection: Connection,
    /// Whether a handler has the connection.
    lent: Arc<AtomicBool>,
}

/// A transaction that was begun. Dropping it rolls it back.
pub struct OpenTransaction {
    writer: OwnedMutexGuard<Writer>,
}

impl Store {
    /// Takes over the connection on which the service writes, and sets the records up in its database: WAL,
    /// `synchronous=FULL`, and a table of its own, `amends_idempotency`.
    ///
    /// # Errors
    /// [`OpenError`] where the database is not durable or refuses.
    pub fn new(mut connection: Connection) -> Result<Store, OpenError> {
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        let path = connection.path().map(PathBuf::from).unwrap_or_default();
        if mode != "wal" {
            return Err(OpenError::NotDurable { mode });
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(records::SCHEMA)?;
        let busy_timeout_ms: u32 = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
        let lent = Arc::new(AtomicBool::new(false));
        let hook = Arc::clone(&lent);
        connection.commit_hook(Some(move || hook.load(Ordering::SeqCst)))?;
        let shared = Shared {
            writer: Arc::new(tokio::sync::Mutex::new(Writer { connection, lent })),
            busy_timeout: Duration::from_millis(busy_timeout_ms.into()),
            path,
            readers: Mutex::default(),
            in_flight: Arc::default(),
        };
        Ok(Store { shared: Arc::new(shared) })
    }

    /// Reads on a connection that cannot write and waits for no writer.
    ///
    /// # Errors
    /// [`TransactionError::Sqlite`] with whatever SQLite or `work` reports.
    ///
    /// # Panics
    /// Where `work` panics.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, TransactionError> {
        let shared = Arc::clone(&self.shared);
        let read = blocking(move || {
            let connection = shared.reader()?;
            let result = work(&connection);
            shared.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        Ok(read.await?)
    }

    /// Waits for its turn and begins a transaction; `work` is what is done first in it, on a thread that may block.
    pub(crate) async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(OpenTransaction) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.shared.writer).lock_owned();
        let writer = tokio::time::timeout(self.shared.busy_timeout, turn).await.map_err(|_| StoreError::Busy)?;
        blocking(move || {
            writer.connection.execute_batch("BEGIN IMMEDIATE")?;
            work(OpenTransaction { writer })
        })
        .await
    }

    pub(crate) fn in_flight(&self) -> &Arc<InFlight> {
        &self.shared.in_flight
    }
}

impl Shared {
    /// There are never more connections than reads at one time.
    fn reader(&self) -> rusqlite::Result<Connection> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY), Ok)
    }
}

impl OpenTransaction {
    pub fn connection(&self) -> &Connection {
        &self.writer.connection
    }

    /// Gives the connection to a handler's `work`, which cannot commit.
    pub fn lend<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        struct Return<'a>(&'a AtomicBool);
        impl Drop for Return<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        self.writer.lent.store(true, Ordering::SeqCst);
        let _given_back_even_by_a_panic = Return(&self.writer.lent);
        work(&self.writer.connection)
    }

    /// Whether it is still the transaction that was begun: an error such as a full disk, or a handler's `ROLLBACK`, ends it.
    pub fn is_whole(&self) -> bool {
        !self.writer.connection.is_autocommit()
    }

    pub fn commit(self) -> rusqlite::Result<()> {
        self.writer.connection.execute_batch("COMMIT")
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if self.is_whole()
            && let Err(error) = self.writer.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

/// Runs `work` on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(StoreError::Sqlite),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(StoreError::ShuttingDown),
        },
    }
}
