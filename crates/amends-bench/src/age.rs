//! Whether a saga costs the same when a million have ended as when a thousand have.

use crate::load::{Load, read_ledger};
use crate::subject::{Amends, Disk, Program, Subject, Usage};
use anyhow::ensure;

/// How many there are.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
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
    let Options { sagas, window } = *options;
    ensure!(sagas >= FIRST + (ROWS + 1) * window, "so few sagas have no room for {} measurements", ROWS + 1);
    let folder = tempfile::tempdir()?;
    let disk = Disk::of(folder.path())?;
    let services = Program::role(&["services", "--latency", "0"])?;
    let (server, _) = amends.start(folder.path(), services.address)?;
    let load = Load {
        subject: Subject::Amends,
        address: server.address,
        in_flight: IN_FLIGHT,
        refused: 0,
        name: "order".into(),
    };
    let running = load.start(u64::MAX);
    running.observe_sagas(FIRST).await?;
    let mut ended = FIRST;
    println!("{:>10} {:>10} {:>12} {:>12} {:>12}", "ended", "sagas/s", "CPU s/1000", "bytes/saga", "memory MiB");
    let every = (sagas - FIRST - window) / ROWS;
    for row in 0..=ROWS {
        let (before, began) = (server.usage(&disk)?, std::time::Instant::now());
        let count = running.observe_sagas(window).await?.took_us.len();
        let (after, time) = (server.usage(&disk)?, began.elapsed().as_secs_f64());
        println!("{}", line(ended, count as f64, time, before, after));
        ended += count;
        if row < ROWS {
            ended += running.observe_sagas(every - window).await?.took_us.len();
        }
        read_ledger(services.address).await?;
    }
    running.stop().await?;
    Ok(())
}

fn line(ended: usize, sagas: f64, time: f64, before: Usage, after: Usage) -> String {
    let cpu = (after.cpu_s - before.cpu_s) * 1_000.0 / sagas;
    let bytes = (after.written - before.written) as f64 / sagas;
    format!("{ended:>10} {:>10.0} {cpu:>12.3} {bytes:>12.0} {:>12.0}", sagas / time, after.resident_mib)
}
