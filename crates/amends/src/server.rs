//! The server as a whole: opens the store, starts the engine, loads the definitions, listens, and takes all of it
//! down again in the right order.
//!
//! Stopping: connections are not accepted any more and `/readyz` says so; the engine lets calls in flight end and
//! answers whoever waits; open requests are answered; relays to SQS end; the store is closed last.

mod definitions;
mod listener;
mod patience;
#[cfg(feature = "sqs")]
mod relays;
mod replies;
mod sealing;
mod tls;

#[cfg(test)]
mod tests;

use crate::api::{App, Followers, Health, HttpMetrics, Queue, Reading, router};
use crate::auth::{self, Authenticator};
use crate::config::{Config, Postgres, QueueConfig, StoreLocation};
use crate::telemetry;
use amends_engine::{Engine, EngineOptions};
use amends_failpoints::failpoint;
use amends_store::{PostgresOptions, PostgresStore, Queues, SqliteOptions, SqliteStore, StoreAndViews};
use anyhow::Context;
use futures_util::future::join_all;
use listener::Serving;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Certificates;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use definitions::DefinitionError;
pub(crate) use definitions::read as read_definition;

/// How long open requests get to be answered once the engine has stopped.
const ANSWERING: Duration = Duration::from_secs(5);

/// A server that has started.
pub struct Server {
    address: SocketAddr,
    definitions: Vec<String>,
    app: Arc<App>,
    health: watch::Sender<Health>,
    connections: JoinHandle<()>,
    sealing: JoinHandle<()>,
    /// Who take in the answers to messages.
    replies: Vec<JoinHandle<()>>,
    exporter: Option<telemetry::Exporter>,
    #[cfg(feature = "sqs")]
    relays: relays::Relays,
    grace_ms: u64,
}

impl Server {
    /// Starts a server: when this returns, it takes requests.
    ///
    /// # Errors
    /// Where the address is taken, the store cannot be opened, or a definition is not valid.
    pub async fn start(config: &Config) -> anyhow::Result<Server> {
        amends_failpoints::arm()?;
        for name in &config.unknown_variables {
            tracing::warn!(
                "the environment variable {name} looks like a setting and is none; see docs/configuration.md"
            );
        }
        warn_of_missing_secrets(config).await;
        if let Some(auth) = &config.auth {
            auth::warn_of_unusable(auth).await;
        }
        let known = config.known();
        let loaded = match &config.definitions {
            Some(directory) => definitions::load(directory, &known)?,
            None => Vec::new(),
        };
        let certificates = match &config.http.tls {
            Some(files) => Some(Certificates::load(files).await.map_err(anyhow::Error::msg)?),
            None => None,
        };
        let listener = bind(config.listen).await?;
        let address = listener.local_addr().context("the address that is listened on is not known")?;
        failpoint!(async StartListening);
        let store = open_store(config).await?;
        failpoint!(async StartOpened);
        let options =
            EngineOptions { store: store.clone(), views: store.clone(), settings: config.engine_settings(address) };
        let engine = Engine::start(options).await?;
        let names = definitions::store(&engine, loaded).await?;
        definitions::warn_of_unusable(store.as_ref(), &known).await?;
        failpoint!(async StartLoaded);
        let exporter = telemetry::Exporter::start(config, &engine, &store)?;
        let auth = config.auth.as_ref().map(|auth| Authenticator::new(auth, store.clone())).transpose()?;
        #[cfg(feature = "sqs")]
        let relays = relays::Relays::start(config, &store).await?;
        let sealing = tokio::spawn(sealing::run(store.clone()));
        #[cfg(feature = "sqs")]
        let elsewhere = relays.queues();
        #[cfg(not(feature = "sqs"))]
        let elsewhere = None;
        let (health, healthy) = watch::channel(Health::Running);
        let app = Arc::new(App {
            followers: Followers::of(&engine),
            engine,
            queues: queues(config, &store, elsewhere.as_ref()),
            store,
            known,
            reading: Reading::default(),
            metrics: HttpMetrics::default(),
            auth,
            listening: address,
            hosts: config.http.hosts.clone(),
            body_read_timeout: Duration::from_millis(config.http.body_read_timeout_ms),
            redact: config.redact.clone(),
            health: healthy.clone(),
        });
        let serving = Serving { router: router(app.clone()), http: config.http.clone(), certificates, health: healthy };
        let answered = config.queues.iter().filter(|(_, queue)| queue.holds_replies).map(|(name, _)| name.clone());
        let replies = answered.map(|name| tokio::spawn(replies::run(app.clone(), name))).collect();
        let connections = tokio::spawn(listener::accept(listener, serving));
        let grace_ms = config.shutdown_grace_ms;
        Ok(Server {
            address,
            definitions: names,
            app,
            health,
            connections,
            sealing,
            replies,
            exporter,
            #[cfg(feature = "sqs")]
            relays,
            grace_ms,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of the definitions that were loaded at the start.
    #[must_use]
    pub fn definitions(&self) -> &[String] {
        &self.definitions
    }

    /// Serves until `stop` ends or the engine cannot go on, and then stops.
    ///
    /// # Errors
    /// Where the engine could not go on, or could not be stopped in order.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let failure = tokio::select! {
            () = stop => None,
            error = self.app.engine.failed() => Some(error),
        };
        let Some(error) = failure else { return self.stop().await };
        tracing::error!(%error, "the engine cannot go on");
        self.health.send_replace(Health::Failed(error.to_string()));
        if let Err(late) = self.stop().await {
            tracing::warn!("{late:#}");
        }
        Err(anyhow::Error::new(error).context("the engine could not go on"))
    }

    /// Stops in order.
    ///
    /// # Errors
    /// Where the engine could not write that it stopped; the next start finds its sagas all the same.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.health.send_if_modified(|health| {
            let running = *health == Health::Running;
            if running {
                *health = Health::Stopping;
            }
            running
        });
        // What they have in hand comes again, to whoever takes it then.
        self.replies.iter().for_each(JoinHandle::abort);
        let _ended = join_all(self.replies).await;
        let stopped = self.app.engine.stop(self.grace_ms).await;
        if tokio::time::timeout(ANSWERING, self.connections).await.is_err() {
            tracing::warn!("some requests were still open and are cut off");
        }
        #[cfg(feature = "sqs")]
        self.relays.stop().await;
        // It holds the store; what it leaves is sealed at the next start.
        self.sealing.abort();
        let _ended = self.sealing.await;
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        stopped.context("the engine could not be stopped in order")
    }
}

/// The queues of the configuration: in the store, or in SQS.
fn queues(
    config: &Config,
    store: &Arc<dyn StoreAndViews>,
    elsewhere: Option<&Arc<dyn Queues>>,
) -> BTreeMap<String, Queue> {
    let queue = |settings: &QueueConfig| Queue {
        kept_by: match (&settings.sqs, elsewhere) {
            (Some(_), Some(elsewhere)) => elsewhere.clone(),
            _ => store.clone(),
        },
        is_in_store: settings.sqs.is_none(),
        receives: settings.receives,
        visibility_ms: settings.visibility_ms,
    };
    config.queues.iter().map(|(name, settings)| (name.clone(), queue(settings))).collect()
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another process; stop it, or listen elsewhere with --listen")
        }
        _ => anyhow::anyhow!("{address} cannot be listened on: {error}"),
    })
}

/// Opens the store, a file where blocking is allowed: a schema may have to be brought up to date.
async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn StoreAndViews>> {
    match &config.store {
        StoreLocation::Sqlite(path) => {
            let options = SqliteOptions::new(path);
            let store = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await??;
            Ok(Arc::new(store))
        }
        StoreLocation::Postgres(address) => {
            let Postgres { lease_ms, transaction_timeout_ms, writers, readers } = config.postgres;
            let options = PostgresOptions {
                url: address.clone(),
                writers,
                readers,
                lease: Duration::from_millis(lease_ms),
                transaction_timeout: Duration::from_millis(transaction_timeout_ms),
            };
            Ok(Arc::new(PostgresStore::open(options).await?))
        }
    }
}

/// A credential that is not there now may come later, so the server starts all the same.
async fn warn_of_missing_secrets(config: &Config) {
    for (name, participant) in &config.participants {
        for why in participant.obstacles().await {
            tracing::warn!("participant {name}: {why}; its calls will not be sent");
        }
    }
}
