//! The table of the API's tokens.

use super::connect::{Link, Value};
use super::errors::Failure;
use super::rows::{optional_time_at, text_at, time_at};
use super::text::stored;
use super::{audit, commit_of};
use crate::columns::{self, time};
use crate::{Deed, StoredToken, TokenDigest, TokenQuery};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

const COLUMNS: &str = "id, name, role, digest, created_at, expires_at, revoked_at";

pub(super) async fn put(link: &Link, token: &StoredToken, deed: &Deed) -> Result<(), Failure> {
    let text = format!(
        "INSERT INTO amends.token ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING id"
    );
    let (name, role, digest) = (stored(&token.name), stored(&token.role), token.digest.as_slice());
    let created_at = time(token.created_at);
    let (expires_at, revoked_at) = (token.expires_at.map(time), token.revoked_at.map(time));
    let values: [(Value<'_>, Type); 7] = [
        (&token.id, Type::UUID),
        (&name, Type::TEXT),
        (&role, Type::TEXT),
        (&digest, Type::BYTEA),
        (&created_at, Type::INT8),
        (&expires_at, Type::INT8),
        (&revoked_at, Type::INT8),
    ];
    link.begin().await?;
    if !link.query_text(&text, &values).await?.is_empty() {
        audit::put(link, deed).await?;
    }
    commit_of(link).await
}

pub(super) async fn find(link: &Link, digest: &TokenDigest) -> Result<Option<StoredToken>, Error> {
    let text = format!("SELECT {COLUMNS} FROM amends.token WHERE digest = $1");
    let found = link.query_text(&text, &[(&digest.as_slice(), Type::BYTEA)]).await?;
    found.first().map(token).transpose()
}

/// Newest first.
pub(super) async fn list(link: &Link, query: TokenQuery) -> Result<Vec<StoredToken>, Error> {
    let text = format!("SELECT {COLUMNS} FROM amends.token WHERE id < $1 ORDER BY id DESC LIMIT $2");
    let (before, limit) = (query.before.unwrap_or(Uuid::max()), columns::limit(query.limit));
    link.query_text(&text, &[(&before, Type::UUID), (&limit, Type::INT8)]).await?.iter().map(token).collect()
}

pub(super) async fn revoke(link: &Link, id: Uuid, deed: &Deed) -> Result<Option<StoredToken>, Failure> {
    let revoke = "UPDATE amends.token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id";
    let find = format!("SELECT {COLUMNS} FROM amends.token WHERE id = $1");
    link.begin().await?;
    if !link.query_text(revoke, &[(&id, Type::UUID), (&time(deed.at), Type::INT8)]).await?.is_empty() {
        audit::put(link, deed).await?;
    }
    let found = link.query_text(&find, &[(&id, Type::UUID)]).await?;
    commit_of(link).await?;
    Ok(found.first().map(token).transpose()?)
}

/// Reads the columns in the order of [`COLUMNS`]. A digest of another length is nobody's.
fn token(row: &Row) -> Result<StoredToken, Error> {
    Ok(StoredToken {
        id: row.try_get(0)?,
        name: text_at(row, 1)?,
        role: text_at(row, 2)?,
        digest: row.try_get::<_, Vec<u8>>(3)?.try_into().unwrap_or_default(),
        created_at: time_at(row, 4)?,
        expires_at: optional_time_at(row, 5)?,
        revoked_at: optional_time_at(row, 6)?,
    })
}
