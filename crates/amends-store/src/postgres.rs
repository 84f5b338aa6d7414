//! A store on PostgreSQL, for several orchestrators at once.
//!
//! - READ COMMITTED, multi-row statements over arrays, no advisory locks and nothing that is kept between transactions on a
//!   connection: a pooler may lend a server's connection for one transaction at a time.
//! - Every transaction of an incarnation begins by locking its row to share it; whoever takes over from it locks that row for
//!   itself first. So a dead incarnation can commit nothing, whatever its clock says.
//! - A transaction that another one was in the way of is done again. One whose commit was not answered is
//!   [`StoreError::Unknown`]: the same batch, offered again, finds what it has written.
//!
//! The order of things in a commit is in [`commit`].

mod audit;
mod backend;
mod commit;
mod condense;
mod connect;
mod errors;
mod failover;
mod flight;
mod ownership;
mod partitions;
mod queues;
mod reads;
mod retention;
mod rows;
mod schema;
mod statements;
mod text;
mod tokens;
mod writes;

use crate::columns;
use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, QueueError, ReceiveRequest,
    Redrive, Sent,
};
use crate::{
    Acquired, AuditEntry, AuditLog, AuditQuery, Claimed, Commit, DeadLetter, DeadLetterGroup, DeadLetterQuery, Deed,
    Forget, GroupQuery, Incarnation, Item, Migration, Offer, Outcome, Patience, PermitRequest, Queues, Receive,
    Received, Record, SagaQuery, Statistics, Store, StoreError, StoredDefinition, StoredToken, Summary, TokenDigest,
    TokenQuery, Tokens, Views, Which,
};
use amends_core::chain::Head;
use amends_core::time::Timestamp;
use async_trait::async_trait;
use connect::{Connector, Link};
use deadpool::Runtime;
use deadpool::managed::{Object, Pool, PoolError};
pub use errors::OpenError as PostgresError;
use errors::{Failure, OpenError, refusal};
use failover::{NoUse, Witness};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often a transaction is done again that another one was in the way of, before the caller is told to come again.
const CONTENTION_TRIES: usize = 5;

/// How many connections claim, acquire and receive.
const TAKERS: usize = 2;
/// How many connections take over from others, look into the inbox and forget.
const KEEPERS: usize = 3;

/// How to open a store on PostgreSQL. It is not shown, because the address may hold a password.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Where it is, as `postgres://user:password@host:port/database`.
    pub url: String,
    /// How many batches of commits can be on their way, each on a connection of its own.
    pub writers: usize,
    /// How many connections read for people.
    pub readers: usize,
    /// For how long an incarnation is taken to be alive without renewing its lease.
    pub lease: Duration,
    /// A transaction that does nothing for so long is ended by the server, and one that waits for a lock gives up.
    pub transaction_timeout: Duration,
}

impl PostgresOptions {
    /// The store at `url` with three writers, four readers, a lease of 15 s and transactions that may rest for 5 s.
    pub fn new(url: impl Into<String>) -> PostgresOptions {
        PostgresOptions {
            url: url.into(),
            writers: 3,
            readers: 4,
            lease: Duration::from_secs(15),
            transaction_timeout: Duration::from_secs(5),
        }
    }
}

/// A store on PostgreSQL.
pub struct PostgresStore {
    /// For commits, which must not wait for anything else.
    writers: Pool<Connector>,
    /// For what is claimed, acquired and received.
    takers: Pool<Connector>,
    readers: Pool<Connector>,
    /// For signs of life, and nothing else: what keeps them waiting costs this process all it owns.
    pulse: Pool<Connector>,
    /// For taking over, for the inbox and for forgetting.
    keepers: Pool<Connector>,
    lease: Duration,
    witness: Arc<Witness>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// Does a transaction until it has succeeded or failed for good.
macro_rules! transact {
    ($pool:expr, $link:ident => $work:expr) => {{
        let mut transaction = Transaction::of(&$pool).await?;
        loop {
            let $link = &*transaction.link;
            let done = $work.await;
            if let Some(settled) = transaction.settle(done).await {
                return settled;
            }
        }
    }};
}

/// Reads, on a connection that is kept for it: what people read waits for nothing that the engine writes.
macro_rules! read {
    ($store:expr, $link:ident => $work:expr) => {{
        let lent = Lent::of(&$store.readers).await?;
        let $link = &*lent;
        $work.await.map_err(|error| refusal(&error))
    }};
}

impl PostgresStore {
    /// Opens a store, making its tables or bringing them to this program's schema where needed.
    ///
    /// # Errors
    /// Says why it cannot be used: it cannot be reached, or was made by a newer program.
    pub async fn open(options: PostgresOptions) -> Result<PostgresStore, OpenError> {
        let witness = Arc::new(Witness::new(options.writers.max(1)));
        let connector = Connector::new(&options.url, options.transaction_timeout, witness.clone())?;
        let migration = migrate_with(&connector).await?;
        if migration.from != migration.to {
            tracing::info!(from = migration.from, to = migration.to, "brought the store to this program's schema");
        }
        let pool = |size: usize| {
            Pool::builder(connector.clone())
                .max_size(size.max(1))
                .runtime(Runtime::Tokio1)
                .wait_timeout(Some(options.transaction_timeout * 2))
                .create_timeout(Some(options.transaction_timeout * 2))
                .build()
                .expect("a pool with a runtime can wait")
        };
        let store = PostgresStore {
            writers: pool(options.writers),
            takers: pool(TAKERS),
            readers: pool(options.readers),
            pulse: pool(1),
            keepers: pool(KEEPERS),
            lease: options.lease,
            witness,
        };
        store.warn_of_losses().await;
        Ok(store)
    }

    /// One on a database of its own, and a connection beside those that it has.
    #[cfg(test)]
    async fn open_for_test() -> (PostgresStore, Link) {
        let options = PostgresOptions::new(test_postgres::database());
        let store = PostgresStore::open(options.clone()).await.unwrap();
        let connector = Connector::new(&options.url, options.transaction_timeout, Arc::new(Witness::new(1))).unwrap();
        (store, deadpool::managed::Manager::create(&connector).await.unwrap())
    }

    /// What the server acknowledges may be lost when it crashes, where its settings say so. Tests want that.
    async fn warn_of_losses(&self) {
        let says = "SELECT name || ' = off' FROM pg_settings
            WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'";
        let Ok(link) = Lent::of(&self.writers).await else { return };
        for row in link.query_text(says, &[]).await.unwrap_or_default() {
            let setting: String = row.try_get(0).unwrap_or_default();
            tracing::warn!("the database is set to {setting}: a crash of it may lose what it has acknowledged");
        }
    }

    async fn offer(&self, me: Incarnation, batch: &[Commit], offer: Offer) -> Result<Vec<Outcome>, StoreError> {
        transact!(self.writers, link => commit::commit(link, me, batch, offer))
    }

    /// Commits, and remembers that it was acknowledged.
    async fn commit_with(&self, me: Incarnation, batch: &[Commit], offer: Offer) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.offer(me, batch, offer).await?;
        // One transaction: where this is, the rest is.
        let mut written = batch
            .iter()
            .zip(&outcomes)
            .filter(|(commit, outcome)| commit.events.is_some() && **outcome == Outcome::Committed);
        if let Some((commit, _)) = written.next() {
            self.witness.acknowledged(commit.saga, columns::number(commit.after.saturating_add(1)));
        }
        Ok(outcomes)
    }

    async fn forget_old(&self, request: &Forget) -> Result<Vec<Uuid>, StoreError> {
        transact!(self.keepers, link => retention::forget(link, request))
    }

    /// Behind a pooler a connection does not end when the server does. So it is looked at before all that a process does first.
    async fn examine_pooled(&self, link: &Link) -> Result<(), Failure> {
        if link.is_pooled() {
            self.witness.examine(link).await?;
        }
        Ok(())
    }

    async fn extend(&self, me: Incarnation) -> Result<(Timestamp, String), StoreError> {
        transact!(self.pulse, link => async {
            self.examine_pooled(link).await?;
            ownership::renew(link, me, self.lease).await
        })
    }
}

/// A connection for one transaction, which is done again where another one was in its way.
struct Transaction {
    link: Lent,
    tries: usize,
}

impl Transaction {
    async fn of(pool: &Pool<Connector>) -> Result<Transaction, StoreError> {
        Ok(Transaction { link: Lent::of(pool).await?, tries: 0 })
    }

    /// What came of a try; `None` if it is to be tried again.
    async fn settle<T>(&mut self, done: Result<T, Failure>) -> Option<Result<T, StoreError>> {
        let failure = match done {
            Ok(done) => return Some(Ok(done)),
            Err(failure) => failure,
        };
        self.link.roll_back().await;
        self.tries += 1;
        let is_over = !failure.is_contention() || self.tries == CONTENTION_TRIES;
        is_over.then(|| Err(failure.into()))
    }
}

/// A connection of a pool. One that is left within a transaction, because whoever wanted it wants it no longer, is closed at
/// once: the server then ends the transaction, whose locks others wait for.
struct Lent(Option<Object<Connector>>);

impl Lent {
    async fn of(pool: &Pool<Connector>) -> Result<Lent, StoreError> {
        let lent = pool.get().await.map_err(|error| match error {
            PoolError::Backend(no_use) => StoreError::Unavailable(no_use.to_string().into()),
            other => StoreError::Unavailable(format!("no connection is free: {other}").into()),
        })?;
        Ok(Lent(Some(lent)))
    }
}

impl Deref for Lent {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.0.as_ref().expect("it is there until the end")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(link) = self.0.take_if(|link| link.is_spoilt()) {
            drop(Object::take(link));
        }
    }
}

async fn commit_of(link: &Link) -> Result<(), Failure> {
    link.commit().await.map_err(Failure::at_commit)
}

/// Brings the store at `url` to this program's schema without serving it, and says from where to where.
///
/// # Errors
/// As [`PostgresStore::open`].
pub async fn migrate_postgres(url: &str) -> Result<Migration, OpenError> {
    let options = PostgresOptions::new(url);
    let witness = Arc::new(Witness::new(options.writers));
    migrate_with(&Connector::new(url, options.transaction_timeout, witness)?).await
}

async fn migrate_with(connector: &Connector) -> Result<Migration, OpenError> {
    let place = connector.place();
    let unreachable = |no_use: NoUse| OpenError::Unreachable { place: place.clone(), why: no_use.to_string() };
    let link = connector.open_bare().await.map_err(unreachable)?;
    let migration = schema::migrate(&link, &place).await?;
    if let Err(failure) = partitions::prepare(&link).await {
        let error = StoreError::from(failure);
        tracing::warn!(%error, "a partition could not be made ahead of time; it is tried again while a server runs");
    }
    Ok(migration)
}

#[async_trait]
impl Store for PostgresStore {
    async fn enlist(&self, me: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        transact!(self.takers, link => async {
            self.examine_pooled(link).await?;
            ownership::enlist(link, me, now, self.lease).await
        })
    }

    async fn retire(&self, whom: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        transact!(self.takers, link => async {
            self.examine_pooled(link).await?;
            ownership::retire(link, whom, now).await
        })
    }

    async fn commit(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.commit_with(me, &batch, Offer::First).await
    }

    async fn commit_again(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.commit_with(me, &batch, Offer::Again).await
    }

    async fn claim(&self, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, StoreError> {
        transact!(self.takers, link => ownership::claim(link, me, now, limit))
    }

    async fn acquire(&self, me: Incarnation, saga: Uuid) -> Result<Acquired, StoreError> {
        transact!(self.takers, link => ownership::acquire(link, me, saga))
    }

    async fn receive(&self, me: Incarnation, request: Receive) -> Result<Received, StoreError> {
        transact!(self.takers, link => ownership::receive(link, me, &request))
    }

    fn commits_in_flight(&self) -> usize {
        self.writers.status().max_size
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    async fn permits(&self, request: PermitRequest) -> Result<usize, StoreError> {
        transact!(self.keepers, link => ownership::permits(link, &request))
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        read!(self, link => reads::time(link))
    }

    async fn renew(&self, me: Incarnation) -> Result<Timestamp, StoreError> {
        let before = self.witness.before_renewal();
        let (now, until) = self.extend(me).await?;
        self.witness.renewed(me, until, &before);
        Ok(now)
    }

    async fn take_over(&self) -> Result<usize, StoreError> {
        transact!(self.keepers, link => ownership::take_over(link))
    }

    async fn newest_format(&self) -> Result<u32, StoreError> {
        transact!(self.keepers, link => ownership::newest_format(link))
    }

    async fn leave(&self, item: Item) -> Result<(), StoreError> {
        transact!(self.keepers, link => ownership::leave(link, &item))
    }

    async fn inbox(&self, me: Incarnation) -> Result<Vec<Item>, StoreError> {
        transact!(self.keepers, link => ownership::inbox(link, me))
    }

    async fn answer(&self, item: Uuid, answer: Vec<u8>) -> Result<(), StoreError> {
        transact!(self.keepers, link => ownership::answer(link, item, &answer))
    }

    async fn collect(&self, item: Uuid, patience: Patience) -> Result<Option<Vec<u8>>, StoreError> {
        transact!(self.keepers, link => ownership::collect(link, item, patience))
    }

    async fn forget(&self, request: Forget) -> Result<Vec<Uuid>, StoreError> {
        let forgotten = self.forget_old(&request).await?;
        self.witness.forgot(&forgotten);
        Ok(forgotten)
    }

    async fn keep_up(&self, finished_before: Option<Timestamp>) -> Result<(), StoreError> {
        transact!(self.keepers, link => async {
            partitions::keep_up(link, finished_before).await?;
            condense::condense(link).await
        })
    }

    async fn put_definition(&self, definition: StoredDefinition, deed: Deed) -> Result<bool, StoreError> {
        transact!(self.takers, link => ownership::put_definition(link, &definition, &deed))
    }

    async fn definitions(&self, which: Which) -> Result<Vec<StoredDefinition>, StoreError> {
        read!(self, link => reads::definitions(link, &which))
    }
}

#[async_trait]
impl Views for PostgresStore {
    async fn saga(&self, id: Uuid) -> Result<Option<Record>, StoreError> {
        read!(self, link => reads::record(link, id))
    }

    async fn sagas(&self, query: SagaQuery) -> Result<Vec<Summary>, StoreError> {
        read!(self, link => reads::sagas(link, &query))
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        read!(self, link => reads::dead_letters(link, &query))
    }

    async fn dead_letter_groups(&self, query: GroupQuery) -> Result<Vec<DeadLetterGroup>, StoreError> {
        read!(self, link => reads::dead_letter_groups(link, &query))
    }

    async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        read!(self, link => reads::dead_letter(link, id))
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        read!(self, link => reads::audit(link, &query))
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        read!(self, link => reads::statistics(link))
    }
}

#[async_trait]
impl Tokens for PostgresStore {
    async fn put_token(&self, token: StoredToken, deed: Deed) -> Result<(), StoreError> {
        transact!(self.takers, link => tokens::put(link, &token, &deed))
    }

    async fn token(&self, digest: TokenDigest) -> Result<Option<StoredToken>, StoreError> {
        read!(self, link => tokens::find(link, &digest))
    }

    async fn tokens(&self, query: TokenQuery) -> Result<Vec<StoredToken>, StoreError> {
        read!(self, link => tokens::list(link, query))
    }

    async fn revoke_token(&self, id: Uuid, deed: Deed) -> Result<Option<StoredToken>, StoreError> {
        transact!(self.takers, link => tokens::revoke(link, id, &deed))
    }
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn seal(&self, limit: usize) -> Result<Option<Head>, StoreError> {
        transact!(self.keepers, link => audit::seal(link, limit))
    }

    async fn sealed(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        read!(self, link => audit::sealed(link, after, limit))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let link = Lent::of(&self.readers).await?;
        Ok(audit::head(&link).await?)
    }
}

#[async_trait]
impl Queues for PostgresStore {
    async fn send_to(&self, queue: &str, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        self.put_in_queue(queue, &messages).await?;
        Ok(vec![Sent::Done; messages.len()])
    }

    async fn receive_from(&self, queue: &str, request: ReceiveRequest) -> Result<Vec<Delivery>, QueueError> {
        Ok(self.receive_from_queue(queue, &request).await?)
    }

    async fn handle(
        &self,
        queue: &str,
        handlings: Vec<(String, Handling)>,
        now: Timestamp,
    ) -> Result<Vec<Handled>, QueueError> {
        Ok(self.handle_of_queue(queue, &handlings, now).await?)
    }

    async fn dead(&self, queue: &str, query: DeadQuery) -> Result<Vec<DeadMessage>, QueueError> {
        Ok(self.dead_of_queue(queue, &query).await?)
    }

    async fn redrive(&self, queue: &str, redrive: NewRedrive) -> Result<Redrive, QueueError> {
        Ok(self.redrive_queue(queue, &redrive).await?)
    }

    async fn redrives(&self, queue: &str, now: Timestamp) -> Result<Vec<Redrive>, QueueError> {
        Ok(self.redrives_of_queue(queue, now).await?)
    }

    async fn cancel_redrive(&self, queue: &str, id: &str, now: Timestamp) -> Result<Option<Redrive>, QueueError> {
        Ok(self.cancel_redrive_of_queue(queue, id, now).await?)
    }

    async fn depth(&self, queue: &str, now: Timestamp) -> Result<Depth, QueueError> {
        Ok(self.depth_of_queue(queue, now).await?)
    }
}

/// What the macros do ends in a store's error, which the queues' error holds.
impl PostgresStore {
    async fn put_in_queue(&self, queue: &str, messages: &[NewMessage]) -> Result<(), StoreError> {
        transact!(self.takers, link => queues::put(link, queue, messages))
    }

    async fn receive_from_queue(&self, queue: &str, request: &ReceiveRequest) -> Result<Vec<Delivery>, StoreError> {
        transact!(self.takers, link => queues::receive(link, queue, request))
    }

    async fn handle_of_queue(
        &self,
        queue: &str,
        handlings: &[(String, Handling)],
        now: Timestamp,
    ) -> Result<Vec<Handled>, StoreError> {
        transact!(self.takers, link => queues::handle(link, queue, handlings, now))
    }

    async fn dead_of_queue(&self, queue: &str, query: &DeadQuery) -> Result<Vec<DeadMessage>, StoreError> {
        read!(self, link => queues::dead(link, queue, query))
    }

    async fn redrive_queue(&self, queue: &str, redrive: &NewRedrive) -> Result<Redrive, StoreError> {
        transact!(self.keepers, link => queues::redrive(link, queue, redrive))
    }

    async fn redrives_of_queue(&self, queue: &str, now: Timestamp) -> Result<Vec<Redrive>, StoreError> {
        read!(self, link => queues::redrives(link, queue, None, now))
    }

    async fn cancel_redrive_of_queue(
        &self,
        queue: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Redrive>, StoreError> {
        transact!(self.keepers, link => queues::cancel_redrive(link, queue, id, now))
    }

    async fn depth_of_queue(&self, queue: &str, now: Timestamp) -> Result<Depth, StoreError> {
        read!(self, link => queues::depth(link, queue, now))
    }
}
