//! The reads. What is read of one saga is from one moment; each list is one statement.

use super::audit;
use super::connect::{Link, Value};
use super::rows::{self, dead_letter_columns, saga_columns};
use super::text;
use crate::columns;
use crate::{
    AuditEntry, AuditQuery, Counter, DeadLetter, DeadLetterGroup, DeadLetterQuery, GroupQuery, Incarnation, Record,
    SagaQuery, Statistics, StoredDefinition, Summary, Which,
};
use amends_core::machine::Status;
use amends_core::time::Timestamp;
use std::collections::BTreeMap;
use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;

const FROM_SAGA: &str = "
    FROM amends.saga LEFT JOIN amends.unfinished ON unfinished.saga = saga.id
    LEFT JOIN amends.finished ON finished.saga = saga.id";

/// The events of sagas, in order for each. One saga at a time, because each is in one partition: asked for together they would
/// be looked for in all of them.
pub(super) const EVENTS: &str = "
    SELECT wanted.saga, first, last, at, body
    FROM unnest($1::uuid[]) AS wanted (saga) CROSS JOIN LATERAL (
        SELECT first, last, at, body FROM amends.event WHERE event.saga = wanted.saga ORDER BY first
    ) AS event";

/// Sagas with their whole histories, in the order of the ids; those that are not there are left out. Two statements, within
/// the caller's transaction: where that takes one look at the store for both, so does this.
pub(super) async fn records(link: &Link, ids: &[Uuid]) -> Result<Vec<(Record, Option<Incarnation>)>, Error> {
    let sagas = format!("SELECT {} {FROM_SAGA} WHERE saga.id = ANY($1)", saga_columns!());
    let (value, kind) = (&ids as Value<'_>, Type::UUID_ARRAY);
    let values = [(value, kind)];
    let (sagas, events) = futures_util::join!(link.query_text(&sagas, &values), link.query_text(EVENTS, &values));
    let mut found = BTreeMap::new();
    for row in sagas? {
        let (record, owner) = rows::saga(&row)?;
        found.insert(record.id, (record, owner));
    }
    for row in events? {
        let (saga, first, events) = rows::events(&row)?;
        let Some((record, _)) = found.get_mut(&saga) else { continue };
        let expected = record.sequence + 1;
        record.sequence = (first + events.count).saturating_sub(1);
        // Behind a hole every event would have another's number, so the history ends there.
        if first == expected && record.damage.is_none() {
            record.events.push(events);
        } else {
            record.damage.get_or_insert_with(|| format!("event {expected} is missing"));
        }
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// One saga with its whole history.
pub(super) async fn record(link: &Link, id: Uuid) -> Result<Option<Record>, Error> {
    link.begin_snapshot().await?;
    let found = records(link, &[id]).await;
    link.roll_back().await;
    Ok(found?.into_iter().next().map(|(record, _)| record))
}

/// Definitions, by name.
pub(super) async fn definitions(link: &Link, which: &Which) -> Result<Vec<StoredDefinition>, Error> {
    let rows = match which {
        Which::Current => {
            let text = "
                SELECT definition.name, version, source, created_at
                FROM amends.current_definition JOIN amends.definition USING (version) ORDER BY current_definition.name";
            link.query_text(text, &[]).await?
        }
        Which::Version(version) => {
            let text = "SELECT name, version, source, created_at FROM amends.definition WHERE version = $1";
            link.query_text(text, &[(&text::stored(version), Type::TEXT)]).await?
        }
    };
    rows.iter().map(rows::definition).collect()
}

/// A page of sagas, newest first. With a status it is read from the tables that hold few of any status but the usual one.
pub(super) async fn sagas(link: &Link, query: &SagaQuery) -> Result<Vec<Summary>, Error> {
    let mut filter = Filter::default();
    filter.add("saga.id <", query.before.unwrap_or(Uuid::max()), Type::UUID);
    if let Some(definition) = &query.definition {
        filter.add("saga.definition =", text::stored(definition).into_owned(), Type::TEXT);
    }
    if let Some(key) = &query.key {
        filter.add("saga.key =", text::stored(key).into_owned(), Type::TEXT);
    }
    let limit = filter.value(columns::limit(query.limit), Type::INT8);
    let columns = saga_columns!();
    // There are few of each status but of the running ones, and those are few beside the finished.
    let few = match query.status {
        Some(status @ Status::Compensated) => Some((status, "finished", "unfinished", Status::Completed)),
        Some(status @ (Status::Running | Status::Compensating | Status::Stuck)) => {
            Some((status, "unfinished", "finished", Status::Running))
        }
        Some(Status::Completed) | None => None,
    };
    let text = match few {
        // The saga is looked up for each: OFFSET keeps the server from beginning with the sagas, as it would where it does not
        // know yet how many there are.
        Some((status, table, other, usual)) if query.key.is_none() => {
            // The index on status leaves the usual one out, and is used only where the text says so too.
            let rare =
                if status == usual { String::new() } else { format!("AND {table}.status <> '{}'", usual.as_str()) };
            let status = status.as_str();
            format!(
                "SELECT {columns} FROM amends.{table}
                 CROSS JOIN LATERAL (SELECT * FROM amends.saga {} AND saga.id = {table}.saga OFFSET 0) AS saga
                 LEFT JOIN amends.{other} ON {other}.saga = {table}.saga
                 WHERE {table}.saga < $1 AND {table}.status = '{status}' {rare} ORDER BY {table}.saga DESC LIMIT {limit}",
                filter.text
            )
        }
        // Most are completed: they are found along the ids.
        None | Some(_) => {
            let has_status = query
                .status
                .map(|status| format!("AND coalesce(unfinished.status, finished.status) = '{}'", status.as_str()));
            let (filter, has_status) = (&filter.text, has_status.unwrap_or_default());
            format!("SELECT {columns} {FROM_SAGA} {filter} {has_status} ORDER BY saga.id DESC LIMIT {limit}")
        }
    };
    let found = link.query_text(&text, &filter.values()).await?;
    let summary = |row| rows::saga(row).map(|(saga, _)| Summary { id: saga.id, birth: saga.birth, row: saga.row });
    found.iter().map(summary).collect()
}

/// A page of dead letters, newest first.
pub(super) async fn dead_letters(link: &Link, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, Error> {
    let mut filter = Filter::default();
    filter.add("dead_letter.place <", query.before.map_or(i64::MAX, columns::number), Type::INT8);
    if let Some(definition) = &query.definition {
        filter.add("saga.definition =", text::stored(definition).into_owned(), Type::TEXT);
    }
    if let Some(saga) = query.saga {
        filter.add("dead_letter.saga =", saga, Type::UUID);
    }
    let texts = [
        ("dead_letter.step =", &query.step),
        ("dead_letter.participant =", &query.participant),
        ("dead_letter.fingerprint =", &query.fingerprint),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            filter.add(condition, text::stored(value).into_owned(), Type::TEXT);
        }
    }
    if let Some(at) = query.opened_before {
        filter.add("dead_letter.opened_at <", columns::time(at), Type::INT8);
    }
    if !query.closed {
        filter.text.push_str(" AND dead_letter.closed_at IS NULL");
    }
    let limit = filter.value(columns::limit(query.limit), Type::INT8);
    let text = format!(
        "SELECT {} FROM amends.dead_letter JOIN amends.saga ON saga.id = dead_letter.saga {}
         ORDER BY dead_letter.place DESC LIMIT {limit}",
        dead_letter_columns!(),
        filter.text
    );
    link.query_text(&text, &filter.values()).await?.iter().map(rows::dead_letter).collect()
}

/// A page of groups of dead letters, newest first. They are counted in the index that holds the open ones.
pub(super) async fn dead_letter_groups(link: &Link, query: &GroupQuery) -> Result<Vec<DeadLetterGroup>, Error> {
    let text = format!(
        "SELECT {}, alike.count, alike.oldest_at, alike.newest_at
         FROM (
             SELECT max(place) AS newest, count(*) AS count, min(opened_at) AS oldest_at, max(opened_at) AS newest_at
             FROM amends.dead_letter WHERE closed_at IS NULL GROUP BY fingerprint
             HAVING max(place) < $1 ORDER BY max(place) DESC LIMIT $2
         ) AS alike
         JOIN amends.dead_letter ON dead_letter.place = alike.newest
         JOIN amends.saga ON saga.id = dead_letter.saga ORDER BY alike.newest DESC",
        dead_letter_columns!()
    );
    let (before, limit) = (query.before.map_or(i64::MAX, columns::number), columns::limit(query.limit));
    let values: [(Value<'_>, Type); 2] = [(&before, Type::INT8), (&limit, Type::INT8)];
    link.query_text(&text, &values).await?.iter().map(rows::dead_letter_group).collect()
}

/// One dead letter.
pub(super) async fn dead_letter(link: &Link, id: &str) -> Result<Option<DeadLetter>, Error> {
    let text = format!(
        "SELECT {} FROM amends.dead_letter JOIN amends.saga ON saga.id = dead_letter.saga WHERE dead_letter.id = $1",
        dead_letter_columns!()
    );
    link.query_text(&text, &[(&text::stored(id), Type::TEXT)]).await?.first().map(rows::dead_letter).transpose()
}

/// A page of the audit log, newest first.
pub(super) async fn audit(link: &Link, query: &AuditQuery) -> Result<Vec<AuditEntry>, Error> {
    let mut filter = Filter::default();
    let (rank, writer) = audit::split(query.before.unwrap_or(u128::MAX));
    let (rank, writer) = (filter.value(rank, Type::INT8), filter.value(writer, Type::INT8));
    filter.text = format!("WHERE (rank, writer) < ({rank}, {writer})");
    if let Some(saga) = query.saga {
        filter.add("saga =", saga, Type::UUID);
    }
    let limit = filter.value(columns::limit(query.limit), Type::INT8);
    let text = format!(
        "SELECT {} FROM amends.audit {} ORDER BY rank DESC, writer DESC LIMIT {limit}",
        audit::COLUMNS,
        filter.text
    );
    link.query_text(&text, &filter.values()).await?.iter().map(audit::entry).collect()
}

/// The counts that the commits kept, and the wake-up invariant measured.
pub(super) async fn statistics(link: &Link) -> Result<Statistics, Error> {
    let counts = "SELECT counter, sum(value)::bigint FROM amends.count GROUP BY counter";
    let letters = "SELECT count(*) FROM amends.dead_letter WHERE closed_at IS NULL";
    let orphans = format!("SELECT count(*) FROM amends.unfinished WHERE {IS_ORPHAN}");
    let (counts, letters, orphans) = futures_util::join!(
        link.query_text(counts, &[]),
        link.query_text(letters, &[]),
        link.query_text(&orphans, &[])
    );
    let mut of = BTreeMap::new();
    for row in counts? {
        of.insert(row.try_get::<_, String>(0)?, rows::read_number(row.try_get(1)?));
    }
    let of = |counter| of.get(columns::counter(counter)).copied().unwrap_or_default();
    Ok(Statistics {
        started: of(Counter::Started),
        completed: of(Counter::Completed),
        compensated: of(Counter::Compensated),
        dead_letters_open: rows::read_number(letters?[0].try_get(0)?),
        orphans: rows::read_number(orphans?[0].try_get(0)?),
    })
}

/// The condition under which nothing will ever wake an unfinished saga: it is nobody's and waits for nothing, or it is a dead
/// one's that has nothing more to hand out.
pub(super) const IS_ORPHAN: &str = "(
    owner IS NULL AND wake_at IS NULL AND NOT paused
    AND NOT EXISTS (SELECT 1 FROM amends.message WHERE message.saga = unfinished.saga)
    AND NOT EXISTS (SELECT 1 FROM amends.dead_letter
        WHERE dead_letter.saga = unfinished.saga AND dead_letter.closed_at IS NULL)
    OR owner IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM amends.incarnation WHERE incarnation.id = unfinished.owner AND NOT released))";

/// The conditions of a page, and their values in order.
#[derive(Default)]
struct Filter {
    text: String,
    values: Vec<(Box<dyn tokio_postgres::types::ToSql + Sync + Send>, Type)>,
}

impl Filter {
    fn add(&mut self, condition: &str, value: impl tokio_postgres::types::ToSql + Sync + Send + 'static, kind: Type) {
        let word = if self.text.is_empty() { "WHERE" } else { "AND" };
        let place = self.value(value, kind);
        self.text.push_str(&format!(" {word} {condition} {place}"));
    }

    /// Takes a value, and returns what stands for it in the text.
    fn value(&mut self, value: impl tokio_postgres::types::ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn values(&self) -> Vec<(Value<'_>, Type)> {
        self.values.iter().map(|(value, kind)| (&**value as Value<'_>, kind.clone())).collect()
    }
}

/// What the database's clock says, in milliseconds.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

pub(super) async fn time(link: &Link) -> Result<Timestamp, Error> {
    rows::time_at(&link.query_text(&format!("SELECT {NOW_MS}"), &[]).await?[0], 0)
}
