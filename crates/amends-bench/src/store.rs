//! Where the servers that are measured keep their sagas: for each measurement a store of its own, which is a file, or a
//! database on the PostgreSQL that was started for the run.

use crate::subject::Program;
use crate::usage::{Disk, Process, Usage};
use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use std::path::Path;
use tempfile::TempDir;
use test_postgres::{Durability, Server};
use tokio_postgres::NoTls;

/// What stores are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file of the server's own
    Sqlite,
    /// A database, on a PostgreSQL that is started for this run and loses nothing in a crash
    Postgres,
}

/// Where stores are made.
pub enum Stores {
    /// In the file system.
    Sqlite,
    /// On this server, which ends with the run.
    Postgres(Server),
}

/// A store, and a folder for whatever else its servers need.
pub struct Store<'a> {
    folder: TempDir,
    disk: Disk,
    place: Place<'a>,
}

enum Place<'a> {
    File,
    Database { server: &'a Server, url: String },
}

impl Stores {
    /// Starts what the stores need.
    pub fn start(kind: Kind) -> anyhow::Result<Stores> {
        match kind {
            Kind::Sqlite => Ok(Stores::Sqlite),
            Kind::Postgres => Ok(Stores::Postgres(Server::start(Durability::Full)?)),
        }
    }

    /// Makes a new, empty store.
    pub fn create(&self) -> anyhow::Result<Store<'_>> {
        let folder = tempfile::tempdir()?;
        // The database has its folder beside this one.
        let disk = Disk::of(folder.path())?;
        let place = match self {
            Stores::Sqlite => Place::File,
            Stores::Postgres(server) => Place::Database { server, url: server.create_database()? },
        };
        Ok(Store { folder, disk, place })
    }
}

impl Store<'_> {
    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a server is told of it.
    pub fn address(&self) -> String {
        match &self.place {
            Place::File => format!("sqlite:{}", self.folder.path().join("amends.db").display()),
            Place::Database { url, .. } => url.clone(),
        }
    }

    /// What its servers and itself have used so far; nothing where there are none.
    pub fn usage(&self, servers: &[Program]) -> anyhow::Result<Usage> {
        if servers.is_empty() {
            return Ok(Usage::default());
        }
        let mut usage = Usage { flushes: self.disk.flushes()?, ..Usage::default() };
        for server in servers {
            let process = server.look()?;
            usage.cpu_s += process.cpu_s;
            usage.peak_mib += process.peak_mib;
            usage.resident_mib += process.resident_mib;
            usage.written += process.written_to_disk;
        }
        if let Place::Database { server, .. } = &self.place {
            let id = server.pid().context("the database runs")?;
            let postmaster = Process::look(id)?;
            usage.database_cpu_s += postmaster.ended_children_cpu_s;
            for process in Process::look_at_children(id)?.into_iter().chain([postmaster]) {
                usage.database_cpu_s += process.cpu_s;
                usage.written += process.written_to_files;
            }
        }
        Ok(usage)
    }

    /// Removes it when its servers have ended, so that the disk does not fill up while others are measured.
    pub async fn remove(self) -> anyhow::Result<()> {
        let Place::Database { server, url } = &self.place else { return Ok(()) };
        let (_, name) = url.rsplit_once('/').context("the address ends with the database's name")?;
        let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await?;
        tokio::spawn(connection);
        Ok(client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?)
    }
}
