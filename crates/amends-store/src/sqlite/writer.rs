//! The thread that writes, and how calls share its transactions.
//!
//! The order is in [`Loop::serve`]: take what is queued, do it in one transaction, commit, answer each. Where one
//! piece of work fails, the transaction is rolled back and each piece is done again in one of its own, so that a
//! poisoned one fails alone. Nothing is answered before its commit is durable.

#[cfg(test)]
mod tests;

use super::OnFatal;
use super::errors::{Failure, is_fatal, refusal, stopped};
use super::writes::Incarnations;
use crate::columns;
use crate::{Count, Counter, StoreError};
use amends_failpoints::failpoint;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

/// Bounds a transaction, and so how long its first caller waits and how much a failure does again.
pub(super) const BATCH_JOBS_MAX: usize = 512;

/// After so many new pages the log is moved into the file (16 MiB): often enough for the log to stay small, seldom
/// enough that a page changed many times is moved once.
pub(super) const CHECKPOINT_PAGES: u32 = 4_096;

/// A log this long means that readers have kept it from being reused, and is worth waiting for them (256 MiB).
const RESTART_PAGES: u32 = 65_536;

const PUT_COUNT: &str = "
    INSERT INTO count (minute, definition, counter, value) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET value = value + excluded.value";

/// The transaction that is being put together.
pub(super) struct Writing<'a> {
    /// The connection, inside the transaction.
    pub(super) sql: &'a Connection,
    /// Who may write; rolled back with the transaction.
    pub(super) incarnations: &'a mut Incarnations,
    counts: BTreeMap<(u64, String, Counter), u64>,
}

impl Writing<'_> {
    /// Counts something. The transaction's counts are written once at its end: many commits, one row.
    pub(super) fn count(&mut self, count: &Count) {
        *self.counts.entry((columns::minute(count), count.definition.clone(), count.counter)).or_default() += 1;
    }

    fn finish(self) -> rusqlite::Result<()> {
        for ((minute, definition, counter), value) in &self.counts {
            let values =
                params![columns::number(*minute), definition, columns::counter(*counter), columns::number(*value)];
            self.sql.prepare_cached(PUT_COUNT)?.execute(values)?;
        }
        if failpoint!(TransactionWritten) {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None));
        }
        self.sql.prepare_cached("COMMIT")?.execute([])?;
        failpoint!(TransactionCommitted);
        Ok(())
    }
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` only while it is dropped: without a sender the thread finishes what is queued and ends.
    queue: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    transactions: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread on a connection that is open and migrated.
    pub(super) fn start(mut connection: Connection, on_fatal: OnFatal) -> Result<Writer, Box<dyn Error>> {
        let (sender, receiver) = channel();
        let transactions = Arc::new(AtomicU64::new(0));
        let log_pages = Arc::new(AtomicU32::new(0));
        watch_log(&mut connection, Arc::clone(&log_pages))?;
        let mut writer = Loop {
            connection,
            queue: receiver,
            incarnations: Incarnations::default(),
            on_fatal,
            transactions: Arc::clone(&transactions),
            log_pages,
            log: Log::default(),
        };
        let thread = Builder::new().name("amends-writer".into()).spawn(move || writer.run())?;
        Ok(Writer { queue: Some(sender), thread: Some(thread), transactions })
    }

    /// Does a piece of work and answers once it is durable. It may be run twice, the first time rolled back.
    pub(super) async fn perform<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&mut Writing<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().expect("the queue is there until the writer is dropped");
        queue.send(Box::new(Piece { work, result: None, reply })).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported from within it.
            let _ = thread.join();
        }
    }
}

/// A piece of work with somebody waiting for its answer.
trait Job: Send {
    /// Does it within a transaction. An error means that the transaction is to be rolled back.
    fn run(&mut self, writing: &mut Writing<'_>) -> rusqlite::Result<()>;
    /// Tells what came of it: its own result if the transaction is durable, and otherwise why it is not.
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

struct Piece<T, W> {
    work: W,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Piece<T, W>
where
    T: Send,
    W: FnMut(&mut Writing<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, writing: &mut Writing<'_>) -> rusqlite::Result<()> {
        self.result = match (self.work)(writing) {
            Ok(value) => Some(Ok(value)),
            Err(Failure::Refused(refusal)) => Some(Err(refusal)),
            Err(Failure::Sql(error)) => return Err(error),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let Piece { result, reply, .. } = *self;
        let answer = durable.and_then(|()| result.expect("a transaction commits only after its work was run"));
        // Whoever asked may have gone; the work is done all the same.
        let _ = reply.send(answer);
    }
}

/// The writer cannot go on, and whoever had to know was told.
struct Dead;

struct Loop {
    connection: Connection,
    queue: Receiver<Box<dyn Job>>,
    incarnations: Incarnations,
    on_fatal: OnFatal,
    transactions: Arc<AtomicU64>,
    /// How long the log is, as SQLite said at the last commit.
    log_pages: Arc<AtomicU32>,
    log: Log,
}

impl Loop {
    fn run(&mut self) {
        // A panic here is a defect, and what it left behind is as unknown as after a failed write.
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            (self.on_fatal)("the writer panicked");
        }
    }

    fn serve(&mut self) {
        while let Ok(first) = self.queue.recv() {
            if self.share(first).and_then(|()| self.checkpoint_if_long()).is_err() {
                return;
            }
        }
        let _ = self.checkpoint("TRUNCATE");
    }

    /// One transaction for this piece of work and whatever is queued behind it.
    fn share(&mut self, first: Box<dyn Job>) -> Result<(), Dead> {
        let mut jobs = Vec::new();
        let queue = &self.queue;
        let mut next = Some(first);
        let done = transact(&self.connection, &mut self.incarnations, |writing| {
            while let Some(job) = next.take() {
                jobs.push(job);
                jobs.last_mut().expect("it was pushed just now").run(writing)?;
                next = (jobs.len() < BATCH_JOBS_MAX).then(|| queue.try_recv().ok()).flatten();
            }
            Ok(())
        });
        jobs.extend(next);
        match done {
            Ok(()) => {
                self.answer(jobs, &Ok(()));
                Ok(())
            }
            Err(error) if is_fatal(&error) => Err(self.die(&error)),
            Err(error) if jobs.len() == 1 => {
                self.answer(jobs, &Err(refusal(&error)));
                Ok(())
            }
            Err(_) => jobs.into_iter().try_for_each(|job| self.alone(job)),
        }
    }

    fn alone(&mut self, mut job: Box<dyn Job>) -> Result<(), Dead> {
        match transact(&self.connection, &mut self.incarnations, |writing| job.run(writing)) {
            Err(error) if is_fatal(&error) => return Err(self.die(&error)),
            Err(error) => self.answer(vec![job], &Err(refusal(&error))),
            Ok(()) => self.answer(vec![job], &Ok(())),
        }
        Ok(())
    }

    fn answer(&self, jobs: Vec<Box<dyn Job>>, durable: &Result<(), StoreError>) {
        if durable.is_ok() {
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
        for job in jobs {
            job.answer(durable.clone());
        }
    }

    /// Called with the work of the failed transaction still unanswered, so that nobody acts on an unknown outcome.
    fn die(&self, error: &rusqlite::Error) -> Dead {
        // SQLite's own code tells a failed write from a failed fsync; its message does not.
        let code = error.sqlite_error().map(|error| format!(" ({error})")).unwrap_or_default();
        (self.on_fatal)(&format!("the writer met an error after which nothing is known: {error}{code}"));
        Dead
    }

    /// Moves the log into the file when it has grown. SQLite's own way of doing so would keep its errors to itself.
    fn checkpoint_if_long(&mut self) -> Result<(), Dead> {
        let pages = self.log_pages.load(Ordering::Relaxed);
        self.log.checkpoint_at(pages).map_or(Ok(()), |mode| self.checkpoint(mode))
    }

    fn checkpoint(&self, mode: &str) -> Result<(), Dead> {
        let text = format!("PRAGMA wal_checkpoint({mode})");
        failpoint!(CheckpointBefore);
        let moved = self.connection.query_row(&text, [], |_| Ok(()));
        failpoint!(CheckpointAfter);
        match moved {
            Ok(()) => Ok(()),
            Err(error) if is_fatal(&error) => Err(self.die(&error)),
            Err(error) => {
                // The log keeps everything until the next attempt.
                tracing::warn!(%error, "the write-ahead log could not be moved into the file");
                Ok(())
            }
        }
    }
}

/// How much of the write-ahead log was moved into the file already.
#[derive(Default)]
struct Log {
    /// How long it was when it was last moved.
    pages_moved: u32,
}

impl Log {
    /// How a log that is so long now is to be moved, if it is long enough; from then on it counts as moved.
    fn checkpoint_at(&mut self, pages: u32) -> Option<&'static str> {
        // A log that is shorter than before was begun again from its start.
        if pages < self.pages_moved {
            self.pages_moved = 0;
        }
        if pages - self.pages_moved < CHECKPOINT_PAGES {
            return None;
        }
        self.pages_moved = pages;
        Some(if pages < RESTART_PAGES { "PASSIVE" } else { "RESTART" })
    }
}

/// Keeps the length of the log, which SQLite tells at each commit. This also switches its own checkpoints off.
fn watch_log(connection: &mut Connection, pages: Arc<AtomicU32>) -> rusqlite::Result<()> {
    connection.wal_hook(Some(move |_: &mut Wal, length: i32| {
        pages.store(u32::try_from(length).unwrap_or_default(), Ordering::Relaxed);
        Ok(())
    }))
}

/// Runs work in a transaction of its own; where anything in it fails, nothing of it has happened.
fn transact(
    connection: &Connection,
    incarnations: &mut Incarnations,
    work: impl FnOnce(&mut Writing<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let before = incarnations.clone();
    roll_back(connection)?;
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut writing = Writing { sql: connection, incarnations, counts: BTreeMap::new() };
    let done = work(&mut writing).and_then(|()| writing.finish());
    if done.is_err() {
        *incarnations = before;
        roll_back(connection)?;
    }
    done
}

/// Ends a transaction that is still open; some errors have ended it already.
fn roll_back(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() {
        return Ok(());
    }
    connection.prepare_cached("ROLLBACK")?.execute([])?;
    Ok(())
}
