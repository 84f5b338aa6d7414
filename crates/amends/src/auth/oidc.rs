//! Tokens of an OpenID Connect issuer: JWTs, judged by the keys that it publishes (OpenID Connect Discovery 1.0, RFC 7517,
//! RFC 7519).
//!
//! The algorithm is the key's and never the token's to choose. Keys are fetched when a token names one that is not known, and
//! now and then so that one that was withdrawn goes; in either case not more often than twice a minute, whoever asks.

use super::ring_provider::{ALGORITHMS, PROVIDER};
use super::{Caller, Proof, Refusal};
use crate::config::{Oidc, is_private};
use amends_client::Role;
use amends_core::text::innermost;
use amends_core::time::Timestamp;
use anyhow::Context;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How far the issuer's clock may be from this one's, in seconds.
const LEEWAY_S: u64 = 60;
/// The least time between two attempts at fetching the keys.
const PAUSE: Duration = Duration::from_secs(30);
/// How old keys may be before they are fetched again.
const KEYS_KEPT: Duration = Duration::from_secs(600);
/// How long one answer of the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer of the issuer may be, in bytes.
const ANSWER_BYTES: usize = 1024 * 1024;
/// How long a subject's name may be, in characters, as for `Amends-Actor`.
const NAME_CHARS: usize = 128;

/// An issuer, with its keys as far as they are known.
pub(super) struct Issuer {
    about: Oidc,
    http: reqwest::Client,
    keys: RwLock<Arc<Keys>>,
    /// When they were last asked for. Whoever holds it is the one who asks.
    attempt: Mutex<Option<Instant>>,
}

/// The keys that can be used here, and when they were fetched: never, if there is no time.
#[derive(Default)]
struct Keys {
    keys: Vec<Key>,
    fetched: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The part of an issuer's description that is needed.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Keys as an issuer publishes them. Each is read by itself, because there may be some of kinds that are not known here.
#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl Issuer {
    pub(super) fn new(about: Oidc) -> anyhow::Result<Issuer> {
        // The process may have chosen its cryptography already; then this changes nothing.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        let _already_installed = PROVIDER.install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .context("no HTTP client for the issuer can be set up")?;
        Ok(Issuer { about, http, keys: RwLock::default(), attempt: Mutex::new(None) })
    }

    /// Who shows this token.
    pub(super) async fn prove(&self, token: &str) -> Result<Proof, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::Invalid("the token is not known, and is no JWT"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refusal::Invalid("the token is not signed with RS256, ES256 or EdDSA"));
        }
        if header.crit.is_some() {
            return Err(Refusal::Invalid("the token has critical headers that are not known here"));
        }
        let keys = self.keys_with(header.kid.as_deref()).await;
        let Some(key) = keys.find(header.kid.as_deref()) else {
            return Err(match keys.fetched {
                Some(_) => Refusal::Invalid("the token is signed with a key that its issuer does not publish"),
                None => Refusal::NoKeys,
            });
        };
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.about.issuer]);
        validation.set_audience(&[&self.about.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let decoded = decode::<Map<String, Value>>(token, &key.key, &validation);
        let claims = decoded.map_err(|error| Refusal::Invalid(reason(error.kind())))?.claims;
        self.caller(&claims)
    }

    fn caller(&self, claims: &Map<String, Value>) -> Result<Proof, Refusal> {
        let name = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        // A blank would let somebody be called `kim for lee`.
        if name.is_empty()
            || name.chars().count() > NAME_CHARS
            || name.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(Refusal::Invalid(
                "the subject of the token is not 1 to 128 printable characters without blanks",
            ));
        }
        let expires_s = claims.get("exp").and_then(Value::as_f64).unwrap_or_default() as u64;
        let until = Timestamp(expires_s.saturating_add(LEEWAY_S).saturating_mul(1_000));
        let role = self.role(claims);
        Ok(Proof { caller: Caller { name: name.to_owned(), role }, until: Some(until) })
    }

    /// The greatest of the roles that the token has.
    fn role(&self, claims: &Map<String, Value>) -> Option<Role> {
        let named = match claim(claims, &self.about.roles_claim) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(name)) => vec![name.as_str()],
            Some(_) | None => Vec::new(),
        };
        let has = |names: &[String]| names.iter().any(|name| named.contains(&name.as_str()));
        self.about.roles.iter().filter(|(_, names)| has(names)).map(|(role, _)| *role).max()
    }

    /// The keys, fetched where this one is not among them, or they are old.
    async fn keys_with(&self, id: Option<&str>) -> Arc<Keys> {
        let keys = self.known();
        if keys.find(id).is_none() {
            // Whoever comes while they are fetched waits for them.
            let attempt = self.attempt.lock().await;
            self.refresh(attempt).await;
        } else if keys.fetched.is_some_and(|fetched| fetched.elapsed() >= KEYS_KEPT)
            && let Ok(attempt) = self.attempt.try_lock()
        {
            self.refresh(attempt).await;
        }
        self.known()
    }

    fn known(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refresh(&self, mut attempt: tokio::sync::MutexGuard<'_, Option<Instant>>) {
        if attempt.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *attempt = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                let keys = Arc::new(Keys { keys, fetched: Some(Instant::now()) });
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
            }
            // Those that were there go on being taken.
            Err(error) => tracing::warn!("the keys of {} cannot be fetched: {error:#}", self.about.issuer),
        }
    }

    async fn fetch(&self) -> anyhow::Result<Vec<Key>> {
        let base = self.about.issuer.trim_end_matches('/');
        let discovery: Discovery = self.get(&format!("{base}/.well-known/openid-configuration")).await?;
        anyhow::ensure!(discovery.issuer == self.about.issuer, "it calls itself `{}`", discovery.issuer);
        let published: Published = self.get(&discovery.jwks_uri).await?;
        let keys: Vec<Key> = published.keys.into_iter().filter_map(usable).collect();
        anyhow::ensure!(!keys.is_empty(), "it publishes no key for RS256, ES256 or EdDSA");
        Ok(keys)
    }

    async fn get<T: DeserializeOwned>(&self, address: &str) -> anyhow::Result<T> {
        let url = Url::parse(address).with_context(|| format!("`{address}` is no URL"))?;
        anyhow::ensure!(is_private(&url), "{url} is an http address of another machine");
        let unreachable = |error: reqwest::Error| anyhow::anyhow!("{url}: {}", innermost(&error));
        let mut response = self.http.get(url.clone()).send().await.map_err(unreachable)?;
        anyhow::ensure!(response.status().is_success(), "{url} answers {}", response.status());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= ANSWER_BYTES, "{url} answers with more than {ANSWER_BYTES} bytes");
        }
        serde_json::from_slice(&body).with_context(|| format!("{url} does not answer as it should"))
    }
}

impl Keys {
    /// The key of this name. A token may leave the name out where there is only one.
    fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.keys.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// A published key, if it is for signatures that are taken here.
fn usable(published: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(published).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // Among them symmetric keys, which no issuer should publish.
        _ => return None,
    };
    let is_for_this = jwk.common.key_algorithm.is_none_or(|said| said == named);
    let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|said| *said == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (is_for_this && is_for_signatures).then_some(Key { id: jwk.common.key_id, algorithm, key })
}

/// A claim by its name, or by the way that leads to it.
fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// Why a token is not valid, without anything of the token.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the signature of the token is wrong",
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidAlgorithm => "the token is signed in another way than its key is for",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks one of `exp`, `iss`, `aud` and `sub`",
        // Kinds are the library's to add to.
        _ => "the token cannot be read",
    }
}
