//! The partitions of `event`: each holds the events of sagas that were born within one period, and is dropped whole when the
//! last of these sagas is forgotten.
//!
//! They are made ahead of time. What finds none goes to the default partition, where it is deleted row by row; it is empty
//! unless making them has failed for a month. Adding or dropping a partition holds up every commit for its moment, so
//! whoever does so waits for a lock no longer than [`PATIENCE`], and is called again.

#[cfg(test)]
mod tests;

use super::connect::{Link, Value};
use super::errors::Failure;
use super::{commit_of, reads};
use crate::columns;
use amends_core::time::Timestamp;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Few and long: a plan that serves every saga locks every partition whenever it is carried out.
const PERIOD_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Who waits for a lock on a table keeps everybody waiting who comes later.
const PATIENCE: &str = "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '1s'";

/// A span of time, by its number since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Period(u64);

impl Period {
    fn at(time: Timestamp) -> Period {
        Period(time.0 / PERIOD_MS)
    }

    fn next(self) -> Period {
        Period(self.0.saturating_add(1))
    }

    fn begins(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(PERIOD_MS))
    }

    /// The lowest id of a saga that was born in it, and the lowest of one that was born after it.
    fn ids(self) -> [Uuid; 2] {
        [self, self.next()].map(|period| columns::first_id(period.begins()))
    }

    fn table(self) -> String {
        format!("event_{}", self.0)
    }

    /// The period of a partition; the default one has none.
    fn of(table: &str) -> Option<Period> {
        table.strip_prefix("event_")?.parse().ok().map(Period)
    }
}

/// Makes the partitions of this period and the next where they are missing, and drops those of which nobody has heard since
/// before the given time.
pub(super) async fn keep_up(link: &Link, finished_before: Option<Timestamp>) -> Result<(), Failure> {
    prepare(link).await?;
    for period in present(link).await? {
        let is_past = finished_before.is_some_and(|before| period.next().begins() <= before);
        if is_past && is_forgotten(link, period).await? {
            drop_forgotten(link, period).await?;
        }
    }
    Ok(())
}

/// Makes the partitions of this period and the next where they are missing.
pub(super) async fn prepare(link: &Link) -> Result<(), Failure> {
    let now = Period::at(reads::time(link).await?);
    let present = present(link).await?;
    for period in [now, now.next()] {
        if !present.contains(&period) {
            add(link, period).await?;
        }
    }
    Ok(())
}

async fn present(link: &Link) -> Result<Vec<Period>, Failure> {
    let text = "
        SELECT child.relname::text FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = 'amends.event'::regclass ORDER BY 1";
    let mut periods = Vec::new();
    for row in link.query_text(text, &[]).await? {
        periods.extend(Period::of(row.try_get(0)?));
    }
    Ok(periods)
}

/// Adds a partition, unless another process has, or the default one holds what belongs into it: that stays where it is.
async fn add(link: &Link, period: Period) -> Result<(), Failure> {
    let (table, [from, to]) = (period.table(), period.ids());
    begin(link).await?;
    let missing = "
        SELECT 1 WHERE to_regclass('amends.' || $1) IS NULL
            AND NOT EXISTS (SELECT 1 FROM amends.event_default WHERE saga >= $2 AND saga < $3)";
    let values: [(Value<'_>, Type); 3] = [(&table, Type::TEXT), (&from, Type::UUID), (&to, Type::UUID)];
    if !link.query_text(missing, &values).await?.is_empty() {
        // A table that is attached takes a weaker lock on `event` than one that is made as its partition.
        let attach = format!(
            "CREATE TABLE amends.{table} (LIKE amends.event INCLUDING ALL);
             ALTER TABLE amends.event ATTACH PARTITION amends.{table} FOR VALUES FROM ('{from}') TO ('{to}')"
        );
        link.run(&attach).await?;
    }
    commit_of(link).await
}

/// Whether no saga is left of a period.
async fn is_forgotten(link: &Link, period: Period) -> Result<bool, Failure> {
    let [from, to] = period.ids();
    let text = "SELECT 1 FROM amends.saga WHERE id >= $1 AND id < $2 LIMIT 1";
    Ok(link.query_text(text, &[(&from, Type::UUID), (&to, Type::UUID)]).await?.is_empty())
}

/// Drops a partition. With the lock in hand it is looked once more: a birth writes to `saga` and `event` in one transaction,
/// which has ended by then or has not begun.
async fn drop_forgotten(link: &Link, period: Period) -> Result<(), Failure> {
    begin(link).await?;
    link.run("LOCK TABLE ONLY amends.event IN ACCESS EXCLUSIVE MODE").await?;
    let is_dropped = is_forgotten(link, period).await?;
    if is_dropped {
        link.run(&format!("DROP TABLE IF EXISTS amends.{}", period.table())).await?;
    }
    commit_of(link).await?;
    if is_dropped {
        tracing::info!(partition = period.table(), "the events of forgotten sagas were dropped");
    }
    Ok(())
}

/// Begins a transaction that only one process is in at a time, and that gives up soon.
async fn begin(link: &Link) -> Result<(), Failure> {
    link.begin().await?;
    link.run(PATIENCE).await?;
    link.query_text("SELECT 1 FROM amends.schema_version FOR UPDATE", &[]).await?;
    Ok(())
}
