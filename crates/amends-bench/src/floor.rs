//! The durable floor: the least that a server must do that performs a saga and never loses one.
//!
//! It takes a start over HTTP, makes the calls, and commits every transition before it acts on it, with SQLite at FULL
//! and as many transitions in a transaction as have gathered. It answers when the saga has ended. It has no definitions,
//! no retries, no recovery, no ownership and no one to look at it: what a saga server costs beyond this is its own doing.

use crate::http::{Connection, json, serve};
use crate::shop::{ACTIONS, COMPENSATIONS, Order, REFUSING, Receipt};
use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// What is committed: that this happened to this saga.
struct Transition {
    saga: Uuid,
    sequence: u32,
    what: Bytes,
}

/// Serves until the process ends.
pub async fn run(store: &Path, services: SocketAddr) -> anyhow::Result<()> {
    let floor = Rc::new(Floor { services, idle: RefCell::default(), committer: Committer::start(store)? });
    serve(move |request| floor.clone().answer(request)).await
}

struct Floor {
    services: SocketAddr,
    idle: RefCell<Vec<Connection>>,
    committer: Committer,
}

impl Floor {
    async fn answer(self: Rc<Floor>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.perform(request).await {
            Ok(outcome) => json(StatusCode::OK, outcome),
            Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, format!(r#"{{"detail":"{error}"}}"#)),
        }
    }

    async fn perform(&self, request: Request<Incoming>) -> anyhow::Result<&'static str> {
        let input = request.into_body().collect().await?.to_bytes();
        let order: Order = serde_json::from_slice(&input)?;
        let saga = Uuid::now_v7();
        let mut sequence = 0;
        let mut next = || {
            sequence += 1;
            sequence
        };
        self.committer.commit(Transition { saga, sequence: next(), what: input }).await?;
        let mut receipt = String::new();
        for (place, path) in ACTIONS.iter().enumerate() {
            let (status, answer) = self.call(path, saga, order.action(place, &receipt)).await?;
            if place == 1 {
                serde_json::from_slice::<Receipt<'_>>(&answer)?.receipt.clone_into(&mut receipt);
            }
            // What came of it, and what is begun next, are one transition.
            self.committer.commit(Transition { saga, sequence: next(), what: answer }).await?;
            if status == StatusCode::UNPROCESSABLE_ENTITY && place == REFUSING {
                for path in COMPENSATIONS.iter().rev() {
                    let (status, answer) = self.call(path, saga, order.compensation()).await?;
                    anyhow::ensure!(status == StatusCode::OK, "{path} answered {status}");
                    self.committer.commit(Transition { saga, sequence: next(), what: answer }).await?;
                }
                return Ok(r#"{"status":"compensated"}"#);
            }
            anyhow::ensure!(status == StatusCode::OK, "{path} answered {status}");
        }
        Ok(r#"{"status":"completed"}"#)
    }

    async fn call(&self, path: &str, saga: Uuid, body: String) -> anyhow::Result<(StatusCode, Bytes)> {
        let idle = self.idle.borrow_mut().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(self.services).await?,
        };
        let answer = connection.post(path, &format!("{saga}{path}"), body.into()).await?;
        self.idle.borrow_mut().push(connection);
        Ok(answer)
    }
}

type Waiting = (Transition, oneshot::Sender<()>);

/// Commits transitions. What gathers while a transaction is on its way is the next one.
struct Committer {
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Committer {
    fn start(store: &Path) -> anyhow::Result<Committer> {
        let mut writer = Writer::open(store)?;
        let (queue, mut waiting) = mpsc::unbounded_channel::<Waiting>();
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
        Ok(Committer { queue })
    }

    async fn commit(&self, transition: Transition) -> anyhow::Result<()> {
        let (reply, durable) = oneshot::channel();
        self.queue.send((transition, reply)).ok().context("the committer has ended")?;
        durable.await.context("the committer has ended")
    }
}

struct Writer {
    sql: rusqlite::Connection,
}

impl Writer {
    fn open(store: &Path) -> anyhow::Result<Writer> {
        let sql = rusqlite::Connection::open(store)?;
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
