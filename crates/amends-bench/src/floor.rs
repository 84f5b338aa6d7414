//! The durable floor: the least that a server must do that performs a saga and never loses one.
//!
//! It takes a start over HTTP, makes the calls, and commits every transition before it acts on it, with SQLite at FULL or
//! on PostgreSQL, and as many transitions in a transaction as have gathered. It answers when the saga has ended. It has no definitions,
//! no retries, no recovery, no ownership and no one to look at it: what a saga server costs beyond this is its own doing.

mod postgres;
mod sqlite;

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
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// What is committed: that this happened to this saga.
struct Transition {
    saga: Uuid,
    sequence: i32,
    what: Bytes,
}

/// Serves until the process ends.
pub async fn run(store: &str, services: SocketAddr) -> anyhow::Result<()> {
    let floor = Rc::new(Floor { services, idle: RefCell::default(), committer: Committer::start(store).await? });
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

/// Commits transitions.
struct Committer {
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Committer {
    async fn start(store: &str) -> anyhow::Result<Committer> {
        let (queue, waiting) = mpsc::unbounded_channel();
        match store.strip_prefix("sqlite:") {
            Some(path) => sqlite::start(Path::new(path), waiting)?,
            None => postgres::start(store, waiting).await?,
        }
        Ok(Committer { queue })
    }

    async fn commit(&self, transition: Transition) -> anyhow::Result<()> {
        let (reply, durable) = oneshot::channel();
        self.queue.send((transition, reply)).ok().context("the committer has ended")?;
        durable.await.context("the committer has ended")
    }
}
