//! Writes transitions to SQLite at FULL. What gathers while a transaction is on its way is the next one.

use super::{Transition, Waiting};
use std::path::Path;
use std::thread;
use tokio::sync::mpsc;

/// Opens the file and begins to write what comes.
pub fn start(path: &Path, mut waiting: mpsc::UnboundedReceiver<Waiting>) -> anyhow::Result<()> {
    let mut writer = Writer::open(path)?;
    let (batches, to_write) = std::sync::mpsc::channel::<Vec<Waiting>>();
    let (ready, mut written) = mpsc::channel::<Vec<Waiting>>(1);
    thread::Builder::new().name("floor-writer".into()).spawn(move || {
        while let Ok(batch) = to_write.recv() {
            writer.write(&batch).expect("the floor has a disk that works");
            if ready.blocking_send(batch).is_err() {
                return;
            }
        }
    })?;
    tokio::task::spawn_local(async move {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, usize::MAX).await > 0 {
            let Ok(()) = batches.send(std::mem::take(&mut batch)) else { return };
            let Some(done) = written.recv().await else { return };
            for (_, reply) in done {
                // Its caller has hung up.
                reply.send(()).unwrap_or_default();
            }
        }
    });
    Ok(())
}

struct Writer {
    sql: rusqlite::Connection,
}

impl Writer {
    fn open(path: &Path) -> anyhow::Result<Writer> {
        let sql = rusqlite::Connection::open(path)?;
        sql.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -16384;
             CREATE TABLE transition (number INTEGER PRIMARY KEY, saga BLOB NOT NULL, sequence INTEGER NOT NULL, what BLOB NOT NULL);",
        )?;
        Ok(Writer { sql })
    }

    fn write(&mut self, batch: &[Waiting]) -> rusqlite::Result<()> {
        self.sql.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut put = self.sql.prepare_cached("INSERT INTO transition (saga, sequence, what) VALUES (?1, ?2, ?3)")?;
        for (Transition { saga, sequence, what }, _) in batch {
            put.execute(rusqlite::params![saga.as_bytes(), sequence, what.as_ref()])?;
        }
        self.sql.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}
