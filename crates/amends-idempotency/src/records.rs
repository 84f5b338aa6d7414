//! The records as rows. What they mean is decided in [`amends_core::idempotency`].

use crate::in_flight::ScopedKey;
use amends_core::idempotency::{Fingerprint, Record};
use amends_core::time::Timestamp;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A tombstone has no answer; an answer without a body is one that was too large to keep. What took effect and has expired
/// is a key in the second table, so that it can be undone however long ago it was.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS amends_idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    fingerprint TEXT,
    status INTEGER,
    headers TEXT,
    body BLOB,
    expires_at INTEGER NOT NULL,
    UNIQUE (scope, key)
);
CREATE INDEX IF NOT EXISTS amends_idempotency_expiry ON amends_idempotency (expires_at);
CREATE TABLE IF NOT EXISTS amends_idempotency_effect (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    expired_at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
";

/// The kinds of records, as they are stored.
const FINISHED: &str = "finished";
const SETTLED: &str = "settled";
const TOMBSTONE: &str = "tombstone";

/// How many expired records go with each new one: more than one, so that what has expired shrinks.
const SWEPT_BY_ONE: u32 = 8;

/// What is stored under a key. Requests in flight are in memory only: the write lock is their claim.
pub enum Stored {
    Finished {
        fingerprint: Fingerprint,
        answer: Answer,
        /// Nothing of it is left to undo: it was compensated, or is a compensation itself.
        settled: bool,
        expires_at: Timestamp,
    },
    Tombstone {
        expires_at: Timestamp,
    },
}

/// An answer as it is replayed.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(String, String)>,
    /// `None`: it was too large to keep, or a stream.
    pub body: Option<Bytes>,
}

impl Stored {
    /// As much of it as decides.
    pub fn record(&self) -> Record {
        match self {
            Stored::Finished { fingerprint, settled: true, expires_at, .. } => {
                Record::Settled { fingerprint: fingerprint.clone(), expires_at: *expires_at }
            }
            Stored::Finished { fingerprint, answer, settled: false, expires_at } => Record::Finished {
                fingerprint: fingerprint.clone(),
                status: answer.status.as_u16(),
                expires_at: *expires_at,
            },
            Stored::Tombstone { expires_at } => Record::Tombstone { expires_at: *expires_at },
        }
    }
}

impl Answer {
    /// Keeps of an answer's headers those in `allowed` that are text.
    pub fn new(status: StatusCode, headers: &HeaderMap, allowed: &[HeaderName], body: Option<Bytes>) -> Answer {
        let kept = headers.iter().filter(|(name, _)| allowed.contains(name));
        let text = kept.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        Answer { status, headers: text.collect(), body }
    }

    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.iter().find(|(kept, _)| kept == name.as_str()).map(|(_, value)| value.as_str())
    }

    /// The answer with `body` as its body.
    pub fn response(&self, body: Bytes) -> Response {
        let mut response = (self.status, Body::from(body)).into_response();
        // `Body::from` claims no content type, so what is set here is all that there is.
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// What is stored under `key`.
pub fn find(connection: &Connection, key: &ScopedKey) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(
            "SELECT kind, fingerprint, status, headers, body, expires_at FROM amends_idempotency WHERE scope = ?1 AND key = ?2",
        )?
        .query_row([&key.scope, &key.key], read)
        .optional()
}

/// What is known of the action under `key`, for a request that undoes it: a record, or what is remembered of an expired one.
pub fn find_action(connection: &Connection, key: &ScopedKey) -> rusqlite::Result<Option<Record>> {
    let mut remembered =
        connection.prepare_cached("SELECT 1 FROM amends_idempotency_effect WHERE scope = ?1 AND key = ?2")?;
    if remembered.exists([&key.scope, &key.key])? {
        return Ok(Some(Record::Remembered));
    }
    Ok(find(connection, key)?.as_ref().map(Stored::record))
}

/// Stores under `key`, and lets go of a few records that have expired, the one under `key` among them.
pub fn put(connection: &Connection, key: &ScopedKey, stored: &Stored, now: Timestamp) -> rusqlite::Result<()> {
    sweep(connection, key, now)?;
    let (kind, fingerprint, answer, expires_at) = match stored {
        Stored::Finished { fingerprint, answer, settled, expires_at } => {
            (if *settled { SETTLED } else { FINISHED }, Some(fingerprint.as_str()), Some(answer), expires_at)
        }
        Stored::Tombstone { expires_at } => (TOMBSTONE, None, None, expires_at),
    };
    let headers = answer.map(|answer| serde_json::to_string(&answer.headers).expect("pairs of strings are JSON"));
    let body = answer.and_then(|answer| answer.body.as_deref());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO amends_idempotency (scope, key, kind, fingerprint, status, headers, body, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            key.scope,
            key.key,
            kind,
            fingerprint,
            answer.map(|answer| answer.status.as_u16()),
            headers,
            body,
            milliseconds(*expires_at)
        ])?;
    Ok(())
}

/// Notes that the action under `key` was compensated.
pub fn settle(connection: &Connection, key: &ScopedKey) -> rusqlite::Result<()> {
    if find(connection, key)?.is_some_and(|stored| stored.record().remains()) {
        connection
            .prepare_cached("UPDATE amends_idempotency SET kind = ?3 WHERE scope = ?1 AND key = ?2")?
            .execute([&key.scope, &key.key, SETTLED])?;
    }
    connection
        .prepare_cached("DELETE FROM amends_idempotency_effect WHERE scope = ?1 AND key = ?2")?
        .execute([&key.scope, &key.key])?;
    Ok(())
}

/// Lets go of records that have expired: the one under `key`, and the oldest others. Of what took effect the key is kept.
fn sweep(connection: &Connection, key: &ScopedKey, now: Timestamp) -> rusqlite::Result<()> {
    // A record that cannot be read may have taken effect, and must not stand in the way of the others.
    let remains = |row: &Row<'_>| read(row).map_or(true, |stored| stored.record().remains());
    let expired: Vec<(i64, bool)> = connection
        .prepare_cached(
            "SELECT rowid, kind, fingerprint, status, '[]' AS headers, NULL AS body, expires_at FROM amends_idempotency
             WHERE scope = ?1 AND key = ?2 AND expires_at <= ?3
             UNION
             SELECT * FROM (
                 SELECT rowid, kind, fingerprint, status, '[]', NULL, expires_at FROM amends_idempotency
                 WHERE expires_at <= ?3 ORDER BY expires_at LIMIT ?4)",
        )?
        .query_map(params![key.scope, key.key, milliseconds(now), SWEPT_BY_ONE], |row| Ok((row.get(0)?, remains(row))))?
        .collect::<Result<_, _>>()?;
    for (place, remains) in expired {
        if remains {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO amends_idempotency_effect (scope, key, expired_at)
                     SELECT scope, key, expires_at FROM amends_idempotency WHERE rowid = ?1",
                )?
                .execute([place])?;
        }
        connection.prepare_cached("DELETE FROM amends_idempotency WHERE rowid = ?1")?.execute([place])?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let kind: String = row.get("kind")?;
    let expires_at = Timestamp(row.get::<_, i64>("expires_at")?.unsigned_abs());
    match kind.as_str() {
        TOMBSTONE => Ok(Stored::Tombstone { expires_at }),
        FINISHED | SETTLED => {
            let headers: String = row.get("headers")?;
            let status: u16 = row.get("status")?;
            let answer = Answer {
                status: StatusCode::from_u16(status).map_err(|error| damaged("status", error))?,
                headers: serde_json::from_str(&headers).map_err(|error| damaged("headers", error))?,
                body: row.get::<_, Option<Vec<u8>>>("body")?.map(Bytes::from),
            };
            let fingerprint = Fingerprint::from_stored(row.get("fingerprint")?);
            Ok(Stored::Finished { fingerprint, answer, settled: kind == SETTLED, expires_at })
        }
        other => Err(damaged("kind", format!("`{other}` is no kind of record"))),
    }
}

/// A row that cannot be read is an error, and so an answer of 503: running the request again would be a guess.
fn damaged(column: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    tracing::error!(column, "an idempotency record cannot be read");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
}

/// SQLite's integers are signed, and [`Timestamp::NEVER`] is the largest of them.
fn milliseconds(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
