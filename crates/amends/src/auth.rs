//! Who calls. A caller shows a token: the configured admin's, one that the store holds, or a JWT of the configured issuer.
//!
//! - A token is never kept, stored, logged or repeated in an error; what is kept for a moment is its digest.
//! - Whatever is not proved is refused: where a credential or a key cannot be read, nobody gets in by it.
//! - What a caller may do is not decided here but by the table in `api/access.rs`.

mod oidc;
mod recent;
mod ring_provider;

#[cfg(test)]
mod tests;

use crate::config;
use amends_client::Role;
use amends_core::text::hexadecimal;
use amends_core::time::Timestamp;
use amends_engine::Secret;
use amends_store::{StoreAndViews, StoreError, StoredToken, TokenDigest};
use oidc::Issuer;
use recent::Recent;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What every token of the store begins with, so that it is known where it has leaked to.
const PREFIX: &str = "amends_";
/// The name of the configured admin.
const ADMIN: &str = "admin";
/// The least that the configured admin's token must have, in bytes: whoever can connect can try.
const ADMIN_TOKEN_BYTES: usize = 16;
/// How many tokens are looked up at once: whoever tries some must not keep the store from those who read.
const LOOKUPS: usize = 2;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As the audit log shows them.
    pub name: String,
    /// What they may do; `None` where they are known and may do nothing.
    pub role: Option<Role>,
}

/// Somebody who proved who they are, and until when the proof holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proof {
    caller: Caller,
    until: Option<Timestamp>,
}

/// Why nobody knows who calls. The reasons hold nothing of the token.
#[derive(Debug)]
pub enum Refusal {
    /// The token proves nothing; this is why.
    Invalid(&'static str),
    /// The issuer's keys could not be had yet, so its tokens cannot be judged.
    NoKeys,
    /// The store could not be asked.
    Store(StoreError),
}

/// Finds out who calls.
pub struct Authenticator {
    store: Arc<dyn StoreAndViews>,
    admin_token: Option<Secret>,
    issuer: Option<Issuer>,
    recent: Recent,
    lookups: Semaphore,
}

impl Authenticator {
    /// One for this configuration, over the tokens of this store.
    ///
    /// # Errors
    /// Where no client can be set up for the issuer.
    pub fn new(auth: &config::Auth, store: Arc<dyn StoreAndViews>) -> anyhow::Result<Authenticator> {
        Ok(Authenticator {
            store,
            admin_token: auth.admin_token.clone(),
            issuer: auth.oidc.clone().map(Issuer::new).transpose()?,
            recent: Recent::default(),
            lookups: Semaphore::new(LOOKUPS),
        })
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn caller(&self, token: &str) -> Result<Caller, Refusal> {
        let digest = digest_of(token);
        if let Some(caller) = self.recent.find(&digest, Instant::now(), now()) {
            return Ok(caller);
        }
        // What is known is as old as the moment before it was asked for.
        let asked = Instant::now();
        let proof = self.prove(token, digest).await?;
        self.recent.keep(digest, proof.clone(), asked);
        Ok(proof.caller)
    }

    /// Forgets whom it knows, because something about them has changed.
    pub fn forget(&self) {
        self.recent.clear(Instant::now());
    }

    async fn prove(&self, token: &str, digest: TokenDigest) -> Result<Proof, Refusal> {
        if self.is_admin_token(&digest).await {
            return Ok(Proof { caller: Caller { name: ADMIN.to_owned(), role: Some(Role::Admin) }, until: None });
        }
        if token.starts_with(PREFIX) {
            return self.find(digest).await;
        }
        match &self.issuer {
            Some(issuer) => issuer.prove(token).await,
            None => Err(Refusal::Invalid("the token is not known")),
        }
    }

    /// Compares digests, and these in a time that does not depend on where they differ.
    async fn is_admin_token(&self, digest: &TokenDigest) -> bool {
        let Some(secret) = &self.admin_token else { return false };
        match secret.read().await {
            Ok(admin) if admin.len() >= ADMIN_TOKEN_BYTES => bool::from(digest_of(&admin).ct_eq(digest)),
            Ok(_) | Err(_) => false,
        }
    }

    async fn find(&self, digest: TokenDigest) -> Result<Proof, Refusal> {
        let _turn = self.lookups.acquire().await.expect("the semaphore is never closed");
        let found = self.store.token(digest).await.map_err(Refusal::Store)?;
        let StoredToken { name, role, expires_at, revoked_at, .. } =
            found.ok_or(Refusal::Invalid("the token is not known"))?;
        if revoked_at.is_some() {
            return Err(Refusal::Invalid("the token was revoked"));
        }
        if expires_at.is_some_and(|at| at <= now()) {
            return Err(Refusal::Invalid("the token has expired"));
        }
        // A role that a newer server knows permits nothing here.
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
        Ok(Proof { caller: Caller { name, role }, until: expires_at })
    }
}

/// Says at the start what will keep the configured admin out. It may come later, so the server starts all the same.
pub(crate) async fn warn_of_unusable(auth: &config::Auth) {
    let Some(secret) = &auth.admin_token else { return };
    match secret.read().await {
        Ok(token) if token.len() >= ADMIN_TOKEN_BYTES => {}
        Ok(_) => tracing::warn!(
            "{secret:?} has fewer than {ADMIN_TOKEN_BYTES} characters; it is not taken as the admin's token"
        ),
        Err(why) => tracing::warn!("the admin's token cannot be read: {why}"),
    }
}

/// Draws a new token, and gives it with its digest.
///
/// # Errors
/// Where the system gives no random bytes.
pub(crate) fn draw() -> Result<(String, TokenDigest), ring::error::Unspecified> {
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random)?;
    let token = format!("{PREFIX}{}", hexadecimal(&random));
    let digest = digest_of(&token);
    Ok((token, digest))
}

fn digest_of(token: &str) -> TokenDigest {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
