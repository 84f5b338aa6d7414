//! Measures Amends beside the floors that it stands on. See `amends-bench --help` and docs/performance.md.

mod age;
mod floor;
mod herd;
mod http;
mod load;
mod patient;
mod readers;
mod recovery;
mod report;
mod shop;
mod sleepers;
mod store;
mod subject;
mod throughput;
mod usage;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use subject::Amends;
use tokio::task::LocalSet;

/// Measures Amends beside the floors that it stands on
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The server under test; the one that was built beside this program unless said
    #[arg(long, global = true)]
    amends: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Throughput, latency and cost, beside the bare and the durable floor
    Throughput(throughput::Options),
    /// Cost per saga while the store fills up
    Age(age::Options),
    /// Start-up and recovery with many unfinished sagas, after a kill
    Recovery(recovery::Options),
    /// Memory with many sagas at rest
    Sleepers(sleepers::Options),
    /// Many compensations at once, at a service that is ill and recovers, from three servers on one PostgreSQL
    Herd(herd::Options),
    /// Serves the steps of a saga; the others start it
    #[command(hide = true)]
    Services {
        /// How late it answers, in milliseconds
        #[arg(long)]
        latency: u64,
    },
    /// Serves as one who is ill; the others start it
    #[command(hide = true)]
    Patient,
    /// Serves as the durable floor; the others start it
    #[command(hide = true)]
    Floor {
        /// Its store, as Amends would be told it
        #[arg(long)]
        store: String,
        /// Where the services listen
        #[arg(long)]
        services: SocketAddr,
    },
}

fn main() -> anyhow::Result<()> {
    let Arguments { command, amends } = Arguments::parse();
    let beside = std::env::current_exe()?.with_file_name("amends");
    let amends = Amends { binary: amends.unwrap_or(beside) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    runtime.block_on(LocalSet::new().run_until(async {
        match command {
            Command::Throughput(options) => throughput::run(&options, &amends).await,
            Command::Age(options) => age::run(&options, &amends).await,
            Command::Recovery(options) => recovery::run(&options, &amends).await,
            Command::Sleepers(options) => sleepers::run(&options, &amends).await,
            Command::Herd(options) => herd::run(&options, &amends).await,
            Command::Patient => patient::run().await,
            Command::Services { latency } => shop::run(Duration::from_millis(latency)).await,
            Command::Floor { store, services } => floor::run(&store, services).await,
        }
    }))
}
