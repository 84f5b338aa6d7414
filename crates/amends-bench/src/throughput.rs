//! The comparison: the two floors and Amends, one after the other, again and again, so that whatever else the machine
//! does falls on all of them.

use crate::load::{Load, read_ledger};
use crate::readers::Readers;
use crate::report::{Measured, Report};
use crate::store::{Kind, Store, Stores};
use crate::subject::{Amends, Program, Subject};
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::time::Duration;

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the sagas are kept
    #[arg(long, value_enum, default_value_t = Kind::Sqlite)]
    store: Kind,
    /// Measures besides how so many servers on one store share the load; they need PostgreSQL
    #[arg(long, default_value_t = 1)]
    instances: usize,
    /// Sagas in flight at once
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    in_flight: Vec<usize>,
    /// One saga in so many is refused at its third step and undone; 0 is none
    #[arg(long, value_delimiter = ',', default_value = "0,10")]
    refused: Vec<u64>,
    /// How late the services answer, in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "0,5")]
    latency: Vec<u64>,
    /// How often everything is measured; the medians are shown
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each is measured, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How long each runs before it is measured, in seconds
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Measures besides how the sagas fare while so many readers list, search and count as fast as they can
    #[arg(long, default_value_t = 0)]
    readers: usize,
    /// Another build of the server, to be measured beside the first
    #[arg(long)]
    other: Option<PathBuf>,
    /// Where the results go as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Case {
    /// Where the sagas are kept.
    pub store: Kind,
    /// How many servers share the load where there are several.
    pub instances: usize,
    /// How many readers there are where there are any.
    pub readers: usize,
    /// How late the services answer, in milliseconds.
    pub latency_ms: u64,
    /// One saga in so many is refused; none if 0.
    pub refused: u64,
    /// Sagas in flight at once.
    pub in_flight: usize,
}

/// Measures, prints a table and writes JSON.
pub async fn run(options: &Options, amends: &Amends) -> anyhow::Result<()> {
    let is_possible = options.instances == 1 || options.store == Kind::Postgres && options.instances > 1;
    ensure!(is_possible, "several servers share a store on PostgreSQL only (--store postgres)");
    let stores = Stores::start(options.store)?;
    let mut report = Report::default();
    let mut subjects = vec![Subject::Bare, Subject::Floor, Subject::Amends];
    subjects.extend(options.other.as_ref().map(|_| Subject::Other));
    subjects.extend((options.instances > 1).then_some(Subject::Several));
    subjects.extend((options.readers > 0).then_some(Subject::Read));
    for round in 0..options.rounds {
        for latency_ms in &options.latency {
            let services = Program::role(&["services", "--latency", &latency_ms.to_string()])?;
            for case in options.cases(*latency_ms) {
                // Whoever comes second may find the machine as the first one left it.
                for turn in 0..subjects.len() {
                    let subject = subjects[(round + turn) % subjects.len()];
                    let store = stores.create()?;
                    let servers = start(options, amends, &store, &services, subject)?;
                    let measured = measure(options, &store, &servers, &services, subject, case).await?;
                    drop(servers);
                    store.remove().await?;
                    report.add(case, subject, measured);
                }
                eprintln!("round {} of {}: {}", round + 1, options.rounds, report.last(case));
            }
        }
    }
    println!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report.to_json())?)?;
    }
    Ok(())
}

impl Options {
    fn cases(&self, latency_ms: u64) -> impl Iterator<Item = Case> {
        let Options { store, instances, readers, .. } = *self;
        let each = move |refused: &u64| {
            let refused = *refused;
            let case =
                move |in_flight: &usize| Case { store, instances, readers, latency_ms, refused, in_flight: *in_flight };
            self.in_flight.iter().map(case)
        };
        self.refused.iter().flat_map(each)
    }
}

/// Starts what is measured beside the services.
fn start(
    options: &Options,
    amends: &Amends,
    store: &Store<'_>,
    services: &Program,
    subject: Subject,
) -> anyhow::Result<Vec<Program>> {
    let some = |amends: &Amends, count: usize| {
        let each = (0..count).map(|_| Ok(amends.start(store, services.address)?.0));
        each.collect::<anyhow::Result<Vec<_>>>()
    };
    match subject {
        Subject::Bare => Ok(Vec::new()),
        Subject::Floor => {
            let arguments = ["floor", "--store", &store.address(), "--services", &services.address.to_string()];
            Ok(vec![Program::role(&arguments)?])
        }
        Subject::Amends | Subject::Read => some(amends, 1),
        Subject::Several => some(amends, options.instances),
        Subject::Other => some(&Amends { binary: options.other.clone().context("there is no other build")? }, 1),
    }
}

async fn measure(
    options: &Options,
    store: &Store<'_>,
    servers: &[Program],
    services: &Program,
    subject: Subject,
    case: Case,
) -> anyhow::Result<Measured> {
    let addresses = match servers {
        [] => vec![services.address],
        servers => servers.iter().map(|server| server.address).collect(),
    };
    read_ledger(services.address).await?;

    let Case { refused, in_flight, readers, .. } = case;
    let reading = (subject == Subject::Read).then(|| Readers::start(addresses[0], readers));
    let running = Load { subject, addresses, in_flight, refused }.start(u64::MAX);
    running.observe(Duration::from_secs_f64(options.warm_up)).await;
    let before = store.usage(servers)?;
    let (finished, time) = running.observe(Duration::from_secs_f64(options.seconds)).await;
    let after = store.usage(servers)?;
    let expected = running.stop().await?;
    if let Some(reading) = reading {
        eprintln!("{} answers to readers", reading.stop()?);
    }
    let ledger = read_ledger(services.address).await?;
    ensure!(ledger == expected, "{subject}, {case:?}: the services did {ledger:?}, and {expected:?} was to be done");
    Ok(Measured::new(finished, time, before, after))
}
