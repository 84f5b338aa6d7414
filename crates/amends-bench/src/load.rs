//! The closed loop: so many callers, each of whom starts a saga, waits for its end, and starts the next.

use crate::http::Connection;
use crate::shop::{ACTIONS, COMPENSATIONS, LEDGER, Ledger, Order, REFUSING, Receipt};
use crate::subject::Subject;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How many callers start sagas whose end nobody waits for.
const STARTING: usize = 64;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who is asked.
    pub subject: Subject,
    /// Where it listens, each caller at one of them in turn; for the bare floor, where the services listen.
    pub addresses: Vec<SocketAddr>,
    /// How many sagas are in flight at once.
    pub in_flight: usize,
    /// One in so many is refused; none if 0.
    pub refused: u64,
}

/// How long the sagas took that came to their end, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// One number for each.
    pub took_us: Vec<u32>,
}

impl Finished {
    /// The time that this share of the sagas took at most, in milliseconds.
    pub fn quantile_ms(&mut self, share: f64) -> f64 {
        self.took_us.sort_unstable();
        let place = (self.took_us.len() as f64 * share) as usize;
        self.took_us.get(place.min(self.took_us.len().saturating_sub(1))).map_or(0.0, |us| f64::from(*us) / 1_000.0)
    }
}

/// A load that runs until it is told to stop, or until there are as many sagas as there were to be.
pub struct Running {
    state: Rc<State>,
    callers: Vec<JoinHandle<anyhow::Result<()>>>,
}

struct State {
    load: Load,
    /// The number of the next saga.
    next: Cell<u64>,
    /// Below this.
    end: Cell<u64>,
    finished: RefCell<Finished>,
    /// What the services must have done for the sagas that ended.
    expected: RefCell<Ledger>,
}

impl Load {
    /// Begins. The callers share this thread.
    pub fn start(self, sagas: u64) -> Running {
        let in_flight = self.in_flight;
        let state = Rc::new(State {
            load: self,
            next: Cell::new(0),
            end: Cell::new(sagas),
            finished: RefCell::default(),
            expected: RefCell::default(),
        });
        let callers = (0..in_flight).map(|caller| tokio::task::spawn_local(state.clone().call(caller))).collect();
        Running { state, callers }
    }
}

impl Running {
    /// Lets it run for a while, and says what came to its end in that time.
    pub async fn observe(&self, time: Duration) -> (Finished, Duration) {
        self.state.finished.take();
        let began = Instant::now();
        tokio::time::sleep(time).await;
        (self.state.finished.take(), began.elapsed())
    }

    /// Waits until so many sagas have come to their end since the last look, and says how long they took.
    pub async fn observe_sagas(&self, sagas: usize) -> anyhow::Result<Finished> {
        self.state.finished.take();
        while self.state.finished.borrow().took_us.len() < sagas {
            ensure!(self.callers.iter().all(|caller| !caller.is_finished()), "a caller has given up");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(self.state.finished.take())
    }

    /// Starts nothing more and waits for what is in flight. Returns what the services must have done for all of it.
    pub async fn stop(self) -> anyhow::Result<Ledger> {
        self.state.end.set(0);
        for caller in self.callers {
            caller.await??;
        }
        Ok(self.state.expected.take())
    }
}

impl State {
    async fn call(self: Rc<State>, caller: usize) -> anyhow::Result<()> {
        let Load { subject, addresses, refused, .. } = &self.load;
        let mut connection = Connection::open(addresses[caller % addresses.len()]).await?;
        while self.next.get() < self.end.get() {
            let number = self.next.replace(self.next.get() + 1);
            let order = Order::new(number, *refused > 0 && number.is_multiple_of(*refused));
            let began = Instant::now();
            let completed = match subject {
                Subject::Bare => perform(&mut connection, &order).await?,
                Subject::Floor | Subject::Amends | Subject::Other | Subject::Several | Subject::Read => {
                    start(&mut connection, &order).await?
                }
            };
            ensure!(completed != order.refuse, "{} ended as it should not", order.id);
            self.finished.borrow_mut().took_us.push(began.elapsed().as_micros() as u32);
            let mut expected = self.expected.borrow_mut();
            expected.done += if completed { 4 } else { 2 };
            expected.undone += if completed { 0 } else { 2 };
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Ended<'a> {
    status: &'a str,
}

/// Starts a saga for each of these orders and waits until each is accepted, not for its end.
pub async fn start_all(address: SocketAddr, definition: &str, orders: Range<u64>) -> anyhow::Result<()> {
    let next = Rc::new(Cell::new(orders.start));
    let callers = (0..STARTING).map(|_| {
        let (next, path, end) = (next.clone(), format!("/v1/sagas/{definition}"), orders.end);
        tokio::task::spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            while next.get() < end {
                let order = Order::new(next.replace(next.get() + 1), false);
                let (status, body) = connection.post(&path, &order.id, serde_json::to_vec(&order)?.into()).await?;
                let told = String::from_utf8_lossy(&body);
                ensure!(status == StatusCode::ACCEPTED, "a start was answered {status}: {told}");
            }
            anyhow::Ok(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

/// Starts a saga and waits for its end. Returns whether it completed.
async fn start(connection: &mut Connection, order: &Order) -> anyhow::Result<bool> {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/sagas/bench")
        .header(header::CONTENT_TYPE, "application/json")
        .header("prefer", "wait=60")
        .body(Full::new(Bytes::from(serde_json::to_vec(order)?)))?;
    let (status, body) = connection.send(request).await?;
    ensure!(status == StatusCode::OK, "a start was answered {status}: {}", String::from_utf8_lossy(&body));
    match serde_json::from_slice::<Ended<'_>>(&body).context("an answer has a status")?.status {
        "completed" => Ok(true),
        "compensated" => Ok(false),
        other => bail!("a saga ended {other}"),
    }
}

/// Makes the calls of a saga, as a program without a saga server would. Returns whether all of them succeeded.
async fn perform(connection: &mut Connection, order: &Order) -> anyhow::Result<bool> {
    let mut receipt = String::new();
    for (place, path) in ACTIONS.iter().enumerate() {
        let (status, answer) =
            connection.post(path, &format!("{}{path}", order.id), order.action(place, &receipt).into()).await?;
        if status == StatusCode::UNPROCESSABLE_ENTITY && place == REFUSING {
            for path in COMPENSATIONS.iter().rev() {
                let undo = connection.post(path, &format!("{}{path}", order.id), order.compensation().into()).await?;
                ensure!(undo.0 == StatusCode::OK, "{path} answered {}", undo.0);
            }
            return Ok(false);
        }
        ensure!(status == StatusCode::OK, "{path} answered {status}");
        if place == 1 {
            serde_json::from_slice::<Receipt<'_>>(&answer)?.receipt.clone_into(&mut receipt);
        }
    }
    Ok(true)
}

/// Reads the services' ledger, which begins anew with that.
pub async fn read_ledger(services: SocketAddr) -> anyhow::Result<Ledger> {
    let mut connection = Connection::open(services).await?;
    let (_, body) = connection.send(Request::builder().uri(LEDGER).body(Full::default())?).await?;
    Ok(serde_json::from_slice(&body)?)
}
