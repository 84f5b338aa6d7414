//! How soon a server is back that was killed with many sagas unfinished, and how soon it has finished them.

use crate::load::{read_ledger, start_all};
use crate::store::Stores;
use crate::subject::{Amends, Program};
use anyhow::ensure;
use std::time::{Duration, Instant};

/// How many there are.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Unfinished sagas
    #[arg(long, default_value_t = 100_000)]
    sagas: u64,
}

/// Services that do not answer while sagas are started, in milliseconds.
const AWAY: &str = "3600000";
/// How often the server is asked how many are left.
const LOOKS: Duration = Duration::from_millis(100);

/// Measures, and prints what was found.
pub async fn run(options: &Options, amends: &Amends) -> anyhow::Result<()> {
    let store = Stores::Sqlite.create()?;
    let services = Program::role(&["services", "--latency", AWAY])?;
    let (server, empty_start) = amends.start(&store, services.address)?;
    let began = Instant::now();
    start_all(server.address, "bench", 0..options.sagas).await?;
    let starting = began.elapsed();
    let full = server.look()?;
    server.kill()?;
    drop(services);

    let services = Program::role(&["services", "--latency", "0"])?;
    let (server, start) = amends.start(&store, services.address)?;
    let began = Instant::now();
    let client = amends_client::Client::new(&format!("http://{}", server.address))?;
    let finished = loop {
        let statistics = client.statistics().await?;
        ensure!(statistics.orphans == 0, "{statistics:?}");
        if statistics.in_flight == 0 {
            break statistics;
        }
        tokio::time::sleep(LOOKS).await;
    };
    let recovering = began.elapsed();
    ensure!(finished.completed == options.sagas, "some did not complete: {finished:?}");
    let ledger = read_ledger(services.address).await?;
    ensure!(ledger.done == 4 * options.sagas && ledger.undone == 0, "the services did {ledger:?}");
    let used = server.look()?;
    println!("unfinished sagas                            {}", options.sagas);
    println!("started per second                          {:.0}", options.sagas as f64 / starting.as_secs_f64());
    println!("ready after, empty / with all of them       {empty_start:.0?} / {start:.0?}");
    println!("memory with all of them in its hands        {:.0} MiB", full.resident_mib);
    println!("all finished after                          {recovering:.1?}");
    println!("finished per second                         {:.0}", options.sagas as f64 / recovering.as_secs_f64());
    println!("memory at the most, while it finished them  {:.0} MiB", used.peak_mib);
    println!("calls repeated by the services' ledger      {}", ledger.repeated);
    Ok(())
}
