//! The table of the API's tokens.

use super::audit;
use super::errors::Failure;
use super::rows::{id_at, optional_time_at, time_at};
use super::writer::Writing;
use crate::columns::{self, time};
use crate::{Deed, StoredToken, TokenDigest, TokenQuery};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

const PUT: &str = "
    INSERT INTO token (id, name, role, digest, created_at, expires_at, revoked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (id) DO NOTHING";
const FIND: &str = "SELECT id, name, role, digest, created_at, expires_at, revoked_at FROM token WHERE digest = ?1";
const LIST: &str = "
    SELECT id, name, role, digest, created_at, expires_at, revoked_at FROM token WHERE id < ?1
    ORDER BY id DESC LIMIT ?2";
const REVOKE: &str = "UPDATE token SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
const FIND_BY_ID: &str = "SELECT id, name, role, digest, created_at, expires_at, revoked_at FROM token WHERE id = ?1";

pub(super) fn put(writing: &mut Writing<'_>, token: &StoredToken, deed: &Deed) -> Result<(), Failure> {
    let StoredToken { id, name, role, digest, created_at, expires_at, revoked_at } = token;
    let (expires_at, revoked_at) = (expires_at.map(time), revoked_at.map(time));
    let values = params![id.as_bytes(), name, role, digest, time(*created_at), expires_at, revoked_at];
    if writing.sql.prepare_cached(PUT)?.execute(values)? > 0 {
        audit::put(writing.sql, deed)?;
    }
    Ok(())
}

pub(super) fn find(sql: &Connection, digest: &TokenDigest) -> rusqlite::Result<Option<StoredToken>> {
    sql.prepare_cached(FIND)?.query_row([digest], token).optional()
}

/// Newest first.
pub(super) fn list(sql: &Connection, query: TokenQuery) -> rusqlite::Result<Vec<StoredToken>> {
    let before = query.before.unwrap_or(Uuid::max());
    sql.prepare_cached(LIST)?.query_map(params![before.as_bytes(), columns::limit(query.limit)], token)?.collect()
}

pub(super) fn revoke(writing: &mut Writing<'_>, id: Uuid, deed: &Deed) -> Result<Option<StoredToken>, Failure> {
    let sql = writing.sql;
    if sql.prepare_cached(REVOKE)?.execute(params![id.as_bytes(), time(deed.at)])? > 0 {
        audit::put(sql, deed)?;
    }
    Ok(sql.prepare_cached(FIND_BY_ID)?.query_row([id.as_bytes()], token).optional()?)
}

fn token(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    Ok(StoredToken {
        id: id_at(row, 0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        digest: row.get(3)?,
        created_at: time_at(row, 4)?,
        expires_at: optional_time_at(row, 5)?,
        revoked_at: optional_time_at(row, 6)?,
    })
}
