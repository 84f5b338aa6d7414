//! The audit log and its chain. The writer is the only one, so the chain ends with the last entry that has a number.

use super::errors::Failure;
use super::rows::{number_at, optional_id_at, time_at};
use super::writer::Writing;
use crate::audit::{place, seals};
use crate::columns::{self, time};
use crate::{AuditEntry, Deed};
use amends_core::chain::Head;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The columns that [`entry`] reads, in its order.
pub(super) const COLUMNS: &str = "id, at, actor, action, saga, subject, step, reason, number, hash";

const PUT: &str = "INSERT INTO audit (at, actor, action, subject, reason) VALUES (?1, ?2, ?3, ?4, '')";
pub(super) const IS_UNSEALED: &str = "SELECT 1 FROM audit WHERE number IS NULL LIMIT 1";
pub(super) const UNSEALED: &str = "
    SELECT id, at, actor, action, saga, subject, step, reason, number, hash FROM audit WHERE number IS NULL
    ORDER BY id LIMIT ?1";
pub(super) const SEAL: &str = "UPDATE audit SET number = ?2, hash = ?3 WHERE id = ?1";
pub(super) const SEALED: &str = "
    SELECT id, at, actor, action, saga, subject, step, reason, number, hash FROM audit WHERE number > ?1
    ORDER BY number LIMIT ?2";
pub(super) const HEAD: &str = "SELECT number, hash FROM audit WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1";

/// Adds what concerns no saga.
pub(super) fn put(sql: &Connection, deed: &Deed) -> rusqlite::Result<()> {
    let Deed { actor, action, subject, at } = deed;
    sql.prepare_cached(PUT)?.execute(params![time(*at), actor, action, subject])?;
    Ok(())
}

/// Whether there is anything to seal. It is asked all the time, and a transaction is a flush.
pub(super) fn is_unsealed(sql: &Connection) -> rusqlite::Result<bool> {
    sql.prepare_cached(IS_UNSEALED)?.exists([])
}

pub(super) fn seal(writing: &mut Writing<'_>, limit: usize) -> Result<Option<Head>, Failure> {
    let sql = writing.sql;
    let entries = list(sql, UNSEALED, params![columns::limit(limit)])?;
    let seals = seals(head(sql)?, &entries);
    let mut update = sql.prepare_cached(SEAL)?;
    for (entry, seal) in entries.iter().zip(&seals) {
        update.execute(params![rank(entry.place), columns::number(seal.number), seal.hash])?;
    }
    Ok(seals.last().copied())
}

pub(super) fn sealed(sql: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<AuditEntry>> {
    list(sql, SEALED, params![columns::number(after), columns::limit(limit)])
}

pub(super) fn head(sql: &Connection) -> rusqlite::Result<Head> {
    let last = |row: &Row<'_>| Ok(Head { number: number_at(row, 0)?, hash: row.get(1)? });
    Ok(sql.prepare_cached(HEAD)?.query_row([], last).optional()?.unwrap_or(Head::BEGINNING))
}

/// The lowest row whose place is not before this one.
pub(super) fn rank(place: u128) -> i64 {
    i64::try_from(place.div_ceil(1 << 64)).unwrap_or(i64::MAX)
}

fn list(sql: &Connection, text: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<AuditEntry>> {
    sql.prepare_cached(text)?.query_map(values, entry)?.collect()
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let hash: Option<[u8; 32]> = row.get(9)?;
    let seal = hash.map(|hash| Ok::<_, rusqlite::Error>(Head { number: number_at(row, 8)?, hash })).transpose()?;
    Ok(AuditEntry {
        place: place(number_at(row, 0)?, 0),
        at: time_at(row, 1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        saga: optional_id_at(row, 4)?,
        subject: row.get(5)?,
        step: row.get(6)?,
        reason: row.get(7)?,
        seal,
    })
}
