//! The tables of the queues that services use.

use super::commit_of;
use super::connect::{Link, Value};
use super::errors::Failure;
use super::rows::{text_at, time_at};
use super::text::stored;
use crate::StoreError;
use crate::columns::{self, number, time};
use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, REDRIVEN, REDRIVES_SHOWN,
    ReceiveRequest, Redrive, read_receipt, receipt,
};
use amends_core::time::Timestamp;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

pub(super) async fn put(link: &Link, queue: &str, messages: &[NewMessage]) -> Result<(), Failure> {
    let text = "
        INSERT INTO amends.queue_message (queue, id, body, sent_at, visible_at, receives)
        SELECT $1, new.id, new.body, new.at, new.at, 0
        FROM unnest($2::text[], $3::text[], $4::bigint[]) AS new (id, body, at)
        ON CONFLICT DO NOTHING";
    let queue = stored(queue);
    let ids: Vec<_> = messages.iter().map(|message| stored(&message.id)).collect();
    let bodies: Vec<_> = messages.iter().map(|message| stored(&message.body)).collect();
    let times: Vec<i64> = messages.iter().map(|message| time(message.at)).collect();
    let values: [(Value<'_>, Type); 4] =
        [(&queue, Type::TEXT), (&ids, Type::TEXT_ARRAY), (&bodies, Type::TEXT_ARRAY), (&times, Type::INT8_ARRAY)];
    link.query_text(text, &values).await.map_err(Failure::at_commit)?;
    Ok(())
}

pub(super) async fn receive(link: &Link, queue: &str, request: &ReceiveRequest) -> Result<Vec<Delivery>, Failure> {
    let (queue, now, receives_max) = (stored(queue), time(request.now), i64::from(request.receives_max));
    let take = "
        WITH ready AS (
            SELECT id, receives >= $6 AS is_over FROM amends.queue_message
            WHERE queue = $1 AND dead_at IS NULL AND visible_at <= $2
            ORDER BY visible_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
        ), buried AS (
            UPDATE amends.queue_message AS message SET dead_at = $2, receiving = NULL
            FROM ready WHERE message.queue = $1 AND message.id = ready.id AND is_over
        )
        UPDATE amends.queue_message AS message SET visible_at = $4, receives = receives + 1, receiving = $5
        FROM ready WHERE message.queue = $1 AND message.id = ready.id AND NOT is_over
        RETURNING message.id, message.body, message.receives, message.sent_at";
    let receiving = Uuid::now_v7();
    let (limit, visible_at) = (columns::limit(request.limit), time(request.now.plus(request.visibility_ms)));
    let values: [(Value<'_>, Type); 6] = [
        (&queue, Type::TEXT),
        (&now, Type::INT8),
        (&limit, Type::INT8),
        (&visible_at, Type::INT8),
        (&receiving, Type::UUID),
        (&receives_max, Type::INT8),
    ];
    let taken = link.query_text(take, &values).await.map_err(Failure::at_commit)?;
    let delivery = |row: &Row| {
        let id = text_at(row, 0)?;
        let (receipt, receives) = (receipt(receiving, &id), count_at(row, 2)?);
        Ok((time_at(row, 3)?, Delivery { id, body: text_at(row, 1)?, receipt, receives }))
    };
    let mut taken: Vec<(Timestamp, Delivery)> = taken.iter().map(delivery).collect::<Result<_, Error>>()?;
    taken.sort_by(|(at, one), (other_at, other)| (at, &one.id).cmp(&(other_at, &other.id)));
    Ok(taken.into_iter().map(|(_, delivery)| delivery).collect())
}

pub(super) async fn handle(
    link: &Link,
    queue: &str,
    handlings: &[(String, Handling)],
    now: Timestamp,
) -> Result<Vec<Handled>, Failure> {
    let mut handled = Vec::with_capacity(handlings.len());
    for (receipt, handling) in handlings {
        handled.push(match read_receipt(receipt) {
            Some((receiving, id)) => handle_one(link, queue, (receiving, id), *handling, now).await?,
            None => Handled::Stale,
        });
    }
    Ok(handled)
}

async fn handle_one(
    link: &Link,
    queue: &str,
    (receiving, id): (Uuid, &str),
    handling: Handling,
    now: Timestamp,
) -> Result<Handled, Failure> {
    const OF: &str = "WHERE queue = $1 AND id = $2 AND receiving = $3";
    let (queue, id) = (stored(queue), stored(id));
    let named: [(Value<'_>, Type); 3] = [(&queue, Type::TEXT), (&id, Type::TEXT), (&receiving, Type::UUID)];
    let (change, times) = match handling {
        Handling::Acknowledge => (format!("DELETE FROM amends.queue_message {OF}"), vec![]),
        Handling::Extend { until } => {
            let change = format!("UPDATE amends.queue_message SET visible_at = $4 {OF} AND visible_at > $5");
            (change, vec![time(until), time(now)])
        }
        Handling::Reject { at } => {
            (format!("UPDATE amends.queue_message SET visible_at = $4, receiving = NULL {OF}"), vec![time(at)])
        }
    };
    let times = times.iter().map(|at| (at as Value<'_>, Type::INT8));
    let values: Vec<(Value<'_>, Type)> = named.into_iter().chain(times).collect();
    let changed = link.query_text(&format!("{change} RETURNING 1"), &values).await.map_err(Failure::at_commit)?;
    Ok(if changed.is_empty() { Handled::Stale } else { Handled::Done })
}

pub(super) async fn dead(link: &Link, queue: &str, query: &DeadQuery) -> Result<Vec<DeadMessage>, Error> {
    let text = "
        SELECT id, body, sent_at, dead_at, receives FROM amends.queue_message
        WHERE queue = $1 AND dead_at IS NOT NULL AND (dead_at, id) > ($2, $3) ORDER BY dead_at, id LIMIT $4";
    let (after, after_id) = query.after.as_ref().map_or((-1, ""), |(at, id)| (time(*at), id));
    let (queue, after_id, limit) = (stored(queue), stored(after_id), columns::limit(query.limit));
    let values: [(Value<'_>, Type); 4] =
        [(&queue, Type::TEXT), (&after, Type::INT8), (&after_id, Type::TEXT), (&limit, Type::INT8)];
    let message = |row: &Row| {
        Ok(DeadMessage {
            id: text_at(row, 0)?,
            body: text_at(row, 1)?,
            sent_at: time_at(row, 2)?,
            dead_at: time_at(row, 3)?,
            receives: count_at(row, 4)?,
        })
    };
    link.query_text(text, &values).await?.iter().map(message).collect()
}

pub(super) async fn redrive(link: &Link, queue: &str, redrive: &NewRedrive) -> Result<Redrive, Failure> {
    link.begin().await?;
    let revive = "
        WITH dead AS (
            SELECT id, row_number() OVER (ORDER BY dead_at, id) - 1 AS number FROM amends.queue_message
            WHERE queue = $1 AND dead_at IS NOT NULL ORDER BY dead_at, id LIMIT $2
        )
        UPDATE amends.queue_message AS message
        SET dead_at = NULL, receives = 0, visible_at = $3 + dead.number * 1000 / $4, redrive = $5
        FROM dead WHERE message.queue = $1 AND message.id = dead.id AND message.dead_at IS NOT NULL
        RETURNING 1";
    let (stored_queue, limit, id) = (stored(queue), columns::limit(REDRIVEN), stored(&redrive.id));
    let (now, per_second) = (time(redrive.now), i64::from(redrive.per_second.max(1)));
    let values: [(Value<'_>, Type); 5] = [
        (&stored_queue, Type::TEXT),
        (&limit, Type::INT8),
        (&now, Type::INT8),
        (&per_second, Type::INT8),
        (&id, Type::TEXT),
    ];
    let revived = link.query_text(revive, &values).await?.len();
    let total = columns::limit(revived);
    let put = "INSERT INTO amends.redrive (id, queue, at, per_second, total) VALUES ($1, $2, $3, $4, $5)";
    let values: [(Value<'_>, Type); 5] = [
        (&id, Type::TEXT),
        (&stored_queue, Type::TEXT),
        (&now, Type::INT8),
        (&per_second, Type::INT8),
        (&total, Type::INT8),
    ];
    link.query_text(put, &values).await?;
    let begun = redrives(link, queue, Some(&redrive.id), redrive.now).await?.pop();
    commit_of(link).await?;
    begun.ok_or_else(|| StoreError::Damaged("a redrive that was put is not there".into()).into())
}

/// One redrive, or all of a queue's, newest first.
pub(super) async fn redrives(
    link: &Link,
    queue: &str,
    id: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Redrive>, Error> {
    let text = "
        SELECT redrive.id, at, per_second, total, coalesce(moved, total - (
            SELECT count(*) FROM amends.queue_message
            WHERE queue_message.queue = $1 AND dead_at IS NULL AND visible_at > $4
                AND queue_message.redrive = redrive.id AND receives = 0
        )), moved IS NOT NULL
        FROM amends.redrive WHERE redrive.queue = $1 AND redrive.id = coalesce($2, redrive.id)
        ORDER BY at DESC, redrive.id DESC LIMIT $3";
    let (queue, id, limit, now) = (stored(queue), id.map(stored), columns::limit(REDRIVES_SHOWN), time(now));
    let values: [(Value<'_>, Type); 4] =
        [(&queue, Type::TEXT), (&id, Type::TEXT), (&limit, Type::INT8), (&now, Type::INT8)];
    let redrive = |row: &Row| {
        let (total, moved): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
        Ok(Redrive {
            id: text_at(row, 0)?,
            at: time_at(row, 1)?,
            per_second: count_at(row, 2)?,
            total: total.unsigned_abs(),
            moved: moved.unsigned_abs(),
            is_cancelled: row.try_get(5)?,
        })
    };
    link.query_text(text, &values).await?.iter().map(redrive).collect()
}

pub(super) async fn cancel_redrive(
    link: &Link,
    queue: &str,
    id: &str,
    now: Timestamp,
) -> Result<Option<Redrive>, Failure> {
    link.begin().await?;
    let found = redrives(link, queue, Some(id), now).await?.pop();
    if let Some(redrive) = found.as_ref().filter(|redrive| !redrive.is_cancelled) {
        let bury_again = "
            UPDATE amends.queue_message SET dead_at = $2
            WHERE queue = $1 AND dead_at IS NULL AND visible_at > $2 AND redrive = $3 AND receives = 0";
        let (queue, now, id) = (stored(queue), time(now), stored(id));
        let values: [(Value<'_>, Type); 3] = [(&queue, Type::TEXT), (&now, Type::INT8), (&id, Type::TEXT)];
        link.query_text(bury_again, &values).await?;
        let end = "UPDATE amends.redrive SET moved = $2 WHERE id = $1 AND moved IS NULL";
        link.query_text(end, &[(&id, Type::TEXT), (&number(redrive.moved), Type::INT8)]).await?;
    }
    commit_of(link).await?;
    Ok(found.map(|redrive| Redrive { is_cancelled: true, ..redrive }))
}

pub(super) async fn depth(link: &Link, queue: &str, now: Timestamp) -> Result<Depth, Error> {
    let text = "
        SELECT count(*) FILTER (WHERE dead_at IS NULL AND visible_at <= $2),
            count(*) FILTER (WHERE dead_at IS NULL AND visible_at > $2), count(*) FILTER (WHERE dead_at IS NOT NULL)
        FROM amends.queue_message WHERE queue = $1";
    let found = link.query_text(text, &[(&stored(queue), Type::TEXT), (&time(now), Type::INT8)]).await?;
    let count = |place| found[0].try_get::<_, i64>(place).map(i64::unsigned_abs);
    Ok(Depth { ready: count(0)?, invisible: count(1)?, dead: count(2)? })
}

fn count_at(row: &Row, column: usize) -> Result<u32, Error> {
    Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or(u32::MAX))
}
