//! What sagas at rest cost: the server's memory with many that sleep, and the time to start again after a kill.

use crate::load::start_all;
use crate::store::Stores;
use crate::subject::{Amends, Program};
use anyhow::ensure;
use std::time::Instant;

/// How many there are.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Sagas that sleep
    #[arg(long, default_value_t = 100_000)]
    sagas: u64,
}

/// Measures, and prints what was found.
pub async fn run(options: &Options, amends: &Amends) -> anyhow::Result<()> {
    let store = Stores::Sqlite.create()?;
    let services = Program::role(&["services", "--latency", "0"])?;
    let (server, empty_start) = amends.start(&store, services.address)?;
    let empty = server.look()?;
    let began = Instant::now();
    start_all(server.address, "sleeper", 0..options.sagas).await?;
    let starting = began.elapsed();
    let full = server.look()?;
    server.kill()?;

    let (server, start) = amends.start(&store, services.address)?;
    let again = server.look()?;
    let client = amends_client::Client::new(&format!("http://{}", server.address))?;
    let statistics = client.statistics().await?;
    ensure!(statistics.in_flight == options.sagas && statistics.orphans == 0, "{statistics:?}");
    let size_mib = std::fs::metadata(store.folder().join("amends.db"))?.len() / (1 << 20);
    println!("sagas asleep                                {}", options.sagas);
    println!("started per second                          {:.0}", options.sagas as f64 / starting.as_secs_f64());
    println!(
        "memory empty / all asleep / started again   {:.0} / {:.0} / {:.0} MiB",
        empty.resident_mib, full.resident_mib, again.resident_mib
    );
    println!("memory at the most                          {:.0} MiB", full.peak_mib);
    println!("ready after, empty / with all of them       {empty_start:.0?} / {start:.0?}");
    println!("the store                                   {size_mib} MiB");
    Ok(())
}
