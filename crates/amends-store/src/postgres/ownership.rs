//! Who works on what: incarnations, the sagas that they take, and the messages that they receive.

use super::commit_of;
use super::connect::{Link, Value};
use super::errors::Failure;
use super::flight::{Flight, values};
use super::reads::{self, IS_ORPHAN, NOW_MS};
use super::statements::{DUE, NEXT_DUE, NEXT_MESSAGE, OWN, READY};
use super::{audit, rows, text};
use crate::{
    Acquired, Claimed, Deed, FORMAT, Incarnation, Item, Message, Patience, PermitRequest, Receive, Received, Rest,
    StoreError, StoredDefinition,
};
use crate::{columns, permits};
use amends_core::time::Timestamp;
use amends_failpoints::failpoint;
use std::time::Duration;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// For how long a newer program is waited for that has ended.
const NEWER_BACK_SECONDS: u32 = 600;
/// How many of a dead incarnation's sagas are handed out in one transaction.
const RELEASE_BATCH: i64 = 1_000;

pub(super) async fn enlist(link: &Link, me: Incarnation, now: Timestamp, lease: Duration) -> Result<(), Failure> {
    link.begin().await?;
    let add = "
        INSERT INTO amends.incarnation (id, live, format, released) VALUES ($1, true, $2, false)
        ON CONFLICT (id) DO NOTHING";
    link.query_text(add, &[(&me, Type::UUID), (&i64::from(FORMAT), Type::INT8)]).await?;
    let lives = "SELECT 1 FROM amends.incarnation WHERE id = $1 AND live FOR SHARE";
    if link.query_text(lives, &[(&me, Type::UUID)]).await?.is_empty() {
        return Err(Failure::Refused(StoreError::Fenced));
    }
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let keep = "
        INSERT INTO amends.lease (incarnation, expires_at)
        VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond')
        ON CONFLICT (incarnation) DO UPDATE SET expires_at = excluded.expires_at";
    link.query_text(keep, &[(&me, Type::UUID), (&lease_ms, Type::INT8)]).await?;
    // There should be none; whatever made them, they are looked at again.
    let orphans = format!("UPDATE amends.unfinished SET owner = NULL, wake_at = $1 WHERE {IS_ORPHAN}");
    link.query_text(&orphans, &[(&columns::time(now), Type::INT8)]).await?;
    failpoint!(async EnlistWritten);
    commit_of(link).await
}

/// A sign of life; nothing comes of it where another one has taken over. It tells the time, and until when the lease runs now.
pub(super) async fn renew(link: &Link, me: Incarnation, lease: Duration) -> Result<(Timestamp, String), Failure> {
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let text = format!(
        "UPDATE amends.lease SET expires_at = clock_timestamp() + $2 * interval '1 millisecond'
         WHERE incarnation = $1 AND EXISTS (SELECT 1 FROM amends.incarnation WHERE id = $1 AND live)
         RETURNING {NOW_MS}, expires_at::text"
    );
    let renewed = link.query_text(&text, &[(&me, Type::UUID), (&lease_ms, Type::INT8)]).await?;
    match renewed.first() {
        Some(row) => Ok((rows::time_at(row, 0)?, row.try_get(1)?)),
        None => Err(Failure::Refused(StoreError::Fenced)),
    }
}

/// Ends those whose lease has run out, and goes on with those whose end was begun. Returns how many there were.
pub(super) async fn take_over(link: &Link) -> Result<usize, Failure> {
    let overdue = format!(
        "SELECT incarnation.id, {NOW_MS}
         FROM amends.incarnation LEFT JOIN amends.lease ON lease.incarnation = incarnation.id
         WHERE NOT incarnation.released
             AND (NOT incarnation.live OR lease.expires_at IS NULL OR lease.expires_at < clock_timestamp())"
    );
    let mut taken_over = 0;
    for row in link.query_text(&overdue, &[]).await? {
        let (whom, now): (Incarnation, Timestamp) = (row.try_get(0)?, rows::time_at(&row, 1)?);
        let taken = async {
            let is_dead = fence(link, whom).await?;
            if is_dead {
                release(link, whom, now).await?;
            }
            Ok::<bool, Failure>(is_dead)
        };
        match taken.await {
            Ok(is_dead) => taken_over += usize::from(is_dead),
            // It may hang within a transaction. The others are not to wait for that.
            Err(failure) => {
                link.roll_back().await;
                let error = StoreError::from(failure);
                tracing::warn!(incarnation = %whom, %error, "its sagas could not be taken over; it is tried again");
            }
        }
    }
    Ok(taken_over)
}

/// One that is ending counts as well, and one that has a short while ago: it is started again, perhaps, and the old ones are
/// not to judge meanwhile.
pub(super) async fn newest_format(link: &Link) -> Result<u32, Failure> {
    let text = format!(
        "SELECT coalesce(max(format), 0) FROM amends.incarnation
         WHERE live OR NOT released OR lease_until > clock_timestamp() - {NEWER_BACK_SECONDS} * interval '1 second'"
    );
    let newest: i64 = link.query_text(&text, &[]).await?[0].try_get(0)?;
    Ok(u32::try_from(newest).unwrap_or(u32::MAX))
}

/// Declares an incarnation dead if it still gives no sign of life. It waits for the commit that it may be in the middle of; one
/// that hangs there is ended by the server, and until then this gives up and is tried again.
async fn fence(link: &Link, whom: Incarnation) -> Result<bool, Failure> {
    link.begin().await?;
    let lock = "SELECT live FROM amends.incarnation WHERE id = $1 FOR UPDATE";
    let found = link.query_text(lock, &[(&whom, Type::UUID)]).await?;
    let was_live: bool = found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    // A renewal at the same moment waits for this row, and then finds none.
    let expired = "
        WITH expired AS (
            DELETE FROM amends.lease WHERE incarnation = $1 AND expires_at < clock_timestamp() RETURNING expires_at
        )
        UPDATE amends.incarnation SET lease_until = expired.expires_at FROM expired WHERE id = $1";
    link.query_text(expired, &[(&whom, Type::UUID)]).await?;
    let dead = "
        UPDATE amends.incarnation SET live = false
        WHERE id = $1 AND (NOT live OR NOT EXISTS (SELECT 1 FROM amends.lease WHERE incarnation = $1))
        RETURNING id";
    let fenced = link.query_text(dead, &[(&whom, Type::UUID)]).await?;
    commit_of(link).await?;
    if was_live && !fenced.is_empty() {
        tracing::warn!(incarnation = %whom, "an orchestrator gives no sign of life; its sagas go to others");
    }
    Ok(!fenced.is_empty())
}

/// A share of the rate that all have together. Whoever asks at the same time waits for the row.
pub(super) async fn permits(link: &Link, request: &PermitRequest) -> Result<usize, Failure> {
    link.begin().await?;
    let lock = "SELECT next_us FROM amends.budget WHERE is_the_one FOR UPDATE";
    let next: i64 = link.query_text(lock, &[]).await?[0].try_get(0)?;
    // Asked only once the row is locked: the clock at the statement's start may be one of before.
    let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let now: i64 = link.query_text(clock, &[]).await?[0].try_get(0)?;
    let (granted, next) = permits::grant(next, now, request);
    let keep = "UPDATE amends.budget SET next_us = $1 WHERE is_the_one";
    link.query_text(keep, &[(&next, Type::INT8)]).await?;
    commit_of(link).await?;
    Ok(granted)
}

/// Declares an incarnation dead, and only when that is durable hands out what it had.
pub(super) async fn retire(link: &Link, whom: Incarnation, now: Timestamp) -> Result<(), Failure> {
    let dead = "
        INSERT INTO amends.incarnation (id, live, released) VALUES ($1, false, false)
        ON CONFLICT (id) DO UPDATE SET live = false";
    link.begin().await?;
    link.query_text(dead, &[(&whom, Type::UUID)]).await?;
    commit_of(link).await?;
    release(link, whom, now).await
}

/// Hands out what a dead incarnation had: its sagas become due, and the messages that it received can be received again.
async fn release(link: &Link, whom: Incarnation, now: Timestamp) -> Result<(), Failure> {
    let free = "
        WITH had AS (
            SELECT saga FROM amends.unfinished WHERE owner = $1 AND saga > $2 ORDER BY saga LIMIT $3 FOR UPDATE
        )
        UPDATE amends.unfinished SET owner = NULL, wake_at = $4 FROM had WHERE unfinished.saga = had.saga
        RETURNING unfinished.saga";
    let mut after = Uuid::nil();
    loop {
        link.begin().await?;
        let values = [
            (&whom as Value<'_>, Type::UUID),
            (&after, Type::UUID),
            (&RELEASE_BATCH, Type::INT8),
            (&columns::time(now), Type::INT8),
        ];
        let freed = link.query_text(free, &values).await?;
        commit_of(link).await?;
        let last = freed.iter().map(|row| row.try_get::<_, Uuid>(0)).collect::<Result<Vec<_>, _>>()?.into_iter().max();
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    link.begin().await?;
    let give_back = "
        UPDATE amends.message SET receiver = NULL, visible_at = least(visible_at, $2) WHERE receiver = $1";
    link.query_text(give_back, &[(&whom, Type::UUID), (&columns::time(now), Type::INT8)]).await?;
    let end = "
        WITH ended AS (DELETE FROM amends.lease WHERE incarnation = $1 RETURNING expires_at)
        UPDATE amends.incarnation SET lease_until = ended.expires_at FROM ended WHERE id = $1";
    link.query_text(end, &[(&whom, Type::UUID)]).await?;
    // Whoever left something there finds out that nobody has answered it.
    let unanswered = "DELETE FROM amends.inbox WHERE incarnation = $1 AND answer IS NULL";
    link.query_text(unanswered, &[(&whom, Type::UUID)]).await?;
    link.query_text("UPDATE amends.incarnation SET released = true WHERE id = $1", &[(&whom, Type::UUID)]).await?;
    failpoint!(async RetireWritten);
    commit_of(link).await
}

pub(super) async fn claim(link: &Link, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, Failure> {
    let mut flight = Flight::fenced(link, me);
    let taken = flight.add(&DUE, values![columns::time(now), columns::limit(limit), me]);
    let next = flight.add(&NEXT_DUE, values![]);
    let landed = flight.begin().await?;
    let mut due = Vec::new();
    for row in landed.rows(taken) {
        due.push((row.try_get::<_, i64>(1)?, row.try_get::<_, Uuid>(0)?));
    }
    due.sort_unstable();
    let ids: Vec<Uuid> = due.into_iter().map(|(_, saga)| saga).collect();
    let records = match ids.as_slice() {
        [] => Vec::new(),
        ids => reads::records(link, ids).await?,
    };
    let next_due = landed.rows(next).first().map(|row| rows::time_at(row, 0)).transpose()?;
    failpoint!(async ClaimWritten);
    commit_of(link).await?;
    Ok(Claimed { records: records.into_iter().map(|(record, _)| record).collect(), next_due })
}

pub(super) async fn acquire(link: &Link, me: Incarnation, id: Uuid) -> Result<Acquired, Failure> {
    let mut flight = Flight::fenced(link, me);
    flight.add(&OWN, values![id, me]);
    flight.begin().await?;
    let found = reads::records(link, &[id]).await?.into_iter().next();
    failpoint!(async AcquireWritten);
    commit_of(link).await?;
    Ok(match found {
        None => Acquired::Missing,
        Some((_, Some(owner))) if owner != me => Acquired::Elsewhere(owner),
        Some((record, _)) => match record.row.rest {
            Rest::Finished(_) => Acquired::Finished(Box::new(record)),
            Rest::Owned | Rest::Until(_) | Rest::Parked => Acquired::Yours(Box::new(record)),
        },
    })
}

pub(super) async fn receive(link: &Link, me: Incarnation, request: &Receive) -> Result<Received, Failure> {
    let mut flight = Flight::fenced(link, me);
    let participant = text::stored(&request.participant).into_owned();
    let taken = flight.add(
        &READY,
        values![
            participant.clone(),
            columns::time(request.now),
            me,
            columns::limit(request.limit),
            columns::time(request.invisible_until)
        ],
    );
    let next = flight.add(&NEXT_MESSAGE, values![participant, me]);
    let landed = flight.begin().await?;
    let mut messages = Vec::new();
    for row in landed.rows(taken) {
        let (saga, step) = (row.try_get(0)?, text::read(row.try_get(1)?));
        // A count that is none is as many as there can be: the machine then asks a person.
        let receives = u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or(u32::MAX);
        messages.push((row.try_get::<_, i64>(3)?, Message { saga, step, receives }));
    }
    messages
        .sort_by(|(at, one), (other_at, other)| (at, one.saga, &one.step).cmp(&(other_at, other.saga, &other.step)));
    let next_at = landed.rows(next).first().map(|row| rows::time_at(row, 0)).transpose()?;
    failpoint!(async ReceiveWritten);
    commit_of(link).await?;
    Ok(Received { messages: messages.into_iter().map(|(_, message)| message).collect(), next_at })
}

pub(super) async fn put_definition(link: &Link, definition: &StoredDefinition, deed: &Deed) -> Result<bool, Failure> {
    let StoredDefinition { name, version, source, created_at } = definition;
    let (name, version, source) = (text::stored(name), text::stored(version), text::stored(source));
    let put = "
        INSERT INTO amends.definition (version, name, source, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING";
    let make_current = "
        INSERT INTO amends.current_definition (name, version) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET version = excluded.version
        WHERE current_definition.version <> excluded.version RETURNING name";
    let created_at = columns::time(*created_at);
    let values: [(Value<'_>, Type); 4] =
        [(&version, Type::TEXT), (&name, Type::TEXT), (&source, Type::TEXT), (&created_at, Type::INT8)];
    link.begin().await?;
    link.query_text(put, &values).await?;
    let changed = link.query_text(make_current, &[(&name, Type::TEXT), (&version, Type::TEXT)]).await?;
    if !changed.is_empty() {
        audit::put(link, deed).await?;
    }
    failpoint!(async DefinitionWritten);
    commit_of(link).await?;
    Ok(!changed.is_empty())
}

pub(super) async fn leave(link: &Link, item: &Item) -> Result<(), Failure> {
    let put = "
        INSERT INTO amends.inbox (id, incarnation, saga, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    let values: [(Value<'_>, Type); 4] =
        [(&item.id, Type::UUID), (&item.to, Type::UUID), (&item.saga, Type::UUID), (&item.body, Type::BYTEA)];
    link.query_text(put, &values).await.map_err(Failure::at_commit)?;
    Ok(())
}

pub(super) async fn inbox(link: &Link, me: Incarnation) -> Result<Vec<Item>, Failure> {
    let text = "SELECT id, saga, body FROM amends.inbox WHERE incarnation = $1 AND answer IS NULL ORDER BY left_at";
    let mut items = Vec::new();
    for row in link.query_text(text, &[(&me, Type::UUID)]).await? {
        items.push(Item { id: row.try_get(0)?, to: me, saga: row.try_get(1)?, body: row.try_get(2)? });
    }
    Ok(items)
}

pub(super) async fn answer(link: &Link, item: Uuid, answer: &[u8]) -> Result<(), Failure> {
    let text = "UPDATE amends.inbox SET answer = $2 WHERE id = $1 AND answer IS NULL";
    link.query_text(text, &[(&item, Type::UUID), (&answer, Type::BYTEA)]).await.map_err(Failure::at_commit)?;
    Ok(())
}

pub(super) async fn collect(link: &Link, item: Uuid, patience: Patience) -> Result<Option<Vec<u8>>, Failure> {
    let condition = match patience {
        Patience::Wait => "AND answer IS NOT NULL",
        Patience::GiveUp => "",
    };
    let text = format!("DELETE FROM amends.inbox WHERE id = $1 {condition} RETURNING answer");
    let collected = link.query_text(&text, &[(&item, Type::UUID)]).await.map_err(Failure::at_commit)?;
    Ok(collected.first().map(|row| row.try_get(0)).transpose()?.flatten())
}
