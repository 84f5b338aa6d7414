//! The task that owns the orchestrator.

use super::{Committed, Gauges, catalogue::Catalogue, neighbours::NOBODY};
use crate::egress::Egress;
use crate::orchestrator::{BatchId, Input, Loaded, Orchestrator, OutgoingCall, Output, Reply, ReplyId, Taken};
use crate::{EngineError, Settings};
use amends_core::answer::Answer;
use amends_core::time::Timestamp;
use amends_failpoints::failpoint;
use amends_store::{Acquired, Commit, FORMAT, Incarnation, Offer, Record, Store, StoreError};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// How many letters are read before the orchestrator takes its turn.
const LETTERS: usize = 1_024;
/// How often the gauges are published, at the most.
const GAUGES: Duration = Duration::from_millis(200);
/// How long to wait before the store is asked again to take this orchestrator.
const ENLIST_RETRY: Duration = Duration::from_secs(1);
/// How long that may take. Its sagas are handed out before, and there may be many.
const ENLIST_PATIENCE: Duration = Duration::from_secs(60);
/// A clock that differs by less than this is left as it is.
const CLOCK_TOLERANCE_MS: u64 = 250;
/// How long to wait before a definition is read again that could not be.
const DEFINITION_RETRY: Duration = Duration::from_millis(250);

/// The time: the store's at the start, and from then on a clock of this process that no jump of the system's can touch. It
/// is set anew where it has come to differ from the store's, which all that share the store go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    began_at: Timestamp,
}

impl Clock {
    pub(super) fn start(now: Timestamp) -> Clock {
        Clock { began: Instant::now(), began_at: now }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.began_at.plus(self.began.elapsed().as_millis() as u64)
    }

    /// Compares it with what the store's clock said at some moment between two.
    fn compare(&mut self, from: Instant, to: Instant, said: Timestamp) {
        let reading = |at: Instant| self.began_at.plus(at.saturating_duration_since(self.began).as_millis() as u64);
        let behind_ms = said.since(reading(to));
        let ahead_ms = reading(from).since(said);
        if behind_ms.max(ahead_ms) > CLOCK_TOLERANCE_MS {
            tracing::warn!(behind_ms, ahead_ms, "this process's clock is set to the store's");
            *self = Clock { began: to, began_at: said };
        }
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.began + Duration::from_millis(at.since(self.began_at))
    }
}

/// What is sent to the driver.
pub(super) enum Letter {
    /// Something came of what the orchestrator wanted; for another life of it, nothing.
    Tell { life: u64, input: Input },
    /// The lease was renewed: when that was asked and answered, and what the store's clock said in between.
    Renewed { asked: Instant, answered: Instant, now: Timestamp },
    /// Sagas of another orchestrator that has ended are due.
    Freed,
    /// Whether an orchestrator of a newer program is at work on the same store.
    Newer(bool),
    /// Another orchestrator has taken over from this incarnation.
    Fenced(Incarnation),
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
    pub(super) me: watch::Sender<Incarnation>,
    /// How often it has begun anew: what was asked for in an earlier life is nothing to this one.
    pub(super) life: u64,
    pub(super) settings: Settings,
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
    /// When the lease was last asked for with success.
    pub(super) renewed: Instant,
    /// Whether this incarnation is at its end: another one has taken over, or it is not known what it owns.
    pub(super) is_fenced: bool,
    /// The batches on their way. The driver waits for them itself: a task between the store and the driver would be two more
    /// changes of thread in every step of every saga.
    pub(super) committing: FuturesUnordered<Committing>,
    pub(super) stopping: Option<Stopping>,
}

pub(super) type Committing = Pin<Box<dyn Future<Output = Letter> + Send>>;

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
                Some(letter) = self.committing.next() => letters.push(letter),
                () = tokio::time::sleep_until(wake_at) => {}
            }
            let now = self.clock.now();
            for letter in letters.drain(..) {
                self.open(now, letter);
            }
            self.orchestrator.turn(now);
            failpoint!(TurnAfter);
            let outputs: Vec<Output> = self.orchestrator.outputs().collect();
            // A commit of an incarnation that others have taken over from is refused, but nothing refuses its calls.
            let is_overdue = self.store.lease().is_some_and(|lease| self.renewed.elapsed() >= lease);
            if self.is_fenced || is_overdue {
                if !self.begin_anew().await {
                    return;
                }
                continue;
            }
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
                // Nobody would take their answers, and what hangs in one of them would hold up what follows.
                self.committing = FuturesUnordered::new();
                let me = *self.me.borrow();
                let released = self.store.retire(me, self.clock.now()).await;
                failpoint!(async RetireAfter);
                // Whoever asked for the stop may have lost patience.
                let _nobody_waits = stopping.done.send(released);
                return;
            }
        }
    }

    /// Drops everything that the incarnation held, which others work on by now, and goes on as a new one. Returns whether
    /// there is still somebody who wants it to.
    async fn begin_anew(&mut self) -> bool {
        tracing::warn!(
            "this one begins anew: another orchestrator has taken over, its lease has run out, or the store has lost an answer"
        );
        self.life += 1;
        self.committing = FuturesUnordered::new();
        let fenced = || EngineError::Store(StoreError::Fenced);
        std::mem::take(&mut self.callers).into_values().for_each(|caller| refuse(caller, fenced()));
        let before = self.me.send_replace(NOBODY);
        loop {
            if let Some(Stopping { until, done }) = self.stopping.take() {
                let released = tokio::time::timeout_at(until, self.store.retire(before, self.clock.now())).await;
                let late = || Err(StoreError::Unavailable("the store does not answer".into()));
                // Whoever asked for the stop may have lost patience.
                let _nobody_waits = done.send(released.unwrap_or_else(|_| late()));
                return false;
            }
            let why = match tokio::time::timeout(ENLIST_PATIENCE, self.enlist_anew(before)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer in time".into(),
            };
            tracing::warn!(why, "the store does not take this orchestrator; it tries again");
            self.gauges.send_modify(|gauges| gauges.store_outage = Some(why));
            // Whoever asks meanwhile is told, and may ask another.
            let retry_at = Instant::now() + ENLIST_RETRY;
            while let Ok(letter) = tokio::time::timeout_at(retry_at, self.incoming.recv()).await {
                match letter {
                    None => return false,
                    Some(Letter::Ask { callers, .. }) => {
                        callers.into_iter().for_each(|(_, caller)| refuse(caller, fenced()));
                    }
                    Some(Letter::Stop { grace_ms, done }) => {
                        let until = Instant::now() + Duration::from_millis(grace_ms);
                        self.stopping = Some(Stopping { until, done });
                        break;
                    }
                    Some(_) => {}
                }
            }
        }
        tracing::warn!("this one goes on as a new incarnation");
        self.is_fenced = false;
        true
    }

    /// Gives up what the incarnation had, unless another one has taken it already, and enlists as a new one.
    async fn enlist_anew(&mut self, before: Incarnation) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.store.retire(before, now).await?;
        let orchestrator = orchestrator(&*self.store, &self.settings, now).await?;
        let me = Uuid::now_v7();
        let asked = Instant::now();
        self.store.enlist(me, now).await?;
        self.renewed = asked;
        self.orchestrator = orchestrator;
        self.me.send_replace(me);
        Ok(())
    }

    fn wake_at(&self, gauges_at: Instant) -> Instant {
        let next = self.orchestrator.wake_at().map(|at| self.clock.instant(at));
        let stop = self.stopping.as_ref().map(|stopping| stopping.until);
        [next, stop].into_iter().flatten().fold(gauges_at.max(Instant::now()), Instant::min)
    }

    fn open(&mut self, now: Timestamp, letter: Letter) {
        match letter {
            Letter::Tell { life, input } if life == self.life => self.orchestrator.handle(now, input),
            Letter::Tell { .. } => {}
            Letter::Renewed { asked, answered, now } => {
                self.renewed = self.renewed.max(asked);
                self.clock.compare(asked, answered, now);
            }
            Letter::Newer(is_there) => self.orchestrator.handle(now, Input::Newer(is_there)),
            Letter::Freed => self.orchestrator.handle(now, Input::Freed),
            Letter::Fenced(whom) => self.is_fenced |= whom == *self.me.borrow(),
            Letter::Ask { callers, .. } if self.stopping.is_some() => {
                callers.into_iter().for_each(|(_, caller)| refuse(caller, EngineError::Stopping));
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
        let (me, now, life) = (*self.me.borrow(), self.clock.now(), self.life);
        match output {
            Output::Commit { batch, offer, commits } => {
                let committed = commit_one(store, me, batch, offer, commits);
                self.committing.push(Box::pin(letter(life, committed)));
            }
            Output::Claim { limit } => {
                let catalogue = self.catalogue.clone();
                self.spawn(async move { Input::Claimed(claim(&*store, &catalogue, me, now, limit).await) });
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
            Output::Permits(request) => self.spawn(async move { Input::Permitted(store.permits(request).await) }),
            // Others may be making it.
            Output::Call(_) if self.is_fenced => {}
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
            Output::Fatal(EngineError::Store(StoreError::Fenced | StoreError::Unknown(_)))
                if self.store.lease().is_some() =>
            {
                self.is_fenced = true;
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
        tokio::spawn(letter(self.life, work).map(move |letter| {
            if let Some(letters) = letters.upgrade() {
                // Where the driver has ended there is nobody to tell.
                let _nobody_reads = letters.send(letter);
            }
        }));
    }
}

/// What comes of work. A result that never came would hold up its saga, or every commit, for ever.
///
/// Not an `async fn`: one that wraps another has room for it twice, and there is one of these for each call.
fn letter(life: u64, work: impl Future<Output = Input>) -> impl Future<Output = Letter> {
    let done = AssertUnwindSafe(work).catch_unwind();
    done.map(move |input| input.map_or(Letter::Panicked, |input| Letter::Tell { life, input }))
}

/// One that has nothing in memory, and knows whether a newer program is at work: what it cannot read is for that one.
pub(super) async fn orchestrator(
    store: &dyn Store,
    settings: &Settings,
    now: Timestamp,
) -> Result<Orchestrator, StoreError> {
    let mut orchestrator = Orchestrator::new(settings.clone(), now, fastrand::u64(..));
    orchestrator.handle(now, Input::Newer(store.newest_format().await? > FORMAT));
    Ok(orchestrator)
}

fn refuse(caller: oneshot::Sender<Result<Reply, EngineError>>, error: EngineError) {
    // Whoever has lost patience finds the saga by its id or key.
    let _nobody_waits = caller.send(Err(error));
}

async fn commit_one(
    store: Arc<dyn Store>,
    me: Incarnation,
    batch: BatchId,
    offer: Offer,
    commits: Arc<[Commit]>,
) -> Input {
    failpoint!(async CommitBefore);
    let result = match offer {
        Offer::First => store.commit(me, commits).await,
        Offer::Again => store.commit_again(me, commits).await,
    };
    failpoint!(async CommitAfter);
    Input::Committed { batch, result }
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

async fn claim(
    store: &dyn Store,
    catalogue: &Catalogue,
    me: Incarnation,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<Loaded>, Option<Timestamp>), StoreError> {
    failpoint!(async ClaimBefore);
    let claimed = store.claim(me, now, limit).await;
    failpoint!(async ClaimAfter);
    let claimed = claimed?;
    Ok((load_all(catalogue, claimed.records).await?, claimed.next_due))
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
        Acquired::Elsewhere(owner) => Taken::Elsewhere(owner),
        Acquired::Missing => Taken::Missing,
    })
}
