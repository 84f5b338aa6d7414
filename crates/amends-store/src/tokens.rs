//! Where the API's own tokens are kept: who may call, as far as this server is the one that says so.
//!
//! The store knows nothing of what a role permits, and never sees a token: only its digest.

use crate::{Deed, StoreError};
use amends_core::time::Timestamp;
use async_trait::async_trait;
use uuid::Uuid;

/// The SHA-256 digest of a token.
///
/// A token has 256 bits of chance in it, so nobody finds it from its digest by trying, and a slow hash, which is for what
/// people can remember, would only make each request dear.
pub type TokenDigest = [u8; 32];

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// Its id; ids sort by time.
    pub id: Uuid,
    /// Whose it is, as the audit log shows it.
    pub name: String,
    /// What it permits, as the server writes it.
    pub role: String,
    /// What it is found by; unique.
    pub digest: TokenDigest,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is not valid any more, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Which tokens to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenQuery {
    /// Only tokens whose id comes before this one.
    pub before: Option<Uuid>,
    /// How many at most.
    pub limit: usize,
}

/// The tokens. No row ever goes: who could do something once is part of what the audit log tells.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Keeps a new token. One whose id is there changes nothing, so that it can be called again; another one of the same
    /// digest is refused as damage. Where it is kept, the deed is in the audit log.
    async fn put_token(&self, token: StoredToken, deed: Deed) -> Result<(), StoreError>;

    /// The token with this digest, whether or not it is still valid.
    async fn token(&self, digest: TokenDigest) -> Result<Option<StoredToken>, StoreError>;

    /// A page of tokens, newest first, with those that are not valid any more.
    async fn tokens(&self, query: TokenQuery) -> Result<Vec<StoredToken>, StoreError>;

    /// Revokes a token and returns it; `None` where there is none of this id. One that was revoked before keeps its time, and
    /// otherwise the deed is in the audit log, and its time is the token's.
    async fn revoke_token(&self, id: Uuid, deed: Deed) -> Result<Option<StoredToken>, StoreError>;
}
