//! A store in one SQLite file: the default, and a production choice for one node.
//!
//! One thread writes. It takes whatever calls are queued, does them in one transaction, commits it with an fsync,
//! and only then answers each; while it commits, the next calls gather. It never waits for more to come. Readers
//! are connections of their own beside it and see committed state only.
//!
//! - The file belongs to one process, which holds a lock on the file `<path>.lock` beside it. SQLite's own
//!   exclusive mode would do the same but would shut out the readers too.
//! - An I/O error, damage or a failed fsync met by the writer ends the process: after a failed fsync nobody knows
//!   what is durable, and the only way to find out is to read the file anew. A full disk is not of that kind: the
//!   transaction is rolled back, the call is refused, and the store works again once there is room.
//! - A call whose future is dropped is carried out all the same.
//!
//! How long finished sagas are kept is not decided here. Room that they leave is used again, and the file keeps its size.

mod audit;
mod errors;
mod lock;
mod queues;
mod readers;
mod reads;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod tokens;
mod writer;
mod writes;

use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, QueueError, ReceiveRequest,
    Redrive, Sent,
};
use crate::{
    Acquired, AuditEntry, AuditLog, AuditQuery, Claimed, Commit, DeadLetter, DeadLetterGroup, DeadLetterQuery, Deed,
    Forget, GroupQuery, Incarnation, Outcome, Queues, Receive, Received, Record, SagaQuery, Statistics, Store,
    StoreError, StoredDefinition, StoredToken, Summary, TokenDigest, TokenQuery, Tokens, Views, Which,
};
use amends_core::chain::Head;
use amends_core::time::Timestamp;
use async_trait::async_trait;
pub use errors::OpenError;
use readers::Readers;
pub use schema::Migration;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;
use writer::Writer;

/// Called with a sentence when the writer cannot go on. If it returns, the writer stays down: whatever was asked
/// of it and not answered yet, and everything asked later, fails as [`StoreError::Damaged`].
pub type OnFatal = Box<dyn Fn(&str) + Send>;

/// How to open a store.
pub struct SqliteOptions {
    /// The file. It is made if there is none.
    pub path: PathBuf,
    /// How many connections read beside the writer; at least one.
    pub readers: usize,
    /// What to do when the writer cannot go on. By default the process is aborted.
    pub on_fatal: OnFatal,
}

impl SqliteOptions {
    /// The file at `path`, two readers, and an abort where the writer cannot go on.
    pub fn new(path: impl Into<PathBuf>) -> SqliteOptions {
        SqliteOptions { path: path.into(), readers: 2, on_fatal: Box::new(abort) }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("path", &self.path)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// A store in one SQLite file. Dropping it finishes what is queued, moves everything into the file and frees it.
#[derive(Debug)]
pub struct SqliteStore {
    // Fields are dropped in this order. The last connection to close moves the write-ahead log into the file, which
    // only the writer's can do; and the lock goes last, when nobody touches the file any more.
    readers: Readers,
    writer: Writer,
    _lock: lock::FileLock,
}

impl SqliteStore {
    /// Opens a store, making the file or bringing it to this program's schema where needed.
    ///
    /// # Errors
    /// Says why the file cannot be opened: it is another process's, was written by a newer program, is no store,
    /// or cannot be read and written.
    pub fn open(options: SqliteOptions) -> Result<SqliteStore, OpenError> {
        let path = schema::place(&options.path)?;
        let lock = lock::FileLock::take(&path)?;
        let mut connection = schema::open(&path)?;
        let migration = schema::migrate(&path, &mut connection)?;
        if migration.from != migration.to {
            tracing::info!(from = migration.from, to = migration.to, "brought the store to this program's schema");
        }
        let writer = Writer::start(connection, options.on_fatal).map_err(|error| schema::unusable(&path, &error))?;
        let connections = (0..options.readers.max(1)).map(|_| schema::open_reader(&path)).collect::<Result<_, _>>()?;
        let readers = Readers::start(connections).map_err(|error| schema::unusable(&path, &error))?;
        Ok(SqliteStore { readers, writer, _lock: lock })
    }

    /// How many transactions the writer has committed since the store was opened: fewer than there were calls
    /// where calls met in one of them.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.writer.transactions()
    }
}

/// Brings the store at `path` to this program's schema without serving it, and says from where to where.
///
/// # Errors
/// As [`SqliteStore::open`].
pub fn migrate(path: &Path) -> Result<Migration, OpenError> {
    let path = schema::place(path)?;
    let _lock = lock::FileLock::take(&path)?;
    let mut connection = schema::open(&path)?;
    schema::migrate(&path, &mut connection)
}

/// The log line may sit in a buffer that the abort throws away, so the reason goes to standard error as well.
fn abort(reason: &str) {
    tracing::error!(reason, "the store failed; the process ends");
    eprintln!("the store failed; the process ends: {reason}");
    std::process::abort();
}

#[async_trait]
impl Store for SqliteStore {
    async fn enlist(&self, me: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.writer.perform(move |writing| writes::enlist(writing, me, now)).await
    }

    async fn retire(&self, whom: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.writer.perform(move |writing| writes::retire(writing, whom, now)).await
    }

    async fn commit(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.writer.perform(move |writing| writes::commit(writing, me, &batch)).await
    }

    async fn claim(&self, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, StoreError> {
        self.writer.perform(move |writing| writes::claim(writing, me, now, limit)).await
    }

    async fn acquire(&self, me: Incarnation, saga: Uuid) -> Result<Acquired, StoreError> {
        self.writer.perform(move |writing| writes::acquire(writing, me, saga)).await
    }

    async fn receive(&self, me: Incarnation, request: Receive) -> Result<Received, StoreError> {
        self.writer.perform(move |writing| writes::receive(writing, me, &request)).await
    }

    async fn forget(&self, request: Forget) -> Result<Vec<Uuid>, StoreError> {
        // Whoever may be forgotten once may be for good, so they are looked for beside the writer.
        let old = self.readers.perform(move |snapshot| reads::forgettable(snapshot, &request)).await?;
        if old.is_empty() {
            return Ok(old);
        }
        self.writer.perform(move |writing| writes::forget(writing, &old)).await
    }

    async fn keep_up(&self, _finished_before: Option<Timestamp>) -> Result<(), StoreError> {
        let now = self.time().await?;
        self.writer.perform(move |writing| writes::condense(writing, now)).await
    }

    async fn put_definition(&self, definition: StoredDefinition, deed: Deed) -> Result<bool, StoreError> {
        self.writer.perform(move |writing| writes::put_definition(writing, &definition, &deed)).await
    }

    async fn definitions(&self, which: Which) -> Result<Vec<StoredDefinition>, StoreError> {
        self.readers.perform(move |snapshot| reads::definitions(snapshot, &which)).await
    }
}

#[async_trait]
impl Views for SqliteStore {
    async fn saga(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        self.readers.perform(move |snapshot| reads::record(snapshot, id)).await
    }

    async fn sagas(&self, query: SagaQuery) -> Result<Vec<Summary>, StoreError> {
        self.readers.perform(move |snapshot| reads::sagas(snapshot, &query)).await
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.readers.perform(move |snapshot| reads::dead_letters(snapshot, &query)).await
    }

    async fn dead_letter_groups(&self, query: GroupQuery) -> Result<Vec<DeadLetterGroup>, StoreError> {
        self.readers.perform(move |snapshot| reads::dead_letter_groups(snapshot, &query)).await
    }

    async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        let id = id.to_owned();
        self.readers.perform(move |snapshot| reads::dead_letter(snapshot, &id)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        self.readers.perform(move |snapshot| reads::audit(snapshot, &query)).await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.readers.perform(reads::statistics).await
    }
}

#[async_trait]
impl Tokens for SqliteStore {
    async fn put_token(&self, token: StoredToken, deed: Deed) -> Result<(), StoreError> {
        self.writer.perform(move |writing| tokens::put(writing, &token, &deed)).await
    }

    async fn token(&self, digest: TokenDigest) -> Result<Option<StoredToken>, StoreError> {
        self.readers.perform(move |snapshot| tokens::find(snapshot, &digest)).await
    }

    async fn tokens(&self, query: TokenQuery) -> Result<Vec<StoredToken>, StoreError> {
        self.readers.perform(move |snapshot| tokens::list(snapshot, query)).await
    }

    async fn revoke_token(&self, id: Uuid, deed: Deed) -> Result<Option<StoredToken>, StoreError> {
        self.writer.perform(move |writing| tokens::revoke(writing, id, &deed)).await
    }
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn seal(&self, limit: usize) -> Result<Option<Head>, StoreError> {
        if !self.readers.perform(audit::is_unsealed).await? {
            return Ok(None);
        }
        self.writer.perform(move |writing| audit::seal(writing, limit)).await
    }

    async fn sealed(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.readers.perform(move |snapshot| audit::sealed(snapshot, after, limit)).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.readers.perform(audit::head).await
    }
}

#[async_trait]
impl Queues for SqliteStore {
    async fn send_to(&self, queue: &str, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        let queue = queue.to_owned();
        let sent = vec![Sent::Done; messages.len()];
        let put = move |writing: &mut writer::Writing<'_>| {
            messages.iter().try_for_each(|message| Ok(queues::put(writing.sql, &queue, message)?))
        };
        self.writer.perform(put).await?;
        Ok(sent)
    }

    async fn receive_from(&self, queue: &str, request: ReceiveRequest) -> Result<Vec<Delivery>, QueueError> {
        let queue = queue.to_owned();
        Ok(self.writer.perform(move |writing| queues::receive(writing, &queue, &request)).await?)
    }

    async fn handle(
        &self,
        queue: &str,
        handlings: Vec<(String, Handling)>,
        now: Timestamp,
    ) -> Result<Vec<Handled>, QueueError> {
        let queue = queue.to_owned();
        Ok(self.writer.perform(move |writing| queues::handle(writing, &queue, &handlings, now)).await?)
    }

    async fn dead(&self, queue: &str, query: DeadQuery) -> Result<Vec<DeadMessage>, QueueError> {
        let queue = queue.to_owned();
        Ok(self.readers.perform(move |snapshot| queues::dead(snapshot, &queue, &query)).await?)
    }

    async fn redrive(&self, queue: &str, redrive: NewRedrive) -> Result<Redrive, QueueError> {
        let queue = queue.to_owned();
        Ok(self.writer.perform(move |writing| queues::redrive(writing, &queue, &redrive)).await?)
    }

    async fn redrives(&self, queue: &str, now: Timestamp) -> Result<Vec<Redrive>, QueueError> {
        let queue = queue.to_owned();
        Ok(self.readers.perform(move |snapshot| queues::redrives(snapshot, &queue, None, now)).await?)
    }

    async fn cancel_redrive(&self, queue: &str, id: &str, now: Timestamp) -> Result<Option<Redrive>, QueueError> {
        let (queue, id) = (queue.to_owned(), id.to_owned());
        Ok(self.writer.perform(move |writing| queues::cancel_redrive(writing, &queue, &id, now)).await?)
    }

    async fn depth(&self, queue: &str, now: Timestamp) -> Result<Depth, QueueError> {
        let queue = queue.to_owned();
        Ok(self.readers.perform(move |snapshot| queues::depth(snapshot, &queue, now)).await?)
    }
}
