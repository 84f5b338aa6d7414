//! Whether a saga costs the same when a million have ended as when a thousand have.

use crate::load::{Load, read_ledger};
use crate::report::Measured;
use crate::shop::Ledger;
use crate::store::{Kind, Stores};
use crate::subject::{Amends, Program, Subject};
use anyhow::ensure;
use std::time::Instant;

/// How many there are.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the sagas are kept
    #[arg(long, value_enum, default_value_t = Kind::Sqlite)]
    store: Kind,
    /// Sagas in all
    #[arg(long, default_value_t = 1_000_000)]
    sagas: usize,
    /// Sagas of one measurement
    #[arg(long, default_value_t = 20_000)]
    window: usize,
}

/// The load under which it is measured.
const IN_FLIGHT: usize = 64;
/// How many have ended when the first measurement begins.
const FIRST: usize = 1_000;
/// How many measurements are shown, at equal distances, besides the first.
const ROWS: usize = 10;

/// Measures, and prints a table.
pub async fn run(options: &Options, amends: &Amends) -> anyhow::Result<()> {
    let Options { sagas, window, .. } = *options;
    ensure!(sagas >= FIRST + (ROWS + 1) * window, "so few sagas have no room for {} measurements", ROWS + 1);
    let stores = Stores::start(options.store)?;
    let store = stores.create()?;
    let services = Program::role(&["services", "--latency", "0"])?;
    let (server, _) = amends.start(&store, services.address)?;
    let load = Load { subject: Subject::Amends, addresses: vec![server.address], in_flight: IN_FLIGHT, refused: 0 };
    let running = load.start(u64::MAX);
    let mut ledger = Ledger::default();
    running.observe_sagas(FIRST).await?;
    let mut ended = FIRST;
    let servers = [server];
    let heads = ["ended", "sagas/s", "CPU s/1000", "DB CPU s/1000", "bytes/saga", "memory MiB"];
    println!("{}", heads.map(|head| format!("{head:>13}")).join(" "));
    let every = (sagas - FIRST - window) / ROWS;
    for row in 0..=ROWS {
        let (before, began) = (store.usage(&servers)?, Instant::now());
        let finished = running.observe_sagas(window).await?;
        let (after, time, count) = (store.usage(&servers)?, began.elapsed(), finished.took_us.len());
        let measured = Measured::new(finished, time, before, after);
        let Measured { sagas_per_s, cpu_s_per_1000, database_cpu_s_per_1000, bytes_per_saga, .. } = measured;
        println!(
            "{ended:>13} {sagas_per_s:>13.0} {cpu_s_per_1000:>13.3} {database_cpu_s_per_1000:>13.3} {bytes_per_saga:>13.0} {:>13.0}",
            after.resident_mib
        );
        ended += count;
        if row < ROWS {
            ended += running.observe_sagas(every - window).await?.took_us.len();
        }
        // Read as it goes, so that the services need not remember a million keys.
        ledger += read_ledger(services.address).await?;
    }
    let expected = running.stop().await?;
    ledger += read_ledger(services.address).await?;
    ensure!(ledger == expected, "the services did {ledger:?}, and {expected:?} was to be done");
    Ok(())
}
