//! The tables, and how older ones are brought up to date.

use super::connect::Link;
use super::errors::{OpenError, whole};
use crate::Migration;
use amends_failpoints::failpoint;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Every step from one schema to the next: the database says how many of them it has seen. A step that was released is
/// never changed, and leaves the tables such that the version before it can go on with them.
const LADDER: &[&str] = &[include_str!("schema/0001.sql")];

/// Where it is said. Whoever takes a step locks the row, so that two who come at once take it once.
const FOUNDATION: &str = "
    CREATE SCHEMA IF NOT EXISTS amends;
    CREATE TABLE IF NOT EXISTS amends.schema_version (one boolean PRIMARY KEY CHECK (one), version bigint NOT NULL);
    INSERT INTO amends.schema_version VALUES (true, 0) ON CONFLICT DO NOTHING";

/// Brings the tables to this program's schema. It can be run twice, by several at once, and beside servers of the version
/// before.
pub(super) async fn migrate(link: &Link, place: &str) -> Result<Migration, OpenError> {
    let failed = |error: Error| OpenError::Schema { place: place.to_owned(), why: whole(&error) };
    found(link).await.map_err(failed)?;
    let to = u32::try_from(LADDER.len()).expect("a ladder has a handful of steps");
    let mut from = None;
    loop {
        let version = climb(link).await.map_err(failed)?;
        from.get_or_insert(version);
        if version > to {
            return Err(OpenError::Newer { place: place.to_owned(), found: version, known: to });
        }
        if version == to {
            return Ok(Migration { from: from.unwrap_or(version), to });
        }
    }
}

/// Lays the foundation. Two who do so at once can meet in the catalogue, where `IF NOT EXISTS` does not help.
async fn found(link: &Link) -> Result<(), Error> {
    for _ in 0..10 {
        match link.run(FOUNDATION).await {
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
            // Where it is there already, whoever serves needs no right to lay it.
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                return if version(link).await.is_ok() { Ok(()) } else { Err(error) };
            }
            other => return other,
        }
    }
    link.run(FOUNDATION).await
}

/// Takes the next step, if there is one, and returns the version before it.
async fn climb(link: &Link) -> Result<u32, Error> {
    let seen = version(link).await?;
    if seen as usize >= LADDER.len() {
        return Ok(seen);
    }
    link.begin().await?;
    let step = async {
        let text = "SELECT version FROM amends.schema_version FOR UPDATE";
        let version: i64 = link.query_text(text, &[]).await?[0].try_get(0)?;
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        if let Some(step) = LADDER.get(version as usize) {
            link.run(step).await?;
            link.run(&format!("UPDATE amends.schema_version SET version = {}", version + 1)).await?;
        }
        failpoint!(async MigrationWritten);
        link.commit().await?;
        failpoint!(async MigrationCommitted);
        Ok(version)
    };
    let stepped = step.await;
    if stepped.is_err() {
        link.roll_back().await;
    }
    stepped
}

async fn version(link: &Link) -> Result<u32, Error> {
    let version: i64 = link.query_text("SELECT version FROM amends.schema_version", &[]).await?[0].try_get(0)?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}
