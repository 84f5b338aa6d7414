//! Connections: how they are opened and secured, what is set on them, and how they are kept.

use super::backend;
use super::errors::{OpenError, whole};
use super::failover::{Identity, NoUse, Witness};
use super::statements::{HOT, Sql, united};
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::config::{LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

/// A value of a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where there are several, and one may be gone without a word: half the renewals of a lease would be late.
const CONNECT_TIMEOUT_OF_EACH: Duration = Duration::from_secs(1);
/// How many of the statements that do what several would are kept prepared.
const UNITED: usize = 64;
/// How often each host is tried, on average, before a connection to a fit one is given up.
const TRIES_PER_HOST: usize = 4;
/// A peer that is gone without a word is noticed within this time.
const DEAD_PEER: Duration = Duration::from_secs(10);

/// Where the server is, and how to speak to it.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
    witness: Arc<Witness>,
}

/// A connection.
pub(super) struct Link {
    client: Client,
    /// The statements that are prepared on it; none behind a pooler.
    hot: BTreeMap<&'static str, Statement>,
    /// Statements that do what several would, by their names.
    united: Mutex<BTreeMap<Vec<&'static str>, Statement>>,
    /// Which server it led to at its beginning, if that says so.
    server: Option<Identity>,
    /// Begins a transaction.
    begin: String,
    /// Whether a transaction may have been left open on it.
    is_spoilt: AtomicBool,
    /// Whether some of the last batch was refused, so that some of the next may be.
    was_refused: AtomicBool,
    /// Names the rows of `count` that are this connection's.
    pub(super) writer: Uuid,
}

impl Connector {
    /// Reads a URL. Where TLS is used (`sslmode=prefer`, the default, or `require`), the server's certificate is verified
    /// against the system's roots, or those in the file `sslrootcert`. A transaction that does nothing for `timeout` is ended
    /// by the server. Of several hosts the one is found that takes writes.
    pub(super) fn new(url: &str, timeout: Duration, witness: Arc<Witness>) -> Result<Connector, OpenError> {
        let refused = |why: String| OpenError::Address { why };
        // What comes before names several hosts, perhaps, as no other URL does.
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut roots = None;
        let mut others = Vec::new();
        for pair in query.split('&') {
            let read = url::form_urlencoded::parse(pair.as_bytes()).next();
            match read.as_ref().map(|(name, value)| (&**name, &**value)) {
                Some(("sslrootcert", path)) => roots = Some(path.to_owned()),
                // Nothing less is done in any mode.
                Some(("sslmode", "verify-ca" | "verify-full")) => others.push("sslmode=require"),
                Some(_) => others.push(pair),
                None => {}
            }
        }
        let address = format!("{place}?{}", others.join("&"));
        let mut config: Config = address.parse().map_err(|error: Error| refused(whole(&error)))?;
        if config.get_hosts().len() > 1 {
            config.load_balance_hosts(LoadBalanceHosts::Random);
            if config.get_target_session_attrs() == TargetSessionAttrs::Any {
                config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
        }
        if config.get_hosts().is_empty() {
            return Err(refused("it names no host, as postgres://amends@db.example.com/amends does".into()));
        }
        let is_one = config.get_hosts().len() == 1;
        config.connect_timeout(if is_one { CONNECT_TIMEOUT } else { CONNECT_TIMEOUT_OF_EACH });
        config.tcp_user_timeout(DEAD_PEER);
        config.keepalives_idle(DEAD_PEER / 2).keepalives_interval(DEAD_PEER / 5).keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("amends");
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(roots.as_deref()).map_err(refused)?),
        };
        Ok(Connector { config, tls, timeout, witness })
    }

    /// What errors and logs may name: the hosts and the database, and no password.
    pub(super) fn place(&self) -> String {
        let hosts: Vec<String> = self.config.get_hosts().iter().map(|host| format!("{host:?}")).collect();
        format!("{} at {}", self.config.get_dbname().unwrap_or("the default database"), hosts.join(", "))
    }

    /// Opens a connection for everything that the store does.
    async fn open(&self) -> Result<Link, NoUse> {
        let mut link = self.open_bare().await?;
        if backend::is_direct(&link.client).await? {
            link.prepare(self.timeout.as_millis()).await?;
        }
        Ok(link)
    }

    /// Opens a connection on which nothing is prepared: the tables may not be there.
    pub(super) async fn open_bare(&self) -> Result<Link, NoUse> {
        let hosts = self.config.get_hosts().len();
        // Which host is taken is chance: where one is unfit, as a primary that was replaced and came back, another may be fit.
        let mut tries = if hosts > 1 { hosts * TRIES_PER_HOST } else { 1 };
        loop {
            let mut link = match &self.tls {
                Some(tls) => self.open_with(tls.clone()).await?,
                None => self.open_with(NoTls).await?,
            };
            tries -= 1;
            match self.witness.examine(&link).await {
                Err(NoUse::Unfit(_)) if tries > 0 => {}
                Err(no_use) => return Err(no_use),
                Ok(server) => {
                    link.server = server;
                    return Ok(link);
                }
            }
        }
    }

    async fn open_with<T>(&self, tls: T) -> Result<Link, Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = self.config.connect(tls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer on it is told as well.
                tracing::debug!(error = whole(&error), "a connection to PostgreSQL ended");
            }
        });
        let timeout_ms = self.timeout.as_millis();
        Ok(Link {
            client,
            hot: BTreeMap::new(),
            united: Mutex::default(),
            server: None,
            begin: format!(
                "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {timeout_ms}; \
                 SET LOCAL lock_timeout = {timeout_ms}; SET LOCAL statement_timeout = {}",
                timeout_ms * 2
            ),
            is_spoilt: AtomicBool::new(false),
            was_refused: AtomicBool::new(false),
            writer: Uuid::now_v7(),
        })
    }
}

impl Link {
    /// Prepares what every commit needs. A plan that was made while a table was small would scan it when it has grown, so
    /// plans are made as if scanning were no choice, nor collecting what is to be sorted afterwards. A scan that is none the
    /// less counts as so dear then that the server would compile the plan, for many times the time that it runs. What was
    /// acknowledged must be durable, whatever the database or the role is set to. Behind a pooler the next transaction may be
    /// on another server's connection, where none of this holds; there, statements are sent whole.
    async fn prepare(&mut self, timeout_ms: u128) -> Result<(), Error> {
        let settings = format!(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan; \
             SET idle_in_transaction_session_timeout = {timeout_ms}; SET lock_timeout = {timeout_ms}; \
             SET statement_timeout = {};
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            timeout_ms * 2
        );
        self.client.batch_execute(&settings).await?;
        for sql in HOT {
            let statement = self.client.prepare_typed(&sql.whole_text(), sql.types).await?;
            self.hot.insert(sql.name, statement);
        }
        self.begin = "BEGIN".into();
        Ok(())
    }

    /// Whether somebody stands between who may lead to another server without this connection's ending.
    pub(super) fn is_pooled(&self) -> bool {
        self.hot.is_empty()
    }

    /// Runs one statement. It is sent at the first poll, so statements that are polled one after the other are sent in that
    /// order, and none waits for the answer to the one before.
    pub(super) async fn query(&self, sql: &Sql, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        match self.hot.get(sql.name) {
            Some(statement) => self.client.query(statement, values).await,
            None => {
                let typed: Vec<(Value<'_>, Type)> = values.iter().copied().zip(sql.types.iter().cloned()).collect();
                self.client.query_typed(&sql.whole_text(), &typed).await
            }
        }
    }

    /// Runs several statements as one; see [`united`]. It is a transaction of its own, where none has begun.
    pub(super) async fn query_united(&self, parts: &[&'static Sql], values: &[Value<'_>]) -> Result<(), Error> {
        if self.is_pooled() {
            let (text, types) = united(parts);
            let typed: Vec<(Value<'_>, Type)> = values.iter().copied().zip(types).collect();
            return self.client.query_typed(&text, &typed).await.map(drop);
        }
        let names: Vec<&'static str> = parts.iter().map(|sql| sql.name).collect();
        let prepared = self.united.lock().unwrap_or_else(PoisonError::into_inner).get(&names).cloned();
        let statement = match prepared {
            Some(statement) => statement,
            None => {
                let (text, types) = united(parts);
                let statement = self.client.prepare_typed(&text, &types).await?;
                let mut united = self.united.lock().unwrap_or_else(PoisonError::into_inner);
                // The server keeps a plan for each.
                if united.len() == UNITED {
                    united.pop_first();
                }
                united.insert(names, statement.clone());
                statement
            }
        };
        // Where nobody waits for the answer any more, nobody is to come behind it.
        self.is_spoilt.store(true, Ordering::Relaxed);
        let answer = self.client.query(&statement, values).await;
        self.is_spoilt.store(false, Ordering::Relaxed);
        answer.map(drop)
    }

    /// Runs a statement that is put together as it is needed.
    pub(super) async fn query_text(&self, text: &str, values: &[(Value<'_>, Type)]) -> Result<Vec<Row>, Error> {
        self.client.query_typed(text, values).await
    }

    /// Begins a transaction. Until it has been committed or rolled back nobody else is to use the connection.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        self.is_spoilt.store(true, Ordering::Relaxed);
        self.client.batch_execute(&self.begin).await
    }

    /// Begins a transaction whose reads are all of one moment.
    pub(super) async fn begin_snapshot(&self) -> Result<(), Error> {
        self.is_spoilt.store(true, Ordering::Relaxed);
        self.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// Commits.
    pub(super) async fn commit(&self) -> Result<(), Error> {
        self.client.batch_execute("COMMIT").await?;
        self.is_spoilt.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Undoes what was done since the transaction began. Where that fails the connection is not used again, and the server
    /// undoes it when it is closed.
    pub(super) async fn roll_back(&self) {
        if !self.is_spoilt() {
            return;
        }
        if self.client.batch_execute("ROLLBACK").await.is_ok() {
            self.is_spoilt.store(false, Ordering::Relaxed);
        }
    }

    /// Whether a transaction may have been left open on it.
    pub(super) fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Ordering::Relaxed)
    }

    /// Whether some of the last batch was refused.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    /// Remembers whether some of a batch was refused.
    pub(super) fn set_refused(&self, was_refused: bool) {
        self.was_refused.store(was_refused, Ordering::Relaxed);
    }

    /// Runs statements of a schema.
    pub(super) async fn run(&self, text: &str) -> Result<(), Error> {
        self.client.batch_execute(text).await
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = NoUse;

    async fn create(&self) -> Result<Link, NoUse> {
        // In a box, because whoever takes a connection from the pool carries the room for this with it.
        Box::pin(self.open()).await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<NoUse> {
        if link.client.is_closed() || link.is_spoilt() {
            return Err(RecycleError::message("it is closed, or was left within a transaction"));
        }
        if self.witness.is_replaced(link.server.as_ref()) {
            return Err(RecycleError::message("it leads to a server that was replaced"));
        }
        if link.is_pooled() && self.witness.is_in_doubt() {
            self.witness.examine(link).await.map_err(RecycleError::Backend)?;
        }
        Ok(())
    }
}

/// TLS that verifies the server's certificate.
fn tls(roots: Option<&str>) -> Result<MakeRustlsConnect, String> {
    // The process may have chosen its cryptography already; then this changes nothing.
    let _already_chosen = rustls::crypto::ring::default_provider().install_default();
    let config = match roots {
        None => ClientConfig::with_platform_verifier().map_err(|error| format!("TLS cannot be set up: {error}"))?,
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| format!("sslrootcert {path} cannot be read: {error}");
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                store.add(certificate).map_err(|error| unreadable(&error))?;
            }
            ClientConfig::builder().with_root_certificates(store).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of several that is gone without a word must not use up a lease.
    #[test]
    fn several_hosts_are_not_waited_for_as_long_as_one() {
        for (hosts, timeout) in [("a", CONNECT_TIMEOUT), ("a,b", CONNECT_TIMEOUT_OF_EACH)] {
            let url = format!("postgres://amends@{hosts}/amends");
            let connector = Connector::new(&url, Duration::from_secs(5), Arc::new(Witness::new(1))).unwrap();
            assert_eq!(connector.config.get_connect_timeout(), Some(&timeout), "{hosts}");
        }
    }

    /// A database that acknowledges what it may lose is not believed; one that waits for a standby as well is left at that.
    #[tokio::test]
    async fn what_is_acknowledged_is_durable_whatever_the_database_is_set_to() {
        let url = test_postgres::database();
        let database = url.rsplit('/').next().unwrap();
        crate::PostgresStore::open(crate::PostgresOptions::new(&url)).await.unwrap();
        for (set, taken) in [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")] {
            test_postgres::execute(&url, &format!("ALTER DATABASE {database} SET synchronous_commit = {set}")).unwrap();
            let connector = Connector::new(&url, Duration::from_secs(5), Arc::new(Witness::new(1))).unwrap();
            let link = connector.create().await.unwrap();
            let row = link.query_text("SELECT current_setting('synchronous_commit')", &[]).await.unwrap().remove(0);
            assert_eq!(row.get::<_, String>(0), taken);
        }
    }
}
