//! `amends migrate`: a store's schema, brought up to date on its own.

use super::failure::Failure;
use super::serve::configuration;
use super::{Outcome, output};
use crate::config::StoreLocation;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which store.
#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    /// The store, such as sqlite:amends.db; without it the configuration's
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// The server's configuration [default: amends.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "AMENDS_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Migrated {
    store: String,
    from: u32,
    to: u32,
}

pub(super) async fn run(arguments: MigrateArgs) -> Outcome {
    let location = match &arguments.store {
        Some(text) => {
            StoreLocation::parse(text, Path::new("")).map_err(|why| Failure::new(format!("--store {why}")))?
        }
        None => configuration(arguments.config.as_deref(), Vec::new())?.store,
    };
    let migration = match &location {
        StoreLocation::Sqlite(path) => amends_store::migrate(path).map_err(anyhow::Error::from)?,
        StoreLocation::Postgres(address) => {
            amends_store::migrate_postgres(address).await.map_err(anyhow::Error::from)?
        }
    };
    let migrated = Migrated { store: location.to_string(), from: migration.from, to: migration.to };
    if arguments.json {
        output::print_json(&migrated)?;
    } else {
        output::print(&text(&migrated))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(migrated: &Migrated) -> String {
    let Migrated { store, from, to } = migrated;
    match (from, to) {
        (0, to) => format!("{store} is new, with schema {to}"),
        (from, to) if from == to => format!("{store} has schema {to} already"),
        (from, to) => format!("{store} was brought from schema {from} to {to}"),
    }
}
