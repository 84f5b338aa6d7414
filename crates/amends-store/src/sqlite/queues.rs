//! The tables of the queues that services use.

use super::errors::Failure;
use super::rows::{number_at, time_at};
use super::writer::Writing;
use crate::StoreError;
use crate::columns::{self, number, time};
use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, REDRIVEN, REDRIVES_SHOWN,
    ReceiveRequest, Redrive, read_receipt, receipt, redriven_at,
};
use amends_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

const PUT: &str = "
    INSERT INTO queue_message (queue, id, body, sent_at, visible_at, receives) VALUES (?1, ?2, ?3, ?4, ?4, 0)
    ON CONFLICT DO NOTHING";
const BURY: &str = "UPDATE queue_message SET dead_at = ?3, receiving = NULL WHERE queue = ?1 AND id = ?2";
pub(super) const READY_IN_QUEUE: &str = "
    SELECT id, body, receives, sent_at FROM queue_message WHERE queue = ?1 AND dead_at IS NULL AND visible_at <= ?2
    ORDER BY visible_at, id LIMIT ?3";
const TAKE: &str = "
    UPDATE queue_message SET visible_at = ?3, receives = receives + 1, receiving = ?4 WHERE queue = ?1 AND id = ?2";
const ACKNOWLEDGE: &str = "DELETE FROM queue_message WHERE queue = ?1 AND id = ?2 AND receiving = ?3";
const EXTEND: &str = "
    UPDATE queue_message SET visible_at = ?4 WHERE queue = ?1 AND id = ?2 AND receiving = ?3 AND visible_at > ?5";
const REJECT: &str = "
    UPDATE queue_message SET visible_at = ?4, receiving = NULL WHERE queue = ?1 AND id = ?2 AND receiving = ?3";
pub(super) const DEAD: &str = "
    SELECT id, body, sent_at, dead_at, receives FROM queue_message
    WHERE queue = ?1 AND dead_at IS NOT NULL AND (dead_at, id) > (?2, ?3) ORDER BY dead_at, id LIMIT ?4";
pub(super) const DEAD_IDS: &str =
    "SELECT id FROM queue_message WHERE queue = ?1 AND dead_at IS NOT NULL ORDER BY dead_at, id LIMIT ?2";
const REVIVE: &str = "
    UPDATE queue_message SET dead_at = NULL, receives = 0, visible_at = ?3, redrive = ?4 WHERE queue = ?1 AND id = ?2";
const PUT_REDRIVE: &str = "INSERT INTO redrive (id, queue, at, per_second, total) VALUES (?1, ?2, ?3, ?4, ?5)";
/// Those of a redrive that are not ready yet.
pub(super) const WAITING: &str = "
    SELECT count(*) FROM queue_message
    WHERE queue = ?1 AND dead_at IS NULL AND visible_at > ?2 AND redrive = ?3 AND receives = 0";
const REDRIVES: &str = "
    SELECT id, at, per_second, total, moved FROM redrive WHERE queue = ?1 AND id = coalesce(?2, id)
    ORDER BY at DESC, id DESC LIMIT ?3";
const BURY_AGAIN: &str = "
    UPDATE queue_message SET dead_at = ?2
    WHERE queue = ?1 AND dead_at IS NULL AND visible_at > ?2 AND redrive = ?3 AND receives = 0";
const END_REDRIVE: &str = "UPDATE redrive SET moved = ?2 WHERE id = ?1";
pub(super) const DEPTH: &str = "
    SELECT count(*) FILTER (WHERE dead_at IS NULL AND visible_at <= ?2),
        count(*) FILTER (WHERE dead_at IS NULL AND visible_at > ?2), count(*) FILTER (WHERE dead_at IS NOT NULL)
    FROM queue_message WHERE queue = ?1";

pub(super) fn put(sql: &Connection, queue: &str, message: &NewMessage) -> rusqlite::Result<()> {
    let NewMessage { id, body, at } = message;
    sql.prepare_cached(PUT)?.execute(params![queue, id, body, time(*at)])?;
    Ok(())
}

pub(super) fn receive(
    writing: &mut Writing<'_>,
    queue: &str,
    request: &ReceiveRequest,
) -> Result<Vec<Delivery>, Failure> {
    let (sql, now) = (writing.sql, time(request.now));
    let receiving = Uuid::now_v7();
    let read = |row: &Row<'_>| {
        let (id, receives): (String, u32) = (row.get(0)?, row.get(2)?);
        let receipt = receipt(receiving, &id);
        let delivery = Delivery { id, body: row.get(1)?, receipt, receives: receives.saturating_add(1) };
        Ok((time_at(row, 3)?, delivery))
    };
    let mut ready: Vec<(Timestamp, Delivery)> = sql
        .prepare_cached(READY_IN_QUEUE)?
        .query_map(params![queue, now, columns::limit(request.limit)], read)?
        .collect::<Result<_, _>>()?;
    let visible_at = time(request.now.plus(request.visibility_ms));
    let (mut take, mut bury) = (sql.prepare_cached(TAKE)?, sql.prepare_cached(BURY)?);
    let is_over = |delivery: &Delivery| delivery.receives > request.receives_max;
    for (_, delivery) in &ready {
        if is_over(delivery) {
            bury.execute(params![queue, delivery.id, now])?;
        } else {
            take.execute(params![queue, delivery.id, visible_at, receiving.as_bytes()])?;
        }
    }
    ready.retain(|(_, delivery)| !is_over(delivery));
    ready.sort_by(|(at, one), (other_at, other)| (at, &one.id).cmp(&(other_at, &other.id)));
    Ok(ready.into_iter().map(|(_, delivery)| delivery).collect())
}

pub(super) fn handle(
    writing: &mut Writing<'_>,
    queue: &str,
    handlings: &[(String, Handling)],
    now: Timestamp,
) -> Result<Vec<Handled>, Failure> {
    let sql = writing.sql;
    let handle_one = |(receipt, handling): &(String, Handling)| {
        let Some((receiving, id)) = read_receipt(receipt) else { return Ok(Handled::Stale) };
        let receiving = receiving.as_bytes();
        let changed = match handling {
            Handling::Acknowledge => sql.prepare_cached(ACKNOWLEDGE)?.execute(params![queue, id, receiving])?,
            Handling::Extend { until } => {
                sql.prepare_cached(EXTEND)?.execute(params![queue, id, receiving, time(*until), time(now)])?
            }
            Handling::Reject { at } => sql.prepare_cached(REJECT)?.execute(params![queue, id, receiving, time(*at)])?,
        };
        Ok(if changed == 1 { Handled::Done } else { Handled::Stale })
    };
    handlings.iter().map(handle_one).collect()
}

pub(super) fn dead(sql: &Connection, queue: &str, query: &DeadQuery) -> rusqlite::Result<Vec<DeadMessage>> {
    let (after, after_id) = query.after.as_ref().map_or((-1, ""), |(at, id)| (time(*at), id));
    let read = |row: &Row<'_>| {
        Ok(DeadMessage {
            id: row.get(0)?,
            body: row.get(1)?,
            sent_at: time_at(row, 2)?,
            dead_at: time_at(row, 3)?,
            receives: row.get(4)?,
        })
    };
    sql.prepare_cached(DEAD)?.query_map(params![queue, after, after_id, columns::limit(query.limit)], read)?.collect()
}

pub(super) fn redrive(writing: &mut Writing<'_>, queue: &str, redrive: &NewRedrive) -> Result<Redrive, Failure> {
    let sql = writing.sql;
    let dead: Vec<String> = sql
        .prepare_cached(DEAD_IDS)?
        .query_map(params![queue, columns::limit(REDRIVEN)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut revive = sql.prepare_cached(REVIVE)?;
    for (place, id) in dead.iter().enumerate() {
        revive.execute(params![queue, id, time(redriven_at(redrive, place)), redrive.id])?;
    }
    let total = u64::try_from(dead.len()).unwrap_or(u64::MAX);
    let values = params![redrive.id, queue, time(redrive.now), redrive.per_second, number(total)];
    sql.prepare_cached(PUT_REDRIVE)?.execute(values)?;
    let begun = redrives(sql, queue, Some(&redrive.id), redrive.now)?.pop();
    begun.ok_or_else(|| Failure::Refused(StoreError::Damaged("a redrive that was put is not there".into())))
}

/// One redrive, or all of a queue's, newest first.
pub(super) fn redrives(
    sql: &Connection,
    queue: &str,
    id: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<Vec<Redrive>> {
    let read = |row: &Row<'_>| {
        let (id, total, moved): (String, u64, Option<i64>) = (row.get(0)?, number_at(row, 3)?, row.get(4)?);
        let (at, per_second) = (time_at(row, 1)?, row.get(2)?);
        Ok(Redrive {
            id,
            at,
            per_second,
            total,
            moved: moved.unwrap_or_default().unsigned_abs(),
            is_cancelled: moved.is_some(),
        })
    };
    let mut found: Vec<Redrive> = sql
        .prepare_cached(REDRIVES)?
        .query_map(params![queue, id, columns::limit(REDRIVES_SHOWN)], read)?
        .collect::<Result<_, _>>()?;
    for redrive in found.iter_mut().filter(|redrive| !redrive.is_cancelled) {
        redrive.moved = redrive.total.saturating_sub(waiting(sql, queue, &redrive.id, now)?);
    }
    Ok(found)
}

fn waiting(sql: &Connection, queue: &str, redrive: &str, now: Timestamp) -> rusqlite::Result<u64> {
    sql.prepare_cached(WAITING)?.query_row(params![queue, time(now), redrive], |row| number_at(row, 0))
}

pub(super) fn cancel_redrive(
    writing: &mut Writing<'_>,
    queue: &str,
    id: &str,
    now: Timestamp,
) -> Result<Option<Redrive>, Failure> {
    let sql = writing.sql;
    let Some(redrive) = redrives(sql, queue, Some(id), now)?.pop() else { return Ok(None) };
    if redrive.is_cancelled {
        return Ok(Some(redrive));
    }
    sql.prepare_cached(BURY_AGAIN)?.execute(params![queue, time(now), id])?;
    sql.prepare_cached(END_REDRIVE)?.execute(params![id, number(redrive.moved)])?;
    Ok(Some(Redrive { is_cancelled: true, ..redrive }))
}

pub(super) fn depth(sql: &Connection, queue: &str, now: Timestamp) -> rusqlite::Result<Depth> {
    let read = |row: &Row<'_>| {
        Ok(Depth { ready: number_at(row, 0)?, invisible: number_at(row, 1)?, dead: number_at(row, 2)? })
    };
    sql.prepare_cached(DEPTH)?.query_row(params![queue, time(now)], read)
}
