//! How values stand in the tables, both ways.
//!
//! What is read was written by some program at some time, so whatever does not fit is an error and not a panic.

use crate::columns::{self, time};
use crate::{Birth, DeadLetter, DeadLetterGroup, Incarnation, Rest, Row, StoredDefinition, StoredEvents};
use amends_core::machine::Status;
use amends_core::time::Timestamp;
use rusqlite::types::Type;
use uuid::Uuid;

/// The columns that [`saga`] reads, in its order.
macro_rules! saga_columns {
    () => {
        "saga.id, saga.definition, version, key, fingerprint, created_at, \
         status, paused, reason, owner, wake_at, finished_at"
    };
}
/// The columns that [`dead_letter`] reads, in its order.
macro_rules! dead_letter_columns {
    () => {
        "dead_letter.id, saga.id, saga.definition, saga.key, step, direction, claim, error, \
         dead_letter.fingerprint, participant, opened_at, closed_at, resolution, place"
    };
}
/// The condition under which nothing will ever wake a saga.
macro_rules! is_orphan {
    () => {
        "owner IS NULL AND wake_at IS NULL AND finished_at IS NULL AND paused = 0 \
         AND NOT EXISTS (SELECT 1 FROM message WHERE message.saga = saga.id) \
         AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.saga = saga.id AND closed_at IS NULL)"
    };
}
pub(super) use {dead_letter_columns, is_orphan, saga_columns};

/// A saga without its events.
pub(super) struct SagaRow {
    pub(super) id: Uuid,
    pub(super) birth: Birth,
    pub(super) row: Row,
    pub(super) owner: Option<Incarnation>,
    /// Why some of it could not be read, if it could not.
    pub(super) damage: Option<String>,
}

/// Reads the values of one row. Where one does not fit, that is noted and another stands for it: damage to one saga is no
/// reason to withhold the others.
struct Reading<'r, 's> {
    row: &'r rusqlite::Row<'s>,
    damage: Option<String>,
}

impl Reading<'_, '_> {
    fn or<T>(&mut self, value: rusqlite::Result<T>, instead: T) -> T {
        value.unwrap_or_else(|error| {
            self.damage.get_or_insert_with(|| error.to_string());
            instead
        })
    }

    fn text(&mut self, column: usize) -> String {
        self.or(self.row.get(column), String::new())
    }

    fn optional_time(&mut self, column: usize) -> Option<Timestamp> {
        self.or(optional_time_at(self.row, column), None)
    }
}

pub(super) fn saga(row: &rusqlite::Row<'_>) -> rusqlite::Result<SagaRow> {
    let mut reading = Reading { row, damage: None };
    let birth = Birth {
        definition: reading.text(1),
        version: reading.text(2),
        key: reading.text(3),
        fingerprint: reading.text(4),
        dedupe: None,
        created_at: reading.or(time_at(row, 5), Timestamp(0)),
    };
    let owner = reading.or(optional_id_at(row, 9), None);
    let rest = rest(owner, reading.optional_time(10), reading.optional_time(11));
    let state = Row {
        // In the lists it stands among those that need a person.
        status: reading.or(status_at(row, 6), Status::Stuck),
        paused: reading.or(row.get(7), false),
        reason: reading.or(row.get(8), None),
        rest,
    };
    Ok(SagaRow { id: id_at(row, 0)?, birth, row: state, owner, damage: reading.damage })
}

/// Which of the three columns is set says who looks after a saga; the table's check allows one at most.
pub(super) fn rest(owner: Option<Incarnation>, wake_at: Option<Timestamp>, finished_at: Option<Timestamp>) -> Rest {
    match (owner, wake_at, finished_at) {
        (Some(_), _, _) => Rest::Owned,
        (None, Some(at), _) => Rest::Until(at),
        (None, None, Some(at)) => Rest::Finished(at),
        (None, None, None) => Rest::Parked,
    }
}

/// The owner, the time to wake it and the time it was finished, as columns.
pub(super) fn rest_columns(rest: Rest, me: Incarnation) -> (Option<[u8; 16]>, Option<i64>, Option<i64>) {
    match rest {
        Rest::Owned => (Some(me.into_bytes()), None, None),
        Rest::Until(at) => (None, Some(time(at)), None),
        Rest::Parked => (None, None, None),
        Rest::Finished(at) => (None, None, Some(time(at))),
    }
}

/// Reads `first, last, at, body`: the numbers of the first and the last event of a commit, and the events.
pub(super) fn events(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, i64, rusqlite::Result<StoredEvents>)> {
    let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
    let events = || {
        let count = u64::try_from(last.saturating_sub(first).saturating_add(1));
        let count = count.map_err(|_| rusqlite::Error::IntegralValueOutOfRange(1, last))?;
        Ok(StoredEvents { count, at: time_at(row, 2)?, body: row.get(3)? })
    };
    Ok((first, last, events()))
}

/// Reads `name, version, source, created_at`.
pub(super) fn definition(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredDefinition> {
    Ok(StoredDefinition { name: row.get(0)?, version: row.get(1)?, source: row.get(2)?, created_at: time_at(row, 3)? })
}

pub(super) fn dead_letter(row: &rusqlite::Row<'_>) -> rusqlite::Result<DeadLetter> {
    let resolution: Option<String> = row.get(12)?;
    Ok(DeadLetter {
        id: row.get(0)?,
        saga: id_at(row, 1)?,
        definition: row.get(2)?,
        key: row.get(3)?,
        step: row.get(4)?,
        direction: row.get(5)?,
        claim: row.get(6)?,
        error: row.get(7)?,
        fingerprint: row.get(8)?,
        participant: row.get(9)?,
        opened_at: time_at(row, 10)?,
        closed: optional_time_at(row, 11)?.zip(resolution),
        place: number_at(row, 13)?,
    })
}

/// Reads what [`dead_letter`] does, and the count and both times behind it.
pub(super) fn dead_letter_group(row: &rusqlite::Row<'_>) -> rusqlite::Result<DeadLetterGroup> {
    Ok(DeadLetterGroup {
        sample: dead_letter(row)?,
        count: number_at(row, 14)?,
        oldest_at: time_at(row, 15)?,
        newest_at: time_at(row, 16)?,
    })
}

pub(super) fn status_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Status> {
    let text: String = row.get(column)?;
    columns::status(&text).ok_or_else(|| {
        let error = format!("`{text}` is no status of a saga");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

pub(super) fn number_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

pub(super) fn time_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    number_at(row, column).map(Timestamp)
}

/// A time at which something is due; one before all time has come.
pub(super) fn due_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default()))
}

pub(super) fn optional_time_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)?.data_type() {
        Type::Null => Ok(None),
        Type::Integer | Type::Real | Type::Text | Type::Blob => time_at(row, column).map(Some),
    }
}

pub(super) fn id_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

pub(super) fn optional_id_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(Uuid::from_bytes))
}
