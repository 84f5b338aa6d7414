//! The shell around the orchestrator: it brings the clock, the store, the network and the callers to it.
//!
//! One task owns the orchestrator, and waits for letters and for the batch that the store has in hand. Everything else (a
//! claim, a call to a participant) runs in a task of its own that ends by handing its result in; so nothing that is slow
//! holds up anything else.

mod catalogue;
mod driver;
mod neighbours;
mod retention;

use crate::message::{self, Addressee};
use crate::orchestrator::{Input, Reply, ReplyId, StartInput};
use crate::{EngineError, Order, Settings, Snapshot, StartRequest, Started, egress::Egress};
use amends_core::definition::Definition;
use amends_core::machine::Event;
use amends_core::time::Timestamp;
use amends_failpoints::failpoint;
use amends_store::{Deed, Incarnation, Item, Patience, Store, StoreError, StoredDefinition, Views};
use catalogue::Catalogue;
use driver::{Clock, Driver, Letter};
use futures_util::stream::FuturesUnordered;
use neighbours::{Answer, Neighbour};
use retention::Retention;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use uuid::Uuid;

/// How many commits a listener may lag behind before it is told that it has missed some.
const ANNOUNCEMENTS: usize = 4_096;

/// How long an order follows a saga that others own, from one to the next.
const ELSEWHERE: Duration = Duration::from_secs(25);
/// How long a saga's owner may take to answer, before it is asked again whose the saga is.
const OWNER_ANSWERS: Duration = Duration::from_secs(5);
/// How often it is looked whether the owner has answered.
const COLLECT: Duration = Duration::from_millis(50);
/// How often a saga that another one works on is looked at, where somebody waits for its end.
const LOOK: Duration = Duration::from_millis(250);
/// And how often at the least, when that takes long.
const LOOK_AT_LEAST: Duration = Duration::from_secs(2);

/// The engine. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    letters: mpsc::UnboundedSender<Letter>,
    next_reply: Arc<AtomicU64>,
    store: Arc<dyn Store>,
    views: Arc<dyn Views>,
    catalogue: Arc<Catalogue>,
    announcements: broadcast::Sender<Arc<Committed>>,
    gauges: watch::Receiver<Gauges>,
    failure: watch::Receiver<Option<EngineError>>,
    clock: Clock,
}

/// How to start an engine.
pub struct EngineOptions {
    /// Where sagas are kept.
    pub store: Arc<dyn Store>,
    /// The same store, as it is read.
    pub views: Arc<dyn Views>,
    /// What the configuration says.
    pub settings: Settings,
}

/// Events of one saga that were just committed.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The saga after the events.
    pub saga: Snapshot,
    /// The events with their numbers.
    pub events: Vec<(u64, Timestamp, Event)>,
}

/// What the engine has in its hands right now.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Sagas in memory.
    pub live_sagas: usize,
    /// Why the store cannot take commits, while it cannot.
    pub store_outage: Option<String>,
    /// By participant.
    pub participants: BTreeMap<String, ParticipantGauges>,
}

/// What the engine has in its hands for one participant, and what it has done since the start.
#[derive(Clone, Debug, Default)]
pub struct ParticipantGauges {
    /// Actions and probes in flight.
    pub calls_in_flight: usize,
    /// Actions and probes that wait for a place.
    pub calls_waiting: usize,
    /// Compensations in flight.
    pub compensations_in_flight: usize,
    /// Whether compensations are held back: `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Calls that ended, by direction and class (`done`, `refused`, `not-done`, `in-progress`, `unknown`).
    pub ended: BTreeMap<(&'static str, &'static str), u64>,
    /// Milliseconds that the calls took, in cumulative buckets with upper bounds [`Gauges::BUCKETS_MS`], then the sum.
    pub latency: (Vec<u64>, u64),
}

impl Gauges {
    /// Upper bounds of the latency buckets, in milliseconds; the last one is infinite.
    pub const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, u64::MAX];
}

impl Engine {
    /// Starts an engine: it enlists, and takes up what is unfinished as soon as this returns.
    ///
    /// # Errors
    /// Where the store fails, or TLS cannot be set up.
    pub async fn start(options: EngineOptions) -> Result<Engine, EngineError> {
        let EngineOptions { store, views, mut settings } = options;
        settings.commits_in_flight = store.commits_in_flight();
        settings.is_shared = store.lease().is_some();
        let me = Uuid::now_v7();
        let egress = Egress::new(&settings).map_err(EngineError::BadInput)?;
        let clock = Clock::start(store.time().await?);
        let orchestrator = driver::orchestrator(&*store, &settings, clock.now()).await?;
        let renewed = tokio::time::Instant::now();
        store.enlist(me, clock.now()).await?;
        failpoint!(async EnlistAfter);
        let catalogue = Arc::new(Catalogue::load(store.clone()).await?);
        let (letters, incoming) = mpsc::unbounded_channel();
        let announcements = broadcast::Sender::new(ANNOUNCEMENTS);
        let (publish_gauges, gauges) = watch::channel(Gauges::default());
        let (publish_failure, failure) = watch::channel(None);
        let next_reply = Arc::new(AtomicU64::new(1));
        let (me, who) = watch::channel(me);
        let retention = Retention { store: store.clone(), retention_ms: settings.retention_ms, me: who.clone() };
        tokio::spawn(retention.run());
        let neighbour = Neighbour {
            store: store.clone(),
            catalogue: catalogue.clone(),
            me: who,
            letters: letters.downgrade(),
            next_reply: next_reply.clone(),
        };
        if let Some(lease) = store.lease() {
            tokio::spawn(neighbour.clone().give_signs_of_life(lease));
            tokio::spawn(neighbour.clone().keep_watch(lease));
            tokio::spawn(neighbour.look_into_inbox());
        }
        let driver = Driver {
            me,
            life: 0,
            settings,
            clock,
            orchestrator,
            store: store.clone(),
            egress: Arc::new(egress),
            catalogue: catalogue.clone(),
            incoming,
            letters: letters.downgrade(),
            callers: BTreeMap::new(),
            announcements: announcements.clone(),
            gauges: publish_gauges,
            failure: publish_failure,
            renewed,
            is_fenced: false,
            committing: FuturesUnordered::new(),
            stopping: None,
        };
        tokio::spawn(driver.run());
        Ok(Engine { letters, next_reply, store, views, catalogue, announcements, gauges, failure, clock })
    }

    /// Starts a saga, or finds the one that the same work started before.
    ///
    /// # Errors
    /// See [`EngineError`]; nothing was started then.
    pub async fn start_saga(&self, request: StartRequest) -> Result<Started, EngineError> {
        let definition = self.catalogue.current(&request.definition)?;
        let (reply, accepted) = self.caller();
        let (settled_reply, settled) = self.caller();
        let start = StartInput {
            reply,
            settled: request.wait_ms.map(|_| settled_reply),
            id: Uuid::now_v7(),
            definition,
            input: request.input,
            traceparent: request.traceparent,
        };
        let mut callers = vec![(reply, accepted.sender)];
        callers.extend(request.wait_ms.map(|_| (settled_reply, settled.sender)));
        self.send(Letter::Ask { input: Input::Start(Box::new(start)), callers })?;
        match (answer(accepted.receiver).await?, request.wait_ms) {
            (Reply::Accepted(saga) | Reply::Saga(saga), None) => Ok(Started { saga, created: true }),
            (Reply::Accepted(saga) | Reply::Saga(saga), Some(wait_ms)) => {
                let waiting = Waiting { engine: self, reply: settled_reply, saga: saga.id };
                let saga = waiting.wait(settled.receiver, wait_ms).await?;
                Ok(Started { saga, created: true })
            }
            (Reply::Existing(id), wait_ms) => {
                let saga = self.read_when_settled(id, wait_ms.unwrap_or(0)).await?;
                Ok(Started { saga, created: false })
            }
        }
    }

    /// Asks something of a saga. The answer comes when what was asked is durable.
    ///
    /// # Errors
    /// See [`EngineError`]; nothing was changed then.
    pub async fn order(&self, saga: Uuid, order: Order) -> Result<Snapshot, EngineError> {
        let until = Instant::now() + ELSEWHERE;
        loop {
            let owner = match self.order_here(saga, order.clone()).await {
                Err(EngineError::Elsewhere(owner)) if Instant::now() < until => owner,
                Err(EngineError::MovedOn) if Instant::now() < until => continue,
                done => return done,
            };
            match self.order_elsewhere(owner, saga, &order).await {
                None | Some(Err(EngineError::MovedOn)) => {}
                Some(done) => return done,
            }
        }
    }

    /// Takes in the answer to a message that was sent.
    ///
    /// # Errors
    /// [`EngineError::BadInput`] where it answers nothing that can have been sent, [`EngineError::Conflict`] where nobody waits for it
    /// (any more); else see [`EngineError`].
    pub async fn reply(&self, answer: message::Answer) -> Result<Snapshot, EngineError> {
        let message::Answer { to, reply } = answer;
        let Some(Addressee { saga, step, direction, attempt }) = Addressee::read(&to) else {
            let why = "`to` is the id of no command; give back the `id` of the command that is answered";
            return Err(EngineError::BadInput(why.into()));
        };
        let reply = message::bounded(reply);
        self.order(saga, Order::Reply { step: step.to_owned(), direction, attempt, reply }).await
    }

    async fn order_here(&self, saga: Uuid, order: Order) -> Result<Snapshot, EngineError> {
        match self.ask(|reply| Input::Order { reply, saga, order }).await? {
            Reply::Saga(saga) | Reply::Accepted(saga) => Ok(saga),
            Reply::Existing(id) => self.read(id).await,
        }
    }

    /// Leaves an order for the orchestrator that owns the saga, and waits for its answer. `None` where there was none: it may
    /// have ended, and the saga may be anybody's by now.
    async fn order_elsewhere(
        &self,
        owner: Incarnation,
        saga: Uuid,
        order: &Order,
    ) -> Option<Result<Snapshot, EngineError>> {
        let body = serde_json::to_vec(order).expect("an order is plain data");
        let item = Item { id: Uuid::now_v7(), to: owner, saga, body };
        let id = item.id;
        if let Err(error) = self.store.leave(item).await {
            return Some(Err(error.into()));
        }
        let until = Instant::now() + OWNER_ANSWERS;
        loop {
            tokio::time::sleep(COLLECT).await;
            let patience = if Instant::now() < until { Patience::Wait } else { Patience::GiveUp };
            match (self.store.collect(id, patience).await, patience) {
                (Ok(Some(answer)), _) => {
                    return Some(match Answer::read(&answer, saga) {
                        Ok(()) => self.read(saga).await,
                        Err(error) => Err(error),
                    });
                }
                (Ok(None), Patience::Wait) => {}
                (Ok(None), Patience::GiveUp) => return None,
                // The owner may have done it all the same.
                (Err(_), Patience::Wait) => {}
                (Err(error), Patience::GiveUp) => return Some(Err(error.into())),
            }
        }
    }

    /// Whether other orchestrators work on the same store, so that not everything that happens is heard of here.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.store.lease().is_some()
    }

    /// Stores a definition that lint found valid and makes it the current one. Returns whether anything changed; then
    /// the audit log says by whom.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn put_definition(&self, source: &str, definition: Definition, by: &str) -> Result<bool, EngineError> {
        let at = self.clock.now();
        let deed = Deed {
            actor: by.to_owned(),
            action: "put definition".to_owned(),
            subject: format!("{} {}", definition.name, definition.version),
            at,
        };
        let stored = StoredDefinition {
            name: definition.name.clone(),
            version: definition.version.clone(),
            source: source.to_owned(),
            created_at: at,
        };
        Ok(self.catalogue.put(stored, definition, deed).await?)
    }

    /// A definition by its version, read from the store where it is not in memory.
    ///
    /// # Errors
    /// Where the store fails, or the source cannot be read by this version of Amends ([`EngineError::BadInput`]).
    pub async fn definition(&self, version: &str) -> Result<Option<Arc<Definition>>, EngineError> {
        match self.catalogue.version(version).await? {
            Some(Ok(definition)) => Ok(Some(definition)),
            Some(Err(why)) => Err(EngineError::BadInput(why)),
            None => Ok(None),
        }
    }

    /// Everything that is committed from here on, of all sagas. A receiver that lags behind is told so and reads
    /// the store.
    #[must_use]
    pub fn committed(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.announcements.subscribe()
    }

    /// What the engine has in its hands, as of a moment ago.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.gauges.borrow().clone()
    }

    /// Stops: nothing new is accepted, calls in flight get up to `grace_ms` to end, and every saga is released.
    ///
    /// # Errors
    /// Where the store fails; the sagas are found by the next start all the same.
    pub async fn stop(&self, grace_ms: u64) -> Result<(), EngineError> {
        let (done, stopped) = oneshot::channel();
        if self.letters.send(Letter::Stop { grace_ms, done }).is_err() {
            return Ok(());
        }
        // A driver that has ended already has nothing to release.
        stopped.await.unwrap_or(Ok(())).map_err(EngineError::Store)
    }

    /// Ends when the engine cannot go on (it was fenced, or the store is damaged), with the reason.
    pub async fn failed(&self) -> EngineError {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(EngineError::Stopping),
            Err(_) => EngineError::Stopping,
        }
    }

    /// A saga as it is in the store.
    async fn read(&self, id: Uuid) -> Result<Snapshot, EngineError> {
        let record = self.views.saga(id).await?.ok_or(EngineError::UnknownSaga(id))?;
        let definition = self.definition(&record.birth.version).await?.ok_or(EngineError::Unreadable(id))?;
        Snapshot::read(&record, definition).map(|(saga, _)| saga).map_err(|_| EngineError::Unreadable(id))
    }

    async fn read_when_settled(&self, id: Uuid, wait_ms: u64) -> Result<Snapshot, EngineError> {
        if wait_ms == 0 {
            return self.read(id).await;
        }
        // Who waits is on the list before the store is read, so the end cannot fall in between.
        let (reply, caller) = self.caller();
        self.send(Letter::Ask { input: Input::Await { reply, saga: id }, callers: vec![(reply, caller.sender)] })?;
        let waiting = Waiting { engine: self, reply, saga: id };
        let saga = self.read(id).await?;
        if crate::orchestrator::is_settled(&saga.saga) {
            return Ok(saga);
        }
        tokio::select! {
            told = waiting.wait(caller.receiver, wait_ms) => told,
            saga = self.settles_elsewhere(id) => Ok(saga),
        }
    }

    /// Ends when a saga has settled that another orchestrator works on. Where there is none, that is never.
    async fn settles_elsewhere(&self, id: Uuid) -> Snapshot {
        if !self.is_shared() {
            return std::future::pending().await;
        }
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AT_LEAST);
            // A store that cannot be read now can be read later.
            if let Ok(saga) = self.read(id).await
                && crate::orchestrator::is_settled(&saga.saga)
            {
                return saga;
            }
        }
    }

    async fn ask(&self, input: impl FnOnce(ReplyId) -> Input) -> Result<Reply, EngineError> {
        let (reply, caller) = self.caller();
        self.send(Letter::Ask { input: input(reply), callers: vec![(reply, caller.sender)] })?;
        answer(caller.receiver).await
    }

    fn caller(&self) -> (ReplyId, Caller) {
        let (sender, receiver) = oneshot::channel();
        (self.next_reply.fetch_add(1, Ordering::Relaxed), Caller { sender, receiver })
    }

    fn send(&self, letter: Letter) -> Result<(), EngineError> {
        self.letters.send(letter).map_err(|_| EngineError::Stopping)
    }
}

/// The two ends of an answer.
struct Caller {
    sender: oneshot::Sender<Result<Reply, EngineError>>,
    receiver: oneshot::Receiver<Result<Reply, EngineError>>,
}

/// Somebody waits for a saga to finish or to get stuck. Whoever has gone away is taken off the list.
struct Waiting<'a> {
    engine: &'a Engine,
    reply: ReplyId,
    saga: Uuid,
}

impl Waiting<'_> {
    /// The saga when it has settled, or as it is after `wait_ms`.
    async fn wait(
        self,
        settled: oneshot::Receiver<Result<Reply, EngineError>>,
        wait_ms: u64,
    ) -> Result<Snapshot, EngineError> {
        match tokio::time::timeout(Duration::from_millis(wait_ms), answer(settled)).await {
            Ok(Ok(Reply::Saga(saga))) => Ok(saga),
            Ok(_) | Err(_) => self.engine.read(self.saga).await,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Waiting { reply, saga, .. } = *self;
        // An engine that has stopped has forgotten everybody.
        let _nobody_reads = self.engine.letters.send(Letter::Forget { reply, saga });
    }
}

async fn answer(receiver: oneshot::Receiver<Result<Reply, EngineError>>) -> Result<Reply, EngineError> {
    // The driver drops its callers only when it ends.
    receiver.await.unwrap_or(Err(EngineError::Stopping))
}

impl From<&StoreError> for EngineError {
    fn from(error: &StoreError) -> EngineError {
        EngineError::Store(error.clone())
    }
}
