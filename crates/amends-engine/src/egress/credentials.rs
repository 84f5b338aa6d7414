//! What a call shows a participant of who calls: the headers that the configuration adds, and signatures. Secrets are read
//! at every send, so that they can be changed without a restart; one that is not there means that nothing is sent.

use super::tls;
use crate::settings::{Participant, Secret};
use amends_core::signature::{self, Key, Signed, content_digest};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::Full;
use std::time::{Duration, SystemTime};

#[cfg(test)]
mod tests;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// Adds the headers that the configuration says.
pub(super) async fn add_headers(headers: &mut HeaderMap, participant: &Participant) -> Result<(), String> {
    for (name, secret) in &participant.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))?;
        headers.append(name, secret.header().await?);
    }
    Ok(())
}

/// Signs a request whose body is `body` by each of the participant's keys; if it has none, the request stays as it is.
pub(super) async fn sign(
    request: &mut Request<Full<Bytes>>,
    body: &[u8],
    participant: &Participant,
    now: SystemTime,
) -> Result<(), String> {
    if participant.signing.is_empty() {
        return Ok(());
    }
    let mut keys = Vec::with_capacity(participant.signing.len());
    for (id, secret) in &participant.signing {
        keys.push(secret.key(id).await?);
    }
    let digest = content_digest(body);
    let uri = request.uri();
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let call = Signed {
        method: request.method().as_str(),
        path: uri.path(),
        query: uri.query(),
        content_digest: &digest,
        idempotency_key: header(super::IDEMPOTENCY_KEY).ok_or("a call without an idempotency key cannot be signed")?,
        action_key: header(super::AMENDS_ACTION_KEY),
    };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let signed = signature::sign(&call, &keys, seconds);
    let made = [(CONTENT_DIGEST, digest), (SIGNATURE_INPUT, signed.signature_input), (SIGNATURE, signed.signature)];
    for (name, value) in made {
        request.headers_mut().insert(name, HeaderValue::try_from(value).expect("it is made of printable ASCII"));
    }
    Ok(())
}

impl Participant {
    /// What would keep calls from being sent if they were sent now: each credential that is not there or cannot be used, as
    /// a sentence for people.
    pub async fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        for (name, secret) in &self.headers {
            obstacles.extend(secret.header().await.err().map(|why| format!("the header {name}: {why}")));
        }
        for (id, secret) in &self.signing {
            obstacles.extend(secret.key(id).await.err());
        }
        if let Some(tls) = &self.tls {
            obstacles.extend(tls::check(tls).await.err());
        }
        obstacles
    }
}

impl Secret {
    /// The value; read anew each time, so that it can be rotated.
    ///
    /// # Errors
    /// A sentence that says where it is not.
    pub async fn read(&self) -> Result<String, String> {
        Ok(match self {
            Secret::Env(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?
            }
            Secret::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            Secret::Plain(value) => value.clone(),
        })
    }

    /// As the value of a header.
    async fn header(&self) -> Result<HeaderValue, String> {
        let value = self.read().await?;
        let mut value = HeaderValue::try_from(value).map_err(|_| format!("{self:?} cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// As the secret of a signing key.
    async fn key(&self, id: &str) -> Result<Key, String> {
        let wrong = |why: String| format!("the signing key {id} ({self:?}) cannot be used: {why}");
        let secret = self.read().await.map_err(wrong)?;
        Key::new(id, secret.as_bytes()).map_err(|error| wrong(error.to_string()))
    }
}
