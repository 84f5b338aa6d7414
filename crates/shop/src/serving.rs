//! How a service starts, what all of them have in common on the outside, and how they stop.

use crate::answer::Answer;
use crate::by_message::Workers;
use crate::faults::{self, Faults};
use crate::{Service, ServiceOptions, analytics, inventory, ledger, notification, order, payment, shipping};
use amends_client::Client;
use amends_idempotency::rusqlite::Connection;
use amends_idempotency::{IdempotencyLayer, Options, Store};
use anyhow::{Context, bail};
use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// What a service's handlers share.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) service: Service,
    pub(crate) store: Store,
    pub(crate) faults: Arc<Faults>,
    pub(crate) amends: Option<Client>,
    /// The definition whose sagas a checkout starts.
    pub(crate) definition: Arc<str>,
}

/// A repeat waits this long for the first request, which is longer than any handler here takes.
const WAIT_FOR_THE_FIRST: Duration = Duration::from_millis(500);

/// How long requests and commands in progress may go on once the service has been told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a service until it is told to stop: by SIGTERM, by ctrl-c, or by the end of standard input if
/// [`ServiceOptions::exit_with_parent`] says so. Once it can be reached it writes `listening on http://ADDRESS` to
/// standard output.
///
/// # Errors
/// An error where an option makes no sense, or the address or the database cannot be had.
pub async fn run(options: ServiceOptions) -> anyhow::Result<()> {
    let service = open(&options)?;
    let workers = workers(&options, &service)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("the {} service cannot listen on {}", options.service, options.listen))?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "listening on http://{}", listener.local_addr()?)?;
    output.flush()?;
    drop(output);
    let (stopping, stopped) = watch::channel(());
    let parent_gone = watch_parent(options.exit_with_parent);
    let mut terminate = signal(SignalKind::terminate())?;
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
            () = parent_gone => {}
        }
        drop(stopping);
    });
    let told = stopped.clone();
    let working = async move {
        if let Some(workers) = workers {
            workers.work(usize::from(options.workers.get()), told).await;
        }
        Ok(())
    };
    tokio::select! {
        result = async { tokio::try_join!(serving.into_future(), working) } => drop(result?),
        () = overdue(stopped) => tracing::warn!("what was in progress was abandoned"),
    }
    Ok(())
}

/// Who performs what comes by message, if anybody is to.
fn workers(options: &ServiceOptions, service: &Router) -> anyhow::Result<Option<Workers>> {
    let Some(queue) = &options.queue else { return Ok(None) };
    if options.service != Service::Payment {
        bail!("the {} service takes no commands by message; only the payment service does", options.service);
    }
    let amends = options.amends.as_deref().context("a queue needs the address of the Amends server that has it")?;
    Ok(Some(Workers { client: Client::new(amends)?, queue: queue.clone(), service: service.clone() }))
}

/// A service without a listener: opens its database and lays its routes.
///
/// # Errors
/// An error where an option makes no sense or the database cannot be had.
pub fn open(options: &ServiceOptions) -> anyhow::Result<Router> {
    let faults = faults::read(&options.faults, options.service)?;
    let database = options.database.display();
    let connection = Connection::open(&options.database).with_context(|| format!("{database} cannot be opened"))?;
    connection.execute_batch(ledger::SCHEMA).with_context(|| format!("{database} cannot be set up"))?;
    set_up(options.service, &connection).with_context(|| format!("{database} cannot be set up"))?;
    let amends = options.amends.as_deref().map(Client::new).transpose()?;
    Ok(router(Shop {
        service: options.service,
        store: Store::new(connection).with_context(|| format!("{database} cannot be used"))?,
        faults: Arc::new(Faults::new(faults, options.seed)),
        amends,
        definition: options.definition.as_str().into(),
    }))
}

fn set_up(service: Service, connection: &Connection) -> amends_idempotency::rusqlite::Result<()> {
    match service {
        Service::Order => connection.execute_batch(order::SCHEMA),
        Service::Inventory => inventory::set_up(connection),
        Service::Payment => connection.execute_batch(payment::SCHEMA),
        Service::Shipping => connection.execute_batch(shipping::SCHEMA),
        Service::Notification => connection.execute_batch(notification::SCHEMA),
        Service::Analytics => connection.execute_batch(analytics::SCHEMA),
    }
}

/// The layers from the inside: faults that belong to the handler's transaction, the transaction, all other faults.
fn router(shop: Shop) -> Router {
    let options = Options { wait: WAIT_FOR_THE_FIRST, ..Options::default() };
    let own = match shop.service {
        Service::Order => order::routes(),
        Service::Inventory => inventory::routes(),
        Service::Payment => payment::routes(),
        Service::Shipping => shipping::routes(),
        Service::Notification => notification::routes(),
        Service::Analytics => analytics::routes(),
    }
    .route_layer(from_fn_with_state(Arc::clone(&shop.faults), faults::inside_the_transaction))
    .route_layer(IdempotencyLayer::single_caller(shop.store.clone(), options))
    .route_layer(from_fn_with_state(Arc::clone(&shop.faults), faults::around_the_transaction));
    let front = match shop.service {
        Service::Order => order::front_door(),
        Service::Inventory | Service::Payment | Service::Shipping | Service::Notification | Service::Analytics => {
            Router::new()
        }
    };
    own.merge(front)
        .route("/ledger", get(ledger::show))
        .route("/faults", get(faults::show).put(faults::replace))
        .route("/healthz", get(health))
        .with_state(shop)
}

async fn health(State(shop): State<Shop>) -> Answer {
    Answer::Done(json!({ "service": shop.service.name() }))
}

/// Ends with standard input, if it is to be watched. A thread of its own reads it, for such a read cannot be cancelled.
pub async fn watch_parent(watched: bool) {
    if !watched {
        return std::future::pending().await;
    }
    let (gone, went) = oneshot::channel();
    std::thread::spawn(move || {
        let _ended_or_broken = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _nobody_waits = gone.send(());
    });
    let _told_or_dropped = went.await;
}

/// Ends when what is in progress has had its grace.
async fn overdue(mut stopped: watch::Receiver<()>) {
    let _dropped_by_the_stop = stopped.changed().await;
    tokio::time::sleep(GRACE).await;
}
