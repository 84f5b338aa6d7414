//! The task that owns the orchestrator.

use super::{Committed, Gauges, catalogue::Catalogue};
use crate::EngineError;
use crate::egress::Egress;
use crate::orchestrator::{Input, Loaded, Orchestrator, OutgoingCall, Output, Reply, ReplyId, Taken};
use amends_core::answer::Answer;
use amends_core::time::Timestamp;
use amends_failpoints::failpoint;
use amends_store::{Acquired, Incarnation, Record, Store, StoreError};
use futures_util::FutureExt;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// How many letters are read before the orchestrator takes its turn.
const LETTERS: usize = 1_024;
/// How often the gauges are published, at the most.
const GAUGES: Duration = Duration::from_millis(200);
/// How long to wait before a definition is read again that could not be.
const DEFINITION_RETRY: Duration = Duration::from_millis(250);

/// The time: the system's at the start, and from then on a clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    began_at: Timestamp,
}

impl Clock {
    pub(super) fn start() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), began_at: Timestamp(since_epoch.as_millis() as u64) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.began_at.plus(self.began.elapsed().as_millis() as u64)
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.began + Duration::from_millis(at.since(self.began_at))
    }
}

/// What is sent to the driver.
pub(super) enum Letter {
    /// Something happened.
    Tell(Input),
    /// Somebody asks, and waits.
    Ask { input: Input, callers: Vec<(ReplyId, oneshot::Sender<Result<Reply, EngineError>>)> },
    /// Whoever waited for a saga to settle waits no longer.
    Forget { reply: ReplyId, saga: Uuid },
    /// Something that runs beside the driver has panicked.
    Panicked,
    /// The engine is to stop.
    Stop { grace_ms: u64, done: oneshot::Sender<Result<(), StoreError>> },
}

/// Owns the orchestrator, and does what it says.
pub(super) struct Driver {
    pub(super) me: Incarnation,
    pub(super) clock: Clock,
    pub(super) orchestrator: Orchestrator,
    pub(super) store: Arc<dyn Store>,
    pub(super) egress: Arc<Egress>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) incoming: mpsc::UnboundedReceiver<Letter>,
    /// Weak, so that the driver ends when nobody holds the engine any more.
    pub(super) letters: mpsc::WeakUnboundedSender<Letter>,
    pub(super) callers: BTreeMap<ReplyId, oneshot::Sender<Result<Reply, EngineError>>>,
    pub(super) announcements: broadcast::Sender<Arc<Committed>>,
    pub(super) gauges: watch::Sender<Gauges>,
    pub(super) failure: watch::Sender<Option<EngineError>>,
    /// The batch on its way. The driver waits for it itself: a task between the store and the driver would be two more
    /// changes of thread in every step of every saga.
    pub(super) committing: Option<Committing>,
    pub(super) stopping: Option<Stopping>,
}

type Committing = Pin<Box<dyn Future<Output = Letter> + Send>>;

/// The engine is on its way out.
pub(super) struct Stopping {
    until: Instant,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Driver {
    /// Runs until the engine is stopped, cannot go on, or is held by nobody any more.
    pub(super) async fn run(mut self) {
        let mut letters = Vec::with_capacity(LETTERS);
        let mut gauges_at = Instant::now();
        loop {
            let wake_at = self.wake_at(gauges_at);
            tokio::select! {
                count = self.incoming.recv_many(&mut letters, LETTERS) => if count == 0 { return },
                letter = committed(&mut self.committing) => letters.push(letter),
                () = tokio::time::sleep_until(wake_at) => {}
            }
            let now = self.clock.now();
            for letter in letters.drain(..) {
                self.open(now, letter);
            }
            self.orchestrator.turn(now);
            failpoint!(TurnAfter);
            let outputs: Vec<Output> = self.orchestrator.outputs().collect();
            for output in outputs {
                self.carry_out(output);
            }
            if gauges_at <= Instant::now() {
                gauges_at = Instant::now() + GAUGES;
                self.gauges.send_replace(self.orchestrator.gauges());
            }
            if self.failure.borrow().is_some() {
                return;
            }
            if let Some(stopping) =
                self.stopping.take_if(|stopping| stopping.until <= Instant::now() || self.orchestrator.is_quiet())
            {
                failpoint!(async RetireBefore);
                let released = self.store.retire(self.me, self.clock.now()).await;
                failpoint!(async RetireAfter);
                // Whoever asked for the stop may have lost patience.
                let _nobody_waits = stopping.done.send(released);
                return;
            }
        }
    }

    fn wake_at(&self, gauges_at: Instant) -> Instant {
        let next = self.orchestrator.wake_at().map(|at| self.clock.instant(at));
        let stop = self.stopping.as_ref().map(|stopping| stopping.until);
        [next, stop].into_iter().flatten().fold(gauges_at.max(Instant::now()), Instant::min)
    }

    fn open(&mut self, now: Timestamp, letter: Letter) {
        match letter {
            Letter::Tell(input) => self.orchestrator.handle(now, input),
            Letter::Ask { callers, .. } if self.stopping.is_some() => {
                for (_, caller) in callers {
                    let _nobody_waits = caller.send(Err(EngineError::Stopping));
                }
            }
            Letter::Ask { input, callers } => {
                self.callers.extend(callers);
                self.orchestrator.handle(now, input);
            }
            Letter::Forget { reply, saga } => {
                self.callers.remove(&reply);
                self.orchestrator.handle(now, Input::Forget { reply, saga });
            }
            Letter::Panicked => {
                tracing::error!(
                    "a task of the engine has panicked, and what it was to do is in doubt: the engine stops"
                );
                self.failure.send_replace(Some(EngineError::Broken));
            }
            Letter::Stop { grace_ms, done } => {
                failpoint!(StopBegun);
                self.orchestrator.close();
                self.stopping = Some(Stopping { until: Instant::now() + Duration::from_millis(grace_ms), done });
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        let store = self.store.clone();
        let (me, now) = (self.me, self.clock.now());
        match output {
            Output::CommitAgain(batch) => {
                self.committing =
                    Some(Box::pin(letter(async move { Input::Committed(store.commit_again(me, batch).await) })));
            }
            Output::Commit(batch) => {
                self.committing = Some(Box::pin(letter(async move {
                    failpoint!(async CommitBefore);
                    let committed = store.commit(me, batch).await;
                    failpoint!(async CommitAfter);
                    Input::Committed(committed)
                })));
            }
            Output::Claim { limit } => {
                let catalogue = self.catalogue.clone();
                self.spawn(async move {
                    failpoint!(async ClaimBefore);
                    let claimed = store.claim(me, now, limit).await;
                    failpoint!(async ClaimAfter);
                    Input::Claimed(match claimed {
                        Ok(claimed) => load_all(&catalogue, claimed.records).await.map(|all| (all, claimed.next_due)),
                        Err(error) => Err(error),
                    })
                });
            }
            Output::Acquire { saga } => {
                let catalogue = self.catalogue.clone();
                self.spawn(async move {
                    failpoint!(async AcquireBefore);
                    let acquired = store.acquire(me, saga).await;
                    failpoint!(async AcquireAfter);
                    let result = match acquired {
                        Ok(acquired) => taken(&catalogue, acquired).await,
                        Err(error) => Err(error),
                    };
                    Input::Acquired { saga, result }
                });
            }
            Output::Receive(request) => self.spawn(async move {
                let participant = request.participant.clone();
                failpoint!(async ReceiveBefore);
                let result = store.receive(me, request).await;
                failpoint!(async ReceiveAfter);
                Input::Received { participant, result }
            }),
            Output::Call(call) => {
                let egress = self.egress.clone();
                self.spawn(call_one(egress, *call));
            }
            Output::Reply { reply, result } => {
                if let Some(caller) = self.callers.remove(&reply) {
                    failpoint!(ReplyBefore);
                    // A caller that has lost patience finds the saga by its id or key.
                    let _nobody_waits = caller.send(result);
                }
            }
            Output::Announce { saga, events } => {
                if self.announcements.receiver_count() > 0 {
                    let _nobody_listens = self.announcements.send(Arc::new(Committed { saga, events }));
                }
            }
            Output::Fatal(error) => {
                tracing::error!(%error, "the engine cannot go on");
                self.failure.send_replace(Some(error));
            }
        }
    }

    /// Runs something slow, and hands its result in.
    fn spawn(&self, work: impl Future<Output = Input> + Send + 'static) {
        let letters = self.letters.clone();
        tokio::spawn(async move {
            let letter = letter(work).await;
            if let Some(letters) = letters.upgrade() {
                // Where the driver has ended there is nobody to tell.
                let _nobody_reads = letters.send(letter);
            }
        });
    }
}

/// What comes of work. A result that never came would hold up its saga, or every commit, for ever.
async fn letter(work: impl Future<Output = Input>) -> Letter {
    AssertUnwindSafe(work).catch_unwind().await.map_or(Letter::Panicked, Letter::Tell)
}

/// Waits for the batch that is on its way; for ever if there is none.
async fn committed(committing: &mut Option<Committing>) -> Letter {
    let Some(batch) = committing else { return std::future::pending().await };
    let letter = batch.await;
    *committing = None;
    letter
}

async fn call_one(egress: Arc<Egress>, call: OutgoingCall) -> Input {
    let (id, began) = (call.id, Instant::now());
    let answer = if failpoint!(async CallBefore) {
        Answer::NotSent { error: "failpoint call.before".into() }
    } else {
        egress.call(call).await
    };
    failpoint!(async CallAfter);
    Input::Answered { call: id, answer, took_ms: began.elapsed().as_millis() as u64 }
}

/// Finds a saga's definition. The saga is this engine's by now, so a store that cannot be read is asked until it can be:
/// nobody else would look after it.
async fn load(catalogue: &Catalogue, record: Record) -> Result<Loaded, StoreError> {
    loop {
        let definition = match catalogue.version(&record.birth.version).await {
            Ok(Some(definition)) => definition,
            Ok(None) => Err(format!("its definition, version {}, is not in the store", record.birth.version)),
            Err(StoreError::Unavailable(why) | StoreError::Unknown(why)) => {
                tracing::warn!(saga = %record.id, %why, "a definition cannot be read; it is tried again");
                tokio::time::sleep(DEFINITION_RETRY).await;
                continue;
            }
            Err(error @ (StoreError::Fenced | StoreError::Damaged(_))) => return Err(error),
        };
        return Ok(Loaded { record, definition });
    }
}

async fn load_all(catalogue: &Catalogue, records: Vec<Record>) -> Result<Vec<Loaded>, StoreError> {
    let mut loaded = Vec::with_capacity(records.len());
    for record in records {
        loaded.push(load(catalogue, record).await?);
    }
    Ok(loaded)
}

async fn taken(catalogue: &Catalogue, acquired: Acquired) -> Result<Taken, StoreError> {
    Ok(match acquired {
        Acquired::Yours(record) => Taken::Yours(Box::new(load(catalogue, *record).await?)),
        Acquired::Finished(record) => Taken::Finished(Box::new(load(catalogue, *record).await?)),
        Acquired::Elsewhere(_) => Taken::Elsewhere,
        Acquired::Missing => Taken::Missing,
    })
}
