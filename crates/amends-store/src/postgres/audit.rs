//! The audit log and its chain.
//!
//! Whoever seals locks the row that says which number was given last; another one that comes meanwhile leaves it at that. Commits do not look
//! at it. What a transaction sees of entries that are not sealed it seals, and what another one commits later is sealed later.

use super::commit_of;
use super::connect::{Link, Value};
use super::errors::Failure;
use super::flight::column;
use super::rows::{optional_text_at, read_number, text_at, time_at};
use super::statements::PUT_AUDIT;
use super::text::stored;
use crate::audit::{place, seals};
use crate::columns::{self, time};
use crate::{AuditEntry, Deed, StoreError};
use amends_core::chain::{Hash, Head};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// The columns that [`entry`] reads, in its order.
pub(super) const COLUMNS: &str = "rank, writer, at, actor, action, saga, subject, step, reason, number, hash";

const IS_UNSEALED: &str = "SELECT EXISTS (SELECT FROM amends.audit WHERE number IS NULL)";
const TURN: &str = "SELECT last FROM amends.numbering WHERE list = 'audit' FOR UPDATE SKIP LOCKED";
const ADVANCE: &str = "UPDATE amends.numbering SET last = $1 WHERE list = 'audit'";
const LAST: &str = "SELECT last FROM amends.numbering WHERE list = 'audit'";
const SEAL: &str = "
    UPDATE amends.audit SET number = new.number, hash = new.hash
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) AS new (rank, writer, number, hash)
    WHERE audit.rank = new.rank AND audit.writer = new.writer";

/// A connection as entries are told apart by it: those of one connection never have the same rank. None is negative, so that places
/// are ordered as the columns are.
pub(super) fn writer(link: &Link) -> i64 {
    let (_, low) = link.writer.as_u64_pair();
    i64::try_from(low >> 1).expect("a bit is free")
}

/// Adds what concerns no saga.
pub(super) async fn put(link: &Link, deed: &Deed) -> Result<(), Error> {
    let Deed { actor, action, subject, at } = deed;
    let (at, actor, action, subject) =
        (vec![time(*at)], vec![stored(actor)], vec![stored(action)], vec![stored(subject)]);
    let (saga, step, reason) = (vec![None::<Uuid>], vec![None::<String>], vec![""]);
    link.query(&PUT_AUDIT, &[&at, &actor, &action, &saga, &subject, &step, &reason, &writer(link)]).await?;
    Ok(())
}

pub(super) async fn seal(link: &Link, limit: usize) -> Result<Option<Head>, Failure> {
    // It is asked all the time, and a lock on a row is written.
    let is_unsealed: bool = link.query_text(IS_UNSEALED, &[]).await?[0].try_get(0)?;
    if !is_unsealed {
        return Ok(None);
    }
    link.begin().await?;
    let turn = link.query_text(TURN, &[]).await?;
    let sealed = match turn.first() {
        Some(row) => seal_after(link, row.try_get(0)?, limit).await?,
        None => None,
    };
    commit_of(link).await?;
    Ok(sealed)
}

/// Seals behind the entry with this number.
async fn seal_after(link: &Link, last: i64, limit: usize) -> Result<Option<Head>, Failure> {
    let before = head_at(link, last).await?;
    let text = format!("SELECT {COLUMNS} FROM amends.audit WHERE number IS NULL ORDER BY rank, writer LIMIT $1");
    let found = link.query_text(&text, &[(&columns::limit(limit), Type::INT8)]).await?;
    let entries = found.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let seals = seals(before, &entries);
    let Some(head) = seals.last() else { return Ok(None) };
    let (ranks, writers) =
        (column(&entries, |entry| split(entry.place).0), column(&entries, |entry| split(entry.place).1));
    let (numbers, hashes) =
        (column(&seals, |seal| columns::number(seal.number)), column(&seals, |seal| seal.hash.to_vec()));
    let values: [(Value<'_>, Type); 4] = [
        (&ranks, Type::INT8_ARRAY),
        (&writers, Type::INT8_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&hashes, Type::BYTEA_ARRAY),
    ];
    link.query_text(SEAL, &values).await?;
    link.query_text(ADVANCE, &[(&columns::number(head.number), Type::INT8)]).await?;
    Ok(Some(*head))
}

pub(super) async fn sealed(link: &Link, after: u64, limit: usize) -> Result<Vec<AuditEntry>, Error> {
    let text = format!("SELECT {COLUMNS} FROM amends.audit WHERE number > $1 ORDER BY number LIMIT $2");
    let values: [(Value<'_>, Type); 2] = [(&columns::number(after), Type::INT8), (&columns::limit(limit), Type::INT8)];
    link.query_text(&text, &values).await?.iter().map(entry).collect()
}

pub(super) async fn head(link: &Link) -> Result<Head, Failure> {
    let last = link.query_text(LAST, &[]).await?;
    let last =
        last.first().ok_or_else(|| StoreError::Damaged("the number of the last sealed entry is missing".into()))?;
    head_at(link, last.try_get(0)?).await
}

/// The seal of the entry with this number. One that was given and is not there is damage, and nothing is sealed behind it.
async fn head_at(link: &Link, number: i64) -> Result<Head, Failure> {
    if number == 0 {
        return Ok(Head::BEGINNING);
    }
    let found = link.query_text("SELECT hash FROM amends.audit WHERE number = $1", &[(&number, Type::INT8)]).await?;
    let Some(row) = found.first() else {
        return Err(
            StoreError::Damaged(format!("entry {number} of the audit log was sealed and is missing").into()).into()
        );
    };
    Ok(Head { number: read_number(number), hash: hash(row.try_get(0)?) })
}

/// The rank and the writer of a place.
pub(super) fn split(place: u128) -> (i64, i64) {
    let part = |part: u128| i64::try_from(part).unwrap_or(i64::MAX);
    (part(place >> 64), part(place & u128::from(u64::MAX)))
}

/// Reads the columns in the order of [`COLUMNS`].
pub(super) fn entry(row: &Row) -> Result<AuditEntry, Error> {
    let (number, sealed): (Option<i64>, Option<Vec<u8>>) = (row.try_get(9)?, row.try_get(10)?);
    Ok(AuditEntry {
        place: place(row.try_get(0).map(read_number)?, row.try_get(1).map(read_number)?),
        at: time_at(row, 2)?,
        actor: text_at(row, 3)?,
        action: text_at(row, 4)?,
        saga: row.try_get(5)?,
        subject: optional_text_at(row, 6)?,
        step: optional_text_at(row, 7)?,
        reason: text_at(row, 8)?,
        seal: number.zip(sealed).map(|(number, sealed)| Head { number: read_number(number), hash: hash(sealed) }),
    })
}

/// One of another length, which the table does not take, fits no entry.
fn hash(bytes: Vec<u8>) -> Hash {
    bytes.try_into().unwrap_or_default()
}
