//! Many sagas turn back at once while the service that must undo their steps is away; it comes back ill, and recovers. Three servers
//! on one PostgreSQL have the sagas. What the service sees is compared with what it would see without any limits.

use crate::http::Connection;
use crate::load::start_all;
use crate::patient::{ARRIVALS, Arrival, Health};
use crate::store::{Kind, Stores};
use crate::subject::{Amends, Limits, Program};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The saga: one step that is undone, and one that is refused.
pub const HERD: &str = r#"
saga: herd
key: "{{ input.id }}"
steps:
  charge:
    action: { post: "payment:/charge" }
    compensation: { post: "payment:/charge/undo", retry: { attempts: 1000, initial: 500ms, max: 2s, total: 1h } }
  ship:
    kind: pivot
    action: { post: "shipping:/ship" }
"#;

/// How large the herd is, and how the service fares.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Sagas that turn back at once
    #[arg(long, default_value_t = 400)]
    sagas: u64,
    /// Compensations a second that all servers may begin together
    #[arg(long, default_value_t = 50)]
    per_second: u32,
    /// For how long the service refuses everything, in seconds
    #[arg(long, default_value_t = 6.0)]
    away: f64,
    /// For how long after that it refuses three in five, in seconds
    #[arg(long, default_value_t = 10.0)]
    ill: f64,
}

/// How many servers there are.
const INSTANCES: u64 = 3;
/// How many compensations a server lets through to see whether a service is back, where nothing else is said.
const PROBES: usize = 2;
/// How long a breaker stays open, where nothing else is said, in milliseconds.
const OPEN: &str = "5s";
const OPEN_MS: u64 = 5_000;
/// How many compensations of one server are in flight at a service, and how many fail before the breaker opens, where nothing
/// else is said.
const IN_FLIGHT: u32 = 8;
const FAILURES: u32 = 5;
/// What a row of the table stands for, in milliseconds.
const ROW_MS: u64 = 1_000;
/// How long all may take to end once the service is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the service saw.
struct Seen {
    arrivals: Vec<Arrival>,
    /// When it was back, and when well, in milliseconds since it began.
    back_ms: u64,
    well_ms: u64,
}

/// Measures with the limits and without, checks what is promised, and prints both.
pub async fn run(options: &Options, amends: &Amends) -> anyhow::Result<()> {
    let limits = Limits { per_second: options.per_second, in_flight: IN_FLIGHT, failures: FAILURES, open: OPEN };
    let with = watch(options, amends, limits).await?;
    check(&with, options)?;
    let without = watch(options, amends, Limits { in_flight: 10_000, ..Limits::OUT_OF_REACH }).await?;
    print(&with, &without, options);
    Ok(())
}

async fn watch(options: &Options, amends: &Amends, limits: Limits) -> anyhow::Result<Seen> {
    let stores = Stores::start(Kind::Postgres)?;
    let store = stores.create()?;
    let service = Program::role(&["patient"])?;
    let mut servers = Vec::new();
    for number in 0..INSTANCES {
        let (server, _) = amends.start_with(&store, service.address, limits)?;
        let share = |number: u64| number * options.sagas / INSTANCES;
        start_all(server.address, "herd", share(number)..share(number + 1)).await?;
        servers.push(server);
    }
    tell(service.address, Health::Away).await?;
    tokio::time::sleep(Duration::from_secs_f64(options.away)).await;
    let back_ms = tell(service.address, Health::Ill).await?;
    tokio::time::sleep(Duration::from_secs_f64(options.ill)).await;
    let well_ms = tell(service.address, Health::Well).await?;
    let began = Instant::now();
    let client = amends_client::Client::new(&format!("http://{}", servers[0].address))?;
    loop {
        let statistics = client.statistics().await?;
        if statistics.compensated == options.sagas {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "not all are compensated: {statistics:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let arrivals = serde_json::from_slice(&get(service.address, ARRIVALS).await?)?;
    Ok(Seen { arrivals, back_ms, well_ms })
}

/// What is promised: no second sees more than the rate, and who comes back is first met by a few.
fn check(seen: &Seen, options: &Options) -> anyhow::Result<()> {
    let undone = seen.arrivals.iter().filter(|arrival| arrival.undone).count() as u64;
    ensure!(undone == options.sagas, "{undone} were undone, and {} were to be", options.sagas);
    let most = fullest_second(&seen.arrivals);
    ensure!(most <= options.per_second as usize, "{most} arrived in one second");
    let back = seen.arrivals.iter().filter(|arrival| arrival.at_ms >= seen.back_ms);
    let first = back.clone().find(|arrival| arrival.undone).context("nothing was undone")?.at_ms;
    let probes = back.take_while(|arrival| !arrival.undone).count();
    let rounds = 1 + (first - seen.back_ms) / OPEN_MS;
    let most = PROBES * (INSTANCES * rounds) as usize;
    ensure!(probes <= most, "{probes} met the service before it had undone one; {most} were to");
    Ok(())
}

/// How many arrived in the fullest second, wherever it began.
fn fullest_second(arrivals: &[Arrival]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (place, arrival) in arrivals.iter().enumerate() {
        while arrivals[first].at_ms + 1_000 <= arrival.at_ms {
            first += 1;
        }
        most = most.max(place + 1 - first);
    }
    most
}

fn print(with: &Seen, without: &Seen, options: &Options) {
    println!("{} sagas turn back at once; what the service sees in each second", options.sagas);
    println!("  {:>3}  {:>9} {:>9}   {:>9} {:>9}", "s", "limited", "undone", "unlimited", "undone");
    let last_ms = |seen: &Seen| seen.arrivals.last().map_or(0, |arrival| arrival.at_ms - began_ms(seen));
    for row in 0..=last_ms(with).max(last_ms(without)) / ROW_MS {
        let [limited, unlimited] = [with, without].map(|seen| {
            let begins_ms = began_ms(seen) + row * ROW_MS;
            let of_row =
                seen.arrivals.iter().filter(|arrival| (begins_ms..begins_ms + ROW_MS).contains(&arrival.at_ms));
            (of_row.clone().count(), of_row.filter(|arrival| arrival.undone).count())
        });
        let is_in = |at_ms: u64| (at_ms - began_ms(with)) / ROW_MS == row;
        let note = if is_in(with.back_ms) {
            "it is back, and ill"
        } else if is_in(with.well_ms) {
            "it is well"
        } else {
            ""
        };
        println!("  {row:>3}  {:>9} {:>9}   {:>9} {:>9}  {note}", limited.0, limited.1, unlimited.0, unlimited.1);
    }
    let [limited, unlimited] = [with, without].map(|seen| (seen.arrivals.len(), fullest_second(&seen.arrivals)));
    println!("  all  {:>9} {:>9}   {:>9}", limited.0, options.sagas, unlimited.0);
    println!("  the fullest second, wherever it begins: {} and {}", limited.1, unlimited.1);
}

/// When the first one arrived.
fn began_ms(seen: &Seen) -> u64 {
    seen.arrivals.first().map_or(0, |arrival| arrival.at_ms)
}

/// Tells the service how it is from now on. Returns when that is.
async fn tell(service: SocketAddr, health: Health) -> anyhow::Result<u64> {
    Ok(serde_json::from_slice(&get(service, health.path()).await?)?)
}

async fn get(service: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let mut connection = Connection::open(service).await?;
    let (_, body) = connection.send(Request::builder().uri(path).body(Full::default())?).await?;
    Ok(body)
}
