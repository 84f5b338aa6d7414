//! How values stand in the tables, both ways.

use super::text;
use crate::columns::{self, time};
use crate::{Birth, DeadLetter, DeadLetterGroup, Incarnation, Record, Rest, Row, StoredDefinition, StoredEvents};
use amends_core::machine::Status;
use amends_core::time::Timestamp;
use tokio_postgres::Error;
use uuid::Uuid;

pub(super) fn owner(rest: Rest, me: Incarnation) -> Option<Incarnation> {
    matches!(rest, Rest::Owned).then_some(me)
}

pub(super) fn wake_at(rest: Rest) -> Option<i64> {
    match rest {
        Rest::Until(at) => Some(time(at)),
        Rest::Owned | Rest::Parked | Rest::Finished(_) => None,
    }
}

pub(super) fn finished_at(rest: Rest) -> Option<i64> {
    match rest {
        Rest::Finished(at) => Some(time(at)),
        Rest::Owned | Rest::Parked | Rest::Until(_) => None,
    }
}

/// A time that was read; none is before the epoch.
pub(super) fn read_time(at: i64) -> Timestamp {
    Timestamp(u64::try_from(at).unwrap_or_default())
}

pub(super) fn read_number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(super) fn text_at(row: &tokio_postgres::Row, column: usize) -> Result<String, Error> {
    row.try_get(column).map(text::read)
}

pub(super) fn optional_text_at(row: &tokio_postgres::Row, column: usize) -> Result<Option<String>, Error> {
    Ok(row.try_get::<_, Option<String>>(column)?.map(text::read))
}

pub(super) fn time_at(row: &tokio_postgres::Row, column: usize) -> Result<Timestamp, Error> {
    row.try_get(column).map(read_time)
}

pub(super) fn optional_time_at(row: &tokio_postgres::Row, column: usize) -> Result<Option<Timestamp>, Error> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(read_time))
}

/// The columns that [`saga`] reads, in its order.
macro_rules! saga_columns {
    () => {
        "saga.id, saga.definition, saga.version, saga.key, saga.fingerprint, saga.created_at, \
         coalesce(unfinished.status, finished.status), coalesce(unfinished.paused, finished.paused), \
         coalesce(unfinished.reason, finished.reason), unfinished.owner, unfinished.wake_at, finished.at"
    };
}
/// The columns that [`dead_letter`] reads, in its order.
macro_rules! dead_letter_columns {
    () => {
        "dead_letter.id, saga.id, saga.definition, saga.key, dead_letter.step, dead_letter.direction, dead_letter.claim, \
         dead_letter.error, dead_letter.fingerprint, dead_letter.participant, dead_letter.opened_at, dead_letter.closed_at, dead_letter.resolution, dead_letter.place"
    };
}
pub(super) use {dead_letter_columns, saga_columns};

/// A saga without its events, and who owns it. What does not fit is noted, and something harmless stands for it.
pub(super) fn saga(row: &tokio_postgres::Row) -> Result<(Record, Option<Incarnation>), Error> {
    let birth = Birth {
        definition: text_at(row, 1)?,
        version: text_at(row, 2)?,
        key: text_at(row, 3)?,
        fingerprint: text_at(row, 4)?,
        dedupe: None,
        created_at: time_at(row, 5)?,
    };
    let status: Option<String> = row.try_get(6)?;
    let known = status.as_deref().and_then(columns::status);
    let damage = known.is_none().then(|| match &status {
        Some(status) => format!("`{status}` is no status of a saga"),
        None => "it is neither unfinished nor finished".to_owned(),
    });
    let owner: Option<Incarnation> = row.try_get(9)?;
    let rest = match (owner, row.try_get::<_, Option<i64>>(10)?, row.try_get::<_, Option<i64>>(11)?) {
        (Some(_), ..) => Rest::Owned,
        (None, Some(at), _) => Rest::Until(read_time(at)),
        (None, None, Some(at)) => Rest::Finished(read_time(at)),
        (None, None, None) => Rest::Parked,
    };
    let state = Row {
        // In the lists it stands among those that need a person.
        status: known.unwrap_or(Status::Stuck),
        paused: row.try_get::<_, Option<bool>>(7)?.unwrap_or_default(),
        reason: optional_text_at(row, 8)?,
        rest,
    };
    let id: Uuid = row.try_get(0)?;
    Ok((Record { id, birth, row: state, events: Vec::new(), sequence: 0, damage }, owner))
}

/// Reads `saga, first, last, at, body`: the saga, the number of the first event, and the events.
pub(super) fn events(row: &tokio_postgres::Row) -> Result<(Uuid, u64, StoredEvents), Error> {
    let (first, last): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    let count = read_number(last.saturating_sub(first).saturating_add(1));
    Ok((row.try_get(0)?, read_number(first), StoredEvents { count, at: time_at(row, 3)?, body: row.try_get(4)? }))
}

/// Reads `name, version, source, created_at`.
pub(super) fn definition(row: &tokio_postgres::Row) -> Result<StoredDefinition, Error> {
    Ok(StoredDefinition {
        name: text_at(row, 0)?,
        version: text_at(row, 1)?,
        source: text_at(row, 2)?,
        created_at: time_at(row, 3)?,
    })
}

pub(super) fn dead_letter(row: &tokio_postgres::Row) -> Result<DeadLetter, Error> {
    let closed_at = row.try_get::<_, Option<i64>>(11)?.map(read_time);
    Ok(DeadLetter {
        id: text_at(row, 0)?,
        saga: row.try_get(1)?,
        definition: text_at(row, 2)?,
        key: text_at(row, 3)?,
        step: optional_text_at(row, 4)?,
        direction: text_at(row, 5)?,
        claim: text_at(row, 6)?,
        error: text_at(row, 7)?,
        fingerprint: text_at(row, 8)?,
        participant: optional_text_at(row, 9)?,
        opened_at: time_at(row, 10)?,
        closed: closed_at.zip(optional_text_at(row, 12)?),
        place: row.try_get(13).map(read_number)?,
    })
}

/// Reads what [`dead_letter`] does, and the count and both times behind it.
pub(super) fn dead_letter_group(row: &tokio_postgres::Row) -> Result<DeadLetterGroup, Error> {
    Ok(DeadLetterGroup {
        sample: dead_letter(row)?,
        count: row.try_get(14).map(read_number)?,
        oldest_at: time_at(row, 15)?,
        newest_at: time_at(row, 16)?,
    })
}
