//! The reads. Each is given a transaction, so that everything it looks at is from one moment.

use super::audit;
use super::rows::{self, dead_letter_columns, is_orphan, saga_columns};
use crate::columns;
use crate::{
    AuditEntry, AuditQuery, Counter, DeadLetter, DeadLetterGroup, DeadLetterQuery, Forget, GroupQuery, Record,
    SagaQuery, Statistics, StoredDefinition, Summary, Which,
};
use amends_core::machine::Status;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

pub(super) const SAGA: &str = concat!("SELECT ", saga_columns!(), " FROM saga WHERE id = ?1");
pub(super) const EVENTS: &str = "SELECT first, last, at, body FROM events WHERE saga = ?1 ORDER BY last";

const DEFINITIONS_CURRENT: &str = "
    SELECT definition.name, version, source, created_at
    FROM current_definition JOIN definition USING (version) ORDER BY current_definition.name";
const DEFINITION_BY_VERSION: &str = "SELECT name, version, source, created_at FROM definition WHERE version = ?1";
const DEAD_LETTER: &str = concat!(
    "SELECT ",
    dead_letter_columns!(),
    " FROM dead_letter JOIN saga ON saga.id = dead_letter.saga WHERE dead_letter.id = ?1"
);
/// SQLite walks a cross join in the order in which it is written: along the groups.
pub(super) const DEAD_LETTER_GROUPS: &str = concat!(
    "SELECT ",
    dead_letter_columns!(),
    ", alike.count, alike.oldest_at, alike.newest_at
    FROM (
        SELECT max(place) AS newest, count(*) AS count, min(opened_at) AS oldest_at, max(opened_at) AS newest_at
        FROM dead_letter INDEXED BY dead_letter_alike WHERE closed_at IS NULL GROUP BY fingerprint
        HAVING max(place) < ?1 ORDER BY max(place) DESC LIMIT ?2
    ) AS alike
    CROSS JOIN dead_letter ON dead_letter.place = alike.newest
    CROSS JOIN saga ON saga.id = dead_letter.saga ORDER BY alike.newest DESC"
);
const COUNTS: &str = "SELECT counter, sum(value) FROM count GROUP BY counter";
pub(super) const DEAD_LETTERS_OPEN: &str = "SELECT count(*) FROM dead_letter WHERE closed_at IS NULL";
/// The wake-up invariant, asked of the sagas that nobody owns and no time wakes.
pub(super) const ORPHANS: &str = concat!("SELECT count(*) FROM saga INDEXED BY saga_parked WHERE ", is_orphan!());

/// Walks along the ids, which go by the time of birth: an index on the end would be written by every saga, for what is asked
/// once an hour.
pub(super) const FORGETTABLE: &str = "
    SELECT id FROM saga WHERE id > ?1 AND id < ?2 AND finished_at < ?3
        AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.saga = saga.id AND closed_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM dedupe WHERE dedupe.saga = saga.id AND until > ?4)
    ORDER BY id LIMIT ?5";

/// Sagas that may be forgotten, in the order of the ids.
pub(super) fn forgettable(sql: &Connection, request: &Forget) -> rusqlite::Result<Vec<Uuid>> {
    let Forget { finished_before, after, limit, now } = *request;
    let end = columns::first_id(finished_before);
    let values = params![
        after.as_bytes(),
        end.as_bytes(),
        columns::time(finished_before),
        columns::time(now),
        columns::limit(limit)
    ];
    let mut statement = sql.prepare_cached(FORGETTABLE)?;
    statement.query_map(values, |row| rows::id_at(row, 0))?.collect()
}

/// One saga with its whole history.
pub(super) fn record(sql: &Connection, id: Uuid) -> rusqlite::Result<Option<Record>> {
    let found = sql.prepare_cached(SAGA)?.query_row([id.as_bytes()], rows::saga).optional()?;
    let Some(found) = found else { return Ok(None) };
    let mut record =
        Record { id, birth: found.birth, row: found.row, events: Vec::new(), sequence: 0, damage: found.damage };
    let mut expected = 1;
    for row in sql.prepare_cached(EVENTS)?.query_map([id.as_bytes()], rows::events)? {
        let (first, last, events) = row?;
        record.sequence = u64::try_from(last).unwrap_or_default();
        // Behind a hole every event would have another's number, so the history ends there.
        match events {
            Ok(events) if first == expected => {
                expected = last.saturating_add(1);
                record.events.push(events);
            }
            Ok(_) => note(&mut record, format!("event {expected} is missing")),
            Err(error) => note(&mut record, format!("events {first} to {last}: {error}")),
        }
    }
    Ok(Some(record))
}

/// Notes the first damage.
fn note(record: &mut Record, damage: String) {
    record.damage.get_or_insert(damage);
}

/// Definitions, by name.
pub(super) fn definitions(sql: &Connection, which: &Which) -> rusqlite::Result<Vec<StoredDefinition>> {
    match which {
        Which::Current => sql.prepare_cached(DEFINITIONS_CURRENT)?.query_map([], rows::definition)?.collect(),
        Which::Version(version) => {
            sql.prepare_cached(DEFINITION_BY_VERSION)?.query_map([version], rows::definition)?.collect()
        }
    }
}

/// A page of sagas, newest first.
pub(super) fn sagas(sql: &Connection, query: &SagaQuery) -> rusqlite::Result<Vec<Summary>> {
    let (text, values) = sagas_statement(query);
    let mut statement = sql.prepare_cached(&text)?;
    let found = statement.query_map(params_from_iter(values), rows::saga)?;
    found.map(|saga| saga.map(|saga| Summary { id: saga.id, birth: saga.birth, row: saga.row })).collect()
}

/// The text names only what is asked for, so that the plan can use the index that fits.
pub(super) fn sagas_statement(query: &SagaQuery) -> (String, Vec<Value>) {
    let mut filter = Filter::default();
    filter.add("saga.id <", Value::Blob(query.before.unwrap_or(Uuid::max()).as_bytes().to_vec()));
    if let Some(definition) = &query.definition {
        filter.add("definition =", Value::Text(definition.clone()));
    }
    if let Some(key) = &query.key {
        filter.add("key =", Value::Text(key.clone()));
    }
    if let Some(status) = query.status {
        filter.add("status =", Value::Text(status.as_str().into()));
        // Those of one key are fewer than those of any status.
        if query.key.is_none() {
            filter.text.push_str(indexed_statuses(status));
        }
    }
    filter.page(concat!("SELECT ", saga_columns!(), " FROM saga"), "saga.id", query.limit)
}

/// Which sagas the index holds in which those of a status are found: SQLite uses it only where the text says so too.
/// Completed ones are most of all, and found along the ids.
fn indexed_statuses(status: Status) -> &'static str {
    match status {
        Status::Running | Status::Compensating | Status::Stuck => " AND finished_at IS NULL",
        Status::Compensated => " AND status = 'compensated'",
        Status::Completed => "",
    }
}

/// A page of dead letters, newest first.
pub(super) fn dead_letters(sql: &Connection, query: &DeadLetterQuery) -> rusqlite::Result<Vec<DeadLetter>> {
    let (text, values) = dead_letters_statement(query);
    sql.prepare_cached(&text)?.query_map(params_from_iter(values), rows::dead_letter)?.collect()
}

pub(super) fn dead_letters_statement(query: &DeadLetterQuery) -> (String, Vec<Value>) {
    let mut filter = Filter::default();
    filter.add("place <", Value::Integer(query.before.map_or(i64::MAX, columns::number)));
    if let Some(definition) = &query.definition {
        filter.add("saga.definition =", Value::Text(definition.clone()));
    }
    if let Some(saga) = query.saga {
        filter.add("dead_letter.saga =", Value::Blob(saga.as_bytes().to_vec()));
    }
    let texts = [
        ("step =", &query.step),
        ("participant =", &query.participant),
        ("dead_letter.fingerprint =", &query.fingerprint),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            filter.add(condition, Value::Text(value.clone()));
        }
    }
    if let Some(at) = query.opened_before {
        filter.add("opened_at <", Value::Integer(columns::time(at)));
    }
    if !query.closed {
        filter.text.push_str(" AND closed_at IS NULL");
    }
    // SQLite walks a cross join in the order in which it is written: along the dead letters, which are few.
    let select =
        concat!("SELECT ", dead_letter_columns!(), " FROM dead_letter CROSS JOIN saga ON saga.id = dead_letter.saga");
    filter.page(select, "place", query.limit)
}

/// A page of groups of dead letters, newest first.
pub(super) fn dead_letter_groups(sql: &Connection, query: &GroupQuery) -> rusqlite::Result<Vec<DeadLetterGroup>> {
    let values = params![query.before.map_or(i64::MAX, columns::number), columns::limit(query.limit)];
    sql.prepare_cached(DEAD_LETTER_GROUPS)?.query_map(values, rows::dead_letter_group)?.collect()
}

/// One dead letter.
pub(super) fn dead_letter(sql: &Connection, id: &str) -> rusqlite::Result<Option<DeadLetter>> {
    sql.prepare_cached(DEAD_LETTER)?.query_row([id], rows::dead_letter).optional()
}

/// A page of the audit log, newest first.
pub(super) fn audit(sql: &Connection, query: &AuditQuery) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut filter = Filter::default();
    filter.add("id <", Value::Integer(query.before.map_or(i64::MAX, audit::rank)));
    if let Some(saga) = query.saga {
        filter.add("saga =", Value::Blob(saga.as_bytes().to_vec()));
    }
    let (text, values) = filter.page(&format!("SELECT {} FROM audit", audit::COLUMNS), "id", query.limit);
    sql.prepare_cached(&text)?.query_map(params_from_iter(values), audit::entry)?.collect()
}

/// The counts that the commits kept, and the wake-up invariant measured.
pub(super) fn statistics(sql: &Connection) -> rusqlite::Result<Statistics> {
    let counts: Vec<(String, u64)> = sql
        .prepare_cached(COUNTS)?
        .query_map([], |row| Ok((row.get(0)?, rows::number_at(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let of = |counter: Counter| {
        let name = columns::counter(counter);
        counts.iter().find(|(counter, _)| counter == name).map_or(0, |(_, value)| *value)
    };
    Ok(Statistics {
        started: of(Counter::Started),
        completed: of(Counter::Completed),
        compensated: of(Counter::Compensated),
        dead_letters_open: number(sql, DEAD_LETTERS_OPEN)?,
        orphans: number(sql, ORPHANS)?,
    })
}

fn number(sql: &Connection, text: &str) -> rusqlite::Result<u64> {
    sql.prepare_cached(text)?.query_row(params![], |row| rows::number_at(row, 0))
}

/// The conditions of a page, and their values in order.
#[derive(Default)]
struct Filter {
    text: String,
    values: Vec<Value>,
}

impl Filter {
    fn add(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        let word = if self.text.is_empty() { "WHERE" } else { "AND" };
        self.text.push_str(&format!(" {word} {condition} ?{}", self.values.len()));
    }

    fn page(mut self, select: &str, order: &str, limit: usize) -> (String, Vec<Value>) {
        self.values.push(Value::Integer(columns::limit(limit)));
        let text = format!("{select}{} ORDER BY {order} DESC LIMIT ?{}", self.text, self.values.len());
        (text, self.values)
    }
}
