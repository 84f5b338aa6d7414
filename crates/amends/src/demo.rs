//! `amends demo`: a shop, its customers and its bad days, and then the question what everybody really did.
//!
//! Nothing in it is a mock. The server and the six services are processes of this same program, with databases of
//! their own, that talk over HTTP; the customers are this process. When every order has ended it asks each
//! service for its ledger and holds that against what Amends says. A mistake of Amends would be found here.

mod children;
mod customers;
mod follow;
mod progress;
mod reconcile;
mod report;
mod services;
mod setting;

use anyhow::{Context, Result, anyhow, bail};
use children::Children;
use clap::{Args, ValueEnum};
use customers::{Placed, Purchase};
use follow::{Follower, Latency, Tally};
use progress::Progress;
use reconcile::{Checkout, Evidence, Stock};
use report::{Measured, Place, Report};
use serde::Serialize;
use setting::Setting;
use std::fmt;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// How often the server is asked how its sagas stand.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many looks in a row have to find nothing in flight before all is taken to be quiet: a click whose answer was
/// lost may still be on its way.
const QUIET_LOOKS: u32 = 3;
/// How long nothing may move before the demo gives up. It is longer than any pause between two attempts.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a failure waits for a child's end, which would be its cause.
const CAUSE_WITHIN: Duration = Duration::from_secs(1);
/// How many sagas are named when nothing moves any more.
const NAMED: usize = 5;

/// What the demonstration does.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How many orders to place
    #[arg(long, value_name = "N", default_value = "200")]
    pub orders: NonZeroU32,
    /// How many orders to place each second
    #[arg(long, value_name = "PER_SECOND", default_value = "40")]
    pub rate: NonZeroU32,
    /// How much goes wrong
    #[arg(long, value_enum, default_value_t = Faults::Some)]
    pub faults: Faults,
    /// The seed of the customers and the faults [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Keep the server and the shop running afterwards, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Faults {
    /// Nothing
    None,
    /// A little of everything
    Some,
    /// A lot of everything; some sagas get stuck
    Many,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Faults::None => "none",
            Faults::Some => "some",
            Faults::Many => "many",
        })
    }
}

/// Runs the demonstration.
///
/// # Errors
/// Where it cannot be set up, a process ends while it is needed, an order does not end, or what the services did is
/// not what Amends says.
pub async fn run(arguments: DemoArgs) -> Result<()> {
    let mut signals = Signals::new()?;
    let directory = tempfile::Builder::new().prefix("amends-demo-").tempdir();
    let directory = directory.context("the directory for the demo's data cannot be made")?;
    let mut children = Children::new(directory.path())?;
    let result = tokio::select! {
        result = perform(&arguments, directory.path(), &mut children) => Some(result),
        () = signals.next() => None,
    };
    let result = match result {
        None => Err(anyhow!("stopped before every order had ended; nothing is left running")),
        Some(result) => {
            let result = match result {
                Ok(report) => conclude(&arguments, &report, &mut children, &mut signals).await,
                Err(error) => Err(error),
            };
            // Whoever wants to know what went wrong finds everything as it was.
            result.map_err(|error| {
                anyhow!("{error:#}\nThe demo's data and logs are left in {}", directory.keep().display())
            })
        }
    };
    children.end().await;
    result
}

/// Sets everything up, has all orders placed and followed to their end, and asks what was done.
async fn perform(arguments: &DemoArgs, directory: &Path, children: &mut Children) -> Result<Report> {
    let mut progress = Progress::new(arguments.json, arguments.orders.get() as usize);
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    progress
        .say("Starting the Amends server and the six services of a shop, each a process with a database of its own.");
    let setting = setting::start(arguments.faults, seed, directory, children).await?;
    progress.say(&format!(
        "The server is at {}; its data and all logs are in {}.",
        setting.server,
        directory.display()
    ));
    let played = tokio::select! {
        played = play(arguments, seed, &setting, &mut progress) => played,
        ended = children.first_end() => Err(ended.into()),
    };
    progress.finish();
    match played {
        Ok(report) => Ok(report),
        // That the server does not answer is said by the one who asks before it is known that it ended.
        Err(error) => match timeout(CAUSE_WITHIN, children.first_end()).await {
            Ok(ended) => Err(ended.into()),
            Err(_) => Err(error),
        },
    }
}

/// Shows the report, and keeps everything running if that is wanted.
async fn conclude(arguments: &DemoArgs, report: &Report, children: &mut Children, signals: &mut Signals) -> Result<()> {
    let text = if arguments.json { serde_json::to_string_pretty(report)? } else { report.to_text(arguments.keep) };
    let mut output = anstream::stdout();
    writeln!(output, "{text}").and_then(|()| output.flush()).context("the report cannot be written")?;
    if arguments.keep {
        tokio::select! {
            () = signals.next() => {}
            ended = children.first_end() => return Err(ended.into()),
        }
    }
    if report.agrees {
        return Ok(());
    }
    bail!("what the services did is not what Amends says: {} findings", report.findings.len())
}

/// Places the orders, follows them to their end, and gathers the evidence.
async fn play(arguments: &DemoArgs, seed: u64, setting: &Setting, progress: &mut Progress) -> Result<Report> {
    let stock_before = setting.services.stock().await?;
    let purchases = customers::purchases(arguments.orders.get() as usize, seed);
    let Followed { placed, latency, duration } = follow(arguments, &purchases, setting, progress).await?;
    let evidence = gather(setting, purchases, &placed, stock_before).await?;
    let measured =
        Measured { seed, faults: arguments.faults, duration, latency, fired: setting.services.fired().await? };
    Ok(Report::new(Place::of(setting), &evidence, measured))
}

/// Places all orders at their rate and looks on until every saga is finished or parked.
async fn follow(
    arguments: &DemoArgs,
    purchases: &[Purchase],
    setting: &Setting,
    progress: &mut Progress,
) -> Result<Followed> {
    let (sender, mut answers) = mpsc::unbounded_channel();
    // Whatever ends this function ends the customers with it.
    let mut customers = JoinSet::new();
    customers.spawn(customers::place(setting.services.clone(), purchases.to_vec(), arguments.rate, sender));
    let mut follower = Follower::new(setting.client.clone());
    let mut placed: Vec<Placed> = Vec::new();
    let began = Instant::now();
    let mut movement = Movement { last: began, seen: (0, Tally::default()) };
    let mut ticks = interval(LOOK_EVERY);
    let mut quiet_looks = 0;
    loop {
        ticks.tick().await;
        let all_placed = loop {
            match answers.try_recv() {
                Ok(answer) => {
                    answer.sagas().for_each(|saga| follower.add(saga));
                    placed.push(answer);
                }
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        let tally = follower.look().await?;
        progress.show(&tally, setting.client.statistics().await?.dead_letters);
        let quiet = all_placed && tally.in_flight == 0 && follower.parked_are_at_rest().await?;
        quiet_looks = if quiet { quiet_looks + 1 } else { 0 };
        let still = movement.still((placed.len(), tally));
        if quiet_looks >= QUIET_LOOKS {
            return Ok(Followed { placed, latency: tally.latency, duration: movement.last - began });
        }
        if quiet_looks == 0 && still > PATIENCE {
            let named: Vec<&str> = follower.in_flight().take(NAMED).collect();
            let (moved, named) = (PATIENCE.as_secs(), named.join(", "));
            bail!("nothing has moved for {moved} s, and {} sagas are not finished: {named}", tally.in_flight);
        }
    }
}

/// Asks everybody what was done.
async fn gather(
    setting: &Setting,
    purchases: Vec<Purchase>,
    placed: &[Placed],
    stock_before: Vec<Stock>,
) -> Result<Evidence> {
    let Setting { client, services, .. } = setting;
    let listed = follow::list(client, amends_client::SagaQuery::default()).await?;
    let sagas = follow::sagas(client, listed.into_iter().map(|saga| saga.id)).await?;
    let before = |sku: &str| stock_before.iter().find(|stock| stock.sku == sku).map_or(0, |stock| stock.free);
    let stock = services.stock().await?.into_iter();
    let stock = stock.map(|stock| Stock { initial: before(&stock.sku), ..stock }).collect();
    let mut checkouts: Vec<Checkout> = purchases.into_iter().map(Purchase::into_checkout).collect();
    for Placed { purchase, answers } in placed {
        checkouts[*purchase].orders.extend(answers.iter().flatten().map(|accepted| accepted.order_id.clone()));
        checkouts[*purchase].unanswered = answers.iter().filter(|answer| answer.is_none()).count();
    }
    Ok(Evidence {
        checkouts,
        sagas,
        stock,
        letters: follow::dead_letters(client).await?,
        ledger: services.ledgers().await?,
        orphans: client.statistics().await?.orphans,
    })
}

/// Orders that have been followed to their end.
struct Followed {
    placed: Vec<Placed>,
    /// From accepted to finished.
    latency: Option<Latency>,
    /// From the first order until the last one had ended.
    duration: Duration,
}

/// Whether anything still moves.
struct Movement {
    last: Instant,
    seen: (usize, Tally),
}

impl Movement {
    /// How long nothing has moved.
    fn still(&mut self, now: (usize, Tally)) -> Duration {
        if now != self.seen {
            *self = Movement { last: Instant::now(), seen: now };
        }
        self.last.elapsed()
    }
}

/// The signals that end the demo.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
