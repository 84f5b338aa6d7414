//! The writes. Each runs within a transaction that others may share, and may be run again in one of its own.
//!
//! A write that refuses does so before it has changed anything; one that fails half-way is an error of SQLite, and
//! the writer rolls everything back.

use super::audit;
use super::errors::Failure;
use super::queues;
use super::reads;
use super::rows::{self, is_orphan};
use super::writer::Writing;
use crate::columns;
use crate::{
    Acquired, Birth, Claimed, Commit, Deed, Incarnation, Message, Outcome, Receive, Received, Rest, Row, StoreError,
    StoredDefinition, StoredEvents, Write,
};
use amends_core::time::Timestamp;
use amends_failpoints::failpoint;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use uuid::Uuid;

pub(super) const FREE_ALL_BUT: &str = "
    UPDATE saga INDEXED BY saga_unfinished SET owner = NULL, wake_at = ?1
    WHERE finished_at IS NULL AND owner IS NOT NULL AND owner <> ?2";
pub(super) const FREE: &str = "
    UPDATE saga INDEXED BY saga_unfinished SET owner = NULL, wake_at = ?1 WHERE finished_at IS NULL AND owner = ?2";
/// There should be none; whatever made them, they are looked at again.
pub(super) const WAKE_ORPHANS: &str =
    concat!("UPDATE saga INDEXED BY saga_parked SET wake_at = ?1 WHERE ", is_orphan!());
const GIVE_BACK_ALL_BUT: &str = "
    UPDATE message SET receiver = NULL, visible_at = min(visible_at, ?1) WHERE receiver IS NOT NULL AND receiver <> ?2";
const GIVE_BACK: &str = "UPDATE message SET receiver = NULL, visible_at = min(visible_at, ?1) WHERE receiver = ?2";

pub(super) const SAGA_BY_KEY: &str = "SELECT id, fingerprint FROM saga WHERE key = ?1 AND definition = ?2";
pub(super) const SAGA_EXISTS: &str = "SELECT 1 FROM saga WHERE id = ?1";
pub(super) const DEDUPE: &str = "SELECT saga, until FROM dedupe WHERE definition = ?1 AND digest = ?2";
const PUT_DEDUPE: &str = "
    INSERT INTO dedupe (definition, digest, saga, until) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET saga = excluded.saga, until = excluded.until";
const PUT_SAGA: &str = "
    INSERT INTO saga (id, definition, version, key, fingerprint, created_at,
                      status, paused, reason, owner, wake_at, finished_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT DO NOTHING";
/// Whether a saga is somebody's, and its last event. It is asked at every commit, so the column is compared where it is.
pub(super) const SAGA_NOW: &str = "
    SELECT owner IS ?2, (SELECT max(last) FROM events WHERE events.saga = ?1) FROM saga WHERE id = ?1";
pub(super) const CHANGE_SAGA: &str = "
    UPDATE saga SET status = ?2, paused = ?3, reason = ?4, owner = ?5, wake_at = ?6, finished_at = ?7 WHERE id = ?1";
const PUT_EVENTS: &str = "INSERT INTO events (saga, first, last, at, body) VALUES (?1, ?2, ?3, ?4, ?5)";

const PUT_MESSAGE: &str = "
    INSERT INTO message (saga, step, participant, visible_at, receives) VALUES (?1, ?2, ?3, ?4, 0)
    ON CONFLICT DO UPDATE SET participant = excluded.participant, visible_at = excluded.visible_at,
        receives = 0, receiver = NULL";
pub(super) const MOVE_MESSAGE: &str =
    "UPDATE message SET visible_at = ?3, receiver = NULL WHERE saga = ?1 AND step = ?2";
pub(super) const HOLD_MESSAGES: &str = "UPDATE message SET visible_at = ?2, receiver = NULL WHERE saga = ?1";
pub(super) const DELETE_MESSAGE: &str = "DELETE FROM message WHERE saga = ?1 AND step = ?2";
const OPEN_DEAD_LETTER: &str = "
    INSERT INTO dead_letter (id, saga, step, direction, claim, error, fingerprint, participant, opened_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
pub(super) const CLOSE_DEAD_LETTER: &str =
    "UPDATE dead_letter SET closed_at = ?3, resolution = ?4 WHERE id = ?1 AND saga = ?2 AND closed_at IS NULL";
pub(super) const CLOSE_SAGA_DEAD_LETTER: &str = "
    UPDATE dead_letter SET closed_at = ?2, resolution = ?3 WHERE saga = ?1 AND step IS NULL AND closed_at IS NULL";
const PUT_AUDIT: &str = "INSERT INTO audit (at, actor, action, saga, step, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) const DUE: &str = "SELECT id FROM saga WHERE wake_at <= ?1 ORDER BY wake_at, id LIMIT ?2";
pub(super) const NEXT_DUE: &str = "SELECT wake_at FROM saga WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1";
pub(super) const OWN: &str = "UPDATE saga SET owner = ?2, wake_at = NULL WHERE id = ?1";

// Whoever owns a saga is the incarnation that asks: the file has no other.
pub(super) const READY: &str = "
    SELECT saga, step, receives FROM message WHERE participant = ?1 AND visible_at <= ?2
    ORDER BY visible_at, saga, step LIMIT ?3";
pub(super) const TAKE_MESSAGE: &str = "
    UPDATE message SET visible_at = ?3, receives = ?4, receiver = ?5 WHERE saga = ?1 AND step = ?2";
pub(super) const NEXT_MESSAGE: &str =
    "SELECT visible_at FROM message WHERE participant = ?1 ORDER BY visible_at LIMIT 1";

/// Adds the counts of several minutes to those of the first of them.
const ADD_UP: [&str; 2] = [
    "INSERT INTO count (minute, definition, counter, value)
     SELECT minute - minute % ?2, definition, counter, sum(value) FROM count
     WHERE minute < ?1 AND minute % ?2 <> 0 GROUP BY 1, 2, 3
     ON CONFLICT DO UPDATE SET value = value + excluded.value",
    "DELETE FROM count WHERE minute < ?1 AND minute % ?2 <> 0",
];

/// All that is kept of a saga, its row last.
pub(super) const FORGET: [&str; 5] = [
    "DELETE FROM events WHERE saga = ?1",
    "DELETE FROM message WHERE saga = ?1",
    "DELETE FROM dead_letter WHERE saga = ?1",
    "DELETE FROM dedupe WHERE saga = ?1",
    "DELETE FROM saga WHERE id = ?1",
];

const PUT_DEFINITION: &str = "
    INSERT INTO definition (version, name, source, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const PUT_CURRENT: &str = "
    INSERT INTO current_definition (name, version) VALUES (?1, ?2)
    ON CONFLICT DO UPDATE SET version = excluded.version WHERE version <> excluded.version";

/// Who may write. It is kept in memory alone: the lock on the file keeps every other process out for as long as
/// this one lives, so no incarnation of another process can come back, and a new process begins with none.
#[derive(Clone, Debug, Default)]
pub(super) struct Incarnations {
    live: Option<Incarnation>,
    retired: BTreeSet<Incarnation>,
}

impl Incarnations {
    fn fence(&self, me: Incarnation) -> Result<(), Failure> {
        if self.live == Some(me) { Ok(()) } else { Err(Failure::Refused(StoreError::Fenced)) }
    }
}

pub(super) fn enlist(writing: &mut Writing<'_>, me: Incarnation, now: Timestamp) -> Result<(), Failure> {
    if writing.incarnations.retired.contains(&me) {
        return Err(Failure::Refused(StoreError::Fenced));
    }
    if let Some(before) = writing.incarnations.live.replace(me).filter(|before| *before != me) {
        writing.incarnations.retired.insert(before);
    }
    // The file is this process's, so whoever else owns a saga is dead.
    writing.sql.prepare_cached(FREE_ALL_BUT)?.execute(params![columns::time(now), me.as_bytes()])?;
    writing.sql.prepare_cached(GIVE_BACK_ALL_BUT)?.execute(params![columns::time(now), me.as_bytes()])?;
    writing.sql.prepare_cached(WAKE_ORPHANS)?.execute([columns::time(now)])?;
    failpoint!(EnlistWritten);
    Ok(())
}

pub(super) fn retire(writing: &mut Writing<'_>, whom: Incarnation, now: Timestamp) -> Result<(), Failure> {
    writing.incarnations.retired.insert(whom);
    writing.incarnations.live = writing.incarnations.live.filter(|live| *live != whom);
    writing.sql.prepare_cached(FREE)?.execute(params![columns::time(now), whom.as_bytes()])?;
    writing.sql.prepare_cached(GIVE_BACK)?.execute(params![columns::time(now), whom.as_bytes()])?;
    failpoint!(RetireWritten);
    Ok(())
}

/// The statements of nearly every commit. To look one up costs an eighth of the whole, so that is done once for a batch.
struct Statements<'a> {
    put_saga: CachedStatement<'a>,
    saga_now: CachedStatement<'a>,
    change_saga: CachedStatement<'a>,
    put_events: CachedStatement<'a>,
}

impl<'a> Statements<'a> {
    fn look_up(sql: &'a Connection) -> rusqlite::Result<Statements<'a>> {
        Ok(Statements {
            put_saga: sql.prepare_cached(PUT_SAGA)?,
            saga_now: sql.prepare_cached(SAGA_NOW)?,
            change_saga: sql.prepare_cached(CHANGE_SAGA)?,
            put_events: sql.prepare_cached(PUT_EVENTS)?,
        })
    }
}

pub(super) fn commit(writing: &mut Writing<'_>, me: Incarnation, batch: &[Commit]) -> Result<Vec<Outcome>, Failure> {
    writing.incarnations.fence(me)?;
    let mut statements = Statements::look_up(writing.sql)?;
    batch.iter().map(|commit| Ok(commit_one(writing, &mut statements, me, commit)?)).collect()
}

fn commit_one(
    writing: &mut Writing<'_>,
    statements: &mut Statements<'_>,
    me: Incarnation,
    commit: &Commit,
) -> rusqlite::Result<Outcome> {
    let outcome = match &commit.birth {
        Some(birth) => bear(writing.sql, &mut statements.put_saga, me, commit, birth)?,
        None => follow(statements, me, commit)?,
    };
    if outcome != Outcome::Committed {
        return Ok(outcome);
    }
    if let Some(StoredEvents { count, at, body }) = &commit.events {
        let (first, last) = (columns::number(commit.after + 1), columns::number(commit.after + count));
        let values = params![commit.saga.as_bytes(), first, last, columns::time(*at), body];
        statements.put_events.execute(values)?;
    }
    failpoint!(CommitWritten);
    for write in &commit.writes {
        write_one(writing.sql, commit.saga, write)?;
    }
    for count in &commit.counts {
        writing.count(count);
    }
    Ok(Outcome::Committed)
}

/// A saga's first commit: refused if its key is taken, or its double click's claim. Nearly none is, so that is asked only
/// where the saga could not be put.
fn bear(
    sql: &Connection,
    put_saga: &mut CachedStatement<'_>,
    me: Incarnation,
    commit: &Commit,
    birth: &Birth,
) -> rusqlite::Result<Outcome> {
    let claimed = claimed_by(sql, birth)?;
    if commit.after != 0 || claimed.is_some() || !put(put_saga, me, commit, birth)? {
        return why_unborn(sql, commit, birth, claimed);
    }
    if let Some(dedupe) = &birth.dedupe {
        let until = columns::time(dedupe.until);
        let values = params![birth.definition, dedupe.digest, commit.saga.as_bytes(), until];
        sql.prepare_cached(PUT_DEDUPE)?.execute(values)?;
    }
    Ok(Outcome::Committed)
}

/// Whose the claim of a double click still is, if this is one.
fn claimed_by(sql: &Connection, birth: &Birth) -> rusqlite::Result<Option<Uuid>> {
    let Some(dedupe) = &birth.dedupe else { return Ok(None) };
    let claim = sql
        .prepare_cached(DEDUPE)?
        .query_row(params![birth.definition, dedupe.digest], |row| Ok((rows::id_at(row, 0)?, rows::time_at(row, 1)?)))
        .optional()?;
    Ok(claim.filter(|(_, until)| birth.created_at < *until).map(|(saga, _)| saga))
}

/// Why a first commit is refused. The key comes first, since it tells whether the input is the same.
fn why_unborn(sql: &Connection, commit: &Commit, birth: &Birth, claimed: Option<Uuid>) -> rusqlite::Result<Outcome> {
    let taken = sql
        .prepare_cached(SAGA_BY_KEY)?
        .query_row(params![birth.key, birth.definition], |row| Ok((rows::id_at(row, 0)?, row.get::<_, String>(1)?)))
        .optional()?;
    if let Some((saga, fingerprint)) = taken {
        return Ok(Outcome::Exists { saga, same_input: fingerprint == birth.fingerprint });
    }
    let is_stale = commit.after != 0 || sql.prepare_cached(SAGA_EXISTS)?.exists([commit.saga.as_bytes()])?;
    Ok(match claimed {
        Some(saga) if !is_stale => Outcome::Duplicate { saga },
        Some(_) | None => Outcome::Stale,
    })
}

/// Puts a saga's row, and says whether there was room for it: its id and its key are nobody's.
fn put(put_saga: &mut CachedStatement<'_>, me: Incarnation, commit: &Commit, birth: &Birth) -> rusqlite::Result<bool> {
    let Row { status, paused, reason, rest } = &commit.row;
    let (owner, wake_at, finished_at) = rows::rest_columns(*rest, me);
    let rows = put_saga.execute(params![
        commit.saga.as_bytes(),
        birth.definition,
        birth.version,
        birth.key,
        birth.fingerprint,
        columns::time(birth.created_at),
        status.as_str(),
        paused,
        reason,
        owner,
        wake_at,
        finished_at,
    ])?;
    Ok(rows > 0)
}

/// A later commit: refused unless it follows the last event, and the saga is this incarnation's.
fn follow(statements: &mut Statements<'_>, me: Incarnation, commit: &Commit) -> rusqlite::Result<Outcome> {
    let now = |row: &rusqlite::Row<'_>| Ok((row.get::<_, bool>(0)?, row.get::<_, Option<i64>>(1)?));
    let found = statements.saga_now.query_row(params![commit.saga.as_bytes(), me.as_bytes()], now).optional()?;
    let Some((is_mine, sequence)) = found else { return Ok(Outcome::Stale) };
    if !is_mine || sequence.unwrap_or_default() != columns::number(commit.after) {
        return Ok(Outcome::Stale);
    }
    // The row is written only when it changes: most commits only add events, and naming a column in an update
    // rewrites every index on it, whether or not its value is another.
    if commit.changes_row {
        let Row { status, paused, reason, rest } = &commit.row;
        let (owner, wake_at, finished_at) = rows::rest_columns(*rest, me);
        let row = params![commit.saga.as_bytes(), status.as_str(), paused, reason, owner, wake_at, finished_at];
        statements.change_saga.execute(row)?;
    }
    Ok(Outcome::Committed)
}

fn write_one(sql: &Connection, saga: Uuid, write: &Write) -> rusqlite::Result<()> {
    let saga = saga.as_bytes();
    match write {
        Write::PutMessage { step, participant, at } => {
            sql.prepare_cached(PUT_MESSAGE)?.execute(params![saga, step, participant, columns::time(*at)])?;
        }
        Write::MoveMessage { step, at } => {
            sql.prepare_cached(MOVE_MESSAGE)?.execute(params![saga, step, columns::time(*at)])?;
        }
        Write::HoldMessages => {
            sql.prepare_cached(HOLD_MESSAGES)?.execute(params![saga, columns::time(Timestamp::NEVER)])?;
        }
        Write::DeleteMessage { step } => {
            sql.prepare_cached(DELETE_MESSAGE)?.execute(params![saga, step])?;
        }
        Write::OpenDeadLetter { id, step, direction, claim, error, fingerprint, participant, at } => {
            let at = columns::time(*at);
            let values = params![id, saga, step, direction, claim, error, fingerprint, participant, at];
            sql.prepare_cached(OPEN_DEAD_LETTER)?.execute(values)?;
        }
        Write::CloseDeadLetter { id, resolution, at } => {
            sql.prepare_cached(CLOSE_DEAD_LETTER)?.execute(params![id, saga, columns::time(*at), resolution])?;
        }
        Write::CloseSagaDeadLetter { resolution, at } => {
            sql.prepare_cached(CLOSE_SAGA_DEAD_LETTER)?.execute(params![saga, columns::time(*at), resolution])?;
        }
        Write::Send { queue, message } => queues::put(sql, queue, message)?,
        Write::Audit { actor, action, step, reason, at } => {
            sql.prepare_cached(PUT_AUDIT)?.execute(params![columns::time(*at), actor, action, saga, step, reason])?;
        }
    }
    Ok(())
}

pub(super) fn claim(
    writing: &mut Writing<'_>,
    me: Incarnation,
    now: Timestamp,
    limit: usize,
) -> Result<Claimed, Failure> {
    writing.incarnations.fence(me)?;
    let sql = writing.sql;
    let due: Vec<Uuid> = sql
        .prepare_cached(DUE)?
        .query_map(params![columns::time(now), columns::limit(limit)], |row| rows::id_at(row, 0))?
        .collect::<Result<_, _>>()?;
    let mut claimed = Claimed::default();
    for id in due {
        sql.prepare_cached(OWN)?.execute(params![id.as_bytes(), me.as_bytes()])?;
        claimed.records.extend(reads::record(sql, id)?);
    }
    failpoint!(ClaimWritten);
    claimed.next_due = sql.prepare_cached(NEXT_DUE)?.query_row([], |row| rows::due_at(row, 0)).optional()?;
    Ok(claimed)
}

pub(super) fn acquire(writing: &mut Writing<'_>, me: Incarnation, id: Uuid) -> Result<Acquired, Failure> {
    writing.incarnations.fence(me)?;
    let sql = writing.sql;
    let found = sql.prepare_cached(reads::SAGA)?.query_row([id.as_bytes()], rows::saga).optional()?;
    let Some(saga) = found else { return Ok(Acquired::Missing) };
    match (saga.owner, saga.row.rest) {
        (Some(owner), _) if owner != me => return Ok(Acquired::Elsewhere(owner)),
        (None, Rest::Until(_) | Rest::Parked) => {
            sql.prepare_cached(OWN)?.execute(params![id.as_bytes(), me.as_bytes()])?;
        }
        (Some(_), _) | (None, Rest::Owned | Rest::Finished(_)) => {}
    }
    failpoint!(AcquireWritten);
    let Some(record) = reads::record(sql, id)? else { return Ok(Acquired::Missing) };
    match record.row.rest {
        Rest::Finished(_) => Ok(Acquired::Finished(Box::new(record))),
        Rest::Owned | Rest::Until(_) | Rest::Parked => Ok(Acquired::Yours(Box::new(record))),
    }
}

pub(super) fn receive(writing: &mut Writing<'_>, me: Incarnation, request: &Receive) -> Result<Received, Failure> {
    writing.incarnations.fence(me)?;
    let sql = writing.sql;
    let messages: Vec<Message> = sql
        .prepare_cached(READY)?
        .query_map(params![request.participant, columns::time(request.now), columns::limit(request.limit)], |row| {
            // A count that is none is as many as there can be: the machine then asks a person.
            let receives = u32::try_from(row.get::<_, i64>(2)?).unwrap_or(u32::MAX);
            Ok(Message { saga: rows::id_at(row, 0)?, step: row.get(1)?, receives: receives.saturating_add(1) })
        })?
        .collect::<Result<_, _>>()?;
    let mut take = sql.prepare_cached(TAKE_MESSAGE)?;
    for message in &messages {
        let invisible_until = columns::time(request.invisible_until);
        take.execute(params![message.saga.as_bytes(), message.step, invisible_until, message.receives, me.as_bytes()])?;
    }
    failpoint!(ReceiveWritten);
    let mut next = sql.prepare_cached(NEXT_MESSAGE)?;
    let next_at = next.query_row([&request.participant], |row| rows::due_at(row, 0)).optional()?;
    Ok(Received { messages, next_at })
}

pub(super) fn forget(writing: &mut Writing<'_>, sagas: &[Uuid]) -> Result<Vec<Uuid>, Failure> {
    for text in FORGET {
        let mut delete = writing.sql.prepare_cached(text)?;
        for saga in sagas {
            delete.execute([saga.as_bytes()])?;
        }
    }
    Ok(sagas.to_vec())
}

/// Adds up counts that are old.
pub(super) fn condense(writing: &mut Writing<'_>, now: Timestamp) -> Result<(), Failure> {
    for (before, minutes) in columns::old_minutes(now) {
        for text in ADD_UP {
            writing.sql.prepare_cached(text)?.execute([before, minutes])?;
        }
    }
    Ok(())
}

pub(super) fn put_definition(
    writing: &mut Writing<'_>,
    definition: &StoredDefinition,
    deed: &Deed,
) -> Result<bool, Failure> {
    let StoredDefinition { name, version, source, created_at } = definition;
    let sql = writing.sql;
    sql.prepare_cached(PUT_DEFINITION)?.execute(params![version, name, source, columns::time(*created_at)])?;
    let changed = sql.prepare_cached(PUT_CURRENT)?.execute(params![name, version])? > 0;
    if changed {
        audit::put(sql, deed)?;
    }
    failpoint!(DefinitionWritten);
    Ok(changed)
}
