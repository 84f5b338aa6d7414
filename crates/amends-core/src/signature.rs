//! Signatures of calls, in the one form that Amends makes and takes: HTTP Message Signatures (RFC 9421) with
//! `hmac-sha256`, over a `Content-Digest` (RFC 9530) with `sha-256`. The engine signs, the layer for services verifies.
//!
//! ```text
//! Content-Digest: sha-256=:…:
//! Signature-Input: sig1=("@method" "@path" "@query" "content-digest" "idempotency-key");created=…;keyid="…";alg="hmac-sha256"
//! Signature: sig1=:…:
//! ```
//!
//! Where the call has `Amends-Action-Key`, `"amends-action-key"` is covered too, as the last: without that header a compensation
//! would be an action.
//!
//! A call carries one signature for each of one or two keys, `sig1` and `sig2`, so that a key can be changed without a gap: one
//! that verifies is enough. Whatever has another form is refused, even where the RFC would allow it: what is not read
//! loosely cannot be read in two ways.
//!
//! Nothing here reads a clock or a secret's source; both come in as arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;

#[cfg(test)]
mod tests;

/// A secret's length at the least, in bytes: what HMAC gives out with SHA-256.
pub const SECRET_BYTES: usize = 32;
/// How many keys a call may be signed with, and a service may take.
pub const KEYS: usize = 2;
/// A key's id at the most, in bytes.
const ID_BYTES: usize = 64;

/// What is covered, in this order.
const COMPONENTS: &str = r#"("@method" "@path" "@query" "content-digest" "idempotency-key")"#;
/// The same of a call that undoes another.
const COMPONENTS_OF_UNDO: &str =
    r#"("@method" "@path" "@query" "content-digest" "idempotency-key" "amends-action-key")"#;
const LABELS: [&str; KEYS] = ["sig1", "sig2"];

/// The headers of a signed call.
pub const CONTENT_DIGEST: &str = "Content-Digest";
/// See [`CONTENT_DIGEST`].
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// See [`CONTENT_DIGEST`].
pub const ACTION_KEY: &str = "Amends-Action-Key";
/// See [`CONTENT_DIGEST`].
pub const SIGNATURE: &str = "Signature";
/// See [`CONTENT_DIGEST`].
pub const SIGNATURE_INPUT: &str = "Signature-Input";

/// A secret that both sides know, and the name that both have for it.
#[derive(Clone)]
pub struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

/// Why something cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its id is empty, too long or has other characters.
    #[error("a signing key's id has 1 to {ID_BYTES} ASCII letters, digits, `-`, `_` and `.`")]
    Id,
    /// The secret is too short to keep anybody from guessing it.
    #[error("the signing secret has {bytes} bytes; it must have at least {SECRET_BYTES}")]
    Short {
        /// How many it has.
        bytes: usize,
    },
}

/// What is signed of a call. None of it has a line break in it, which a request line and headers cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The path as it is sent, still percent-encoded.
    pub path: &'a str,
    /// What follows the question mark, still percent-encoded; `None` and an empty one are signed alike.
    pub query: Option<&'a str>,
    /// The value of `Content-Digest`, as [`content_digest`] makes it.
    pub content_digest: &'a str,
    /// The value of `Idempotency-Key`.
    pub idempotency_key: &'a str,
    /// The value of `Amends-Action-Key`, where the call undoes another.
    pub action_key: Option<&'a str>,
}

/// The headers that carry signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `Signature-Input`: what is covered, when, and by which key.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// The head of a call as it arrived. A header that is not there is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The path as it arrived.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
    /// `Amends-Action-Key`.
    pub action_key: Option<&'a str>,
    /// `Content-Digest`.
    pub content_digest: Option<&'a str>,
    /// `Signature-Input`.
    pub signature_input: Option<&'a str>,
    /// `Signature`.
    pub signature: Option<&'a str>,
}

/// A call whose head is signed. Its body is not known yet: the digest of it is.
#[must_use = "the body may be another one than was signed"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    content_digest: &'a str,
}

/// When a signature counts. Times are in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The time, since the Unix epoch.
    pub now_seconds: u64,
    /// How far from it a signature may have been made, before or after.
    pub tolerance_seconds: u64,
}

/// Why a call does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header that a signed call carries is missing.
    #[error("the call is not signed: it has no {header}")]
    NotSigned {
        /// Its name.
        header: &'static str,
    },
    /// A header has another form.
    #[error("{header} cannot be read: {why}")]
    Malformed {
        /// Its name.
        header: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It covers other components, or these in another order.
    #[error("the signature must cover exactly {needed}, in this order")]
    OtherComponents {
        /// What it must cover.
        needed: &'static str,
    },
    /// It was made by keys that are not known here.
    #[error("no key is known here by the id {ids}")]
    UnknownKey {
        /// What the call calls them.
        ids: String,
    },
    /// It was made too long ago, or the clocks differ.
    #[error(
        "the signature was made {seconds} s {} now by the clock here, and {tolerance_seconds} s are allowed: \
         it is a replay, or the clocks differ",
        if *.later { "after" } else { "before" }
    )]
    OutOfTime {
        /// How far from now.
        seconds: u64,
        /// Whether it lies after now.
        later: bool,
        /// How far it may be.
        tolerance_seconds: u64,
    },
    /// The body is another one.
    #[error("Content-Digest is not the sha-256 of the body as it arrived")]
    DigestDiffers,
    /// The secret is another one, or what it covers was changed on the way.
    #[error(
        "the signature by the key {id} does not fit: the secrets differ, or the method, path, query, digest or \
         a key was changed on the way"
    )]
    SignatureDiffers {
        /// The key's id.
        id: String,
    },
}

impl Key {
    /// A key. The secret is used as it is, byte for byte; it is not decoded.
    ///
    /// # Errors
    /// [`KeyError`] where the id cannot stand in a header, or the secret has fewer than [`SECRET_BYTES`].
    pub fn new(id: &str, secret: &[u8]) -> Result<Key, KeyError> {
        if !is_id(id) {
            return Err(KeyError::Id);
        }
        if secret.len() < SECRET_BYTES {
            return Err(KeyError::Short { bytes: secret.len() });
        }
        Ok(Key { id: id.to_owned(), mac: Hmac::new_from_slice(secret).expect("HMAC takes a secret of any length") })
    }

    /// What both sides call it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn mac(&self, base: &str) -> Hmac<Sha256> {
        self.mac.clone().chain_update(base)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Whether something can be the id of a key: what needs no quoting wherever it stands.
#[must_use]
pub fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(plain)
}

/// The value of `Content-Digest` (RFC 9530) for a body, which may be empty.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Signs a call by each of the keys; more than [`KEYS`] are not used.
#[must_use]
pub fn sign(call: &Signed<'_>, keys: &[Key], created_seconds: u64) -> SignatureHeaders {
    let (mut inputs, mut signatures) = (Vec::new(), Vec::new());
    for (key, label) in keys.iter().zip(LABELS) {
        let parameters = parameters(components(call.action_key), created_seconds, &key.id);
        let bytes = key.mac(&base(call, &parameters)).finalize().into_bytes();
        signatures.push(format!("{label}=:{}:", STANDARD.encode(bytes)));
        inputs.push(format!("{label}={parameters}"));
    }
    SignatureHeaders { signature_input: inputs.join(", "), signature: signatures.join(", ") }
}

/// Whether a call was signed by one of the keys, at about this time, and its head has not been changed since. What comes
/// back must be asked about the body too. Signatures are compared in constant time.
///
/// # Errors
/// [`Refusal`], which says why not.
pub fn verify<'a>(received: &Received<'a>, keys: &[Key], validity: Validity) -> Result<Verified<'a>, Refusal> {
    let needed = |value: Option<&'a str>, header| value.ok_or(Refusal::NotSigned { header });
    let inputs = inputs(needed(received.signature_input, SIGNATURE_INPUT)?, components(received.action_key))?;
    let signatures = signatures(needed(received.signature, SIGNATURE)?)?;
    if inputs.len() != signatures.len() {
        return Err(Refusal::Malformed { header: SIGNATURE, why: "it has not one member for each of Signature-Input" });
    }
    let call = Signed {
        method: received.method,
        path: received.path,
        query: received.query,
        content_digest: needed(received.content_digest, CONTENT_DIGEST)?,
        idempotency_key: needed(received.idempotency_key, IDEMPOTENCY_KEY)?,
        action_key: received.action_key,
    };
    let ids: Vec<&str> = inputs.iter().map(|input| input.key_id).collect();
    let mut refusal = Refusal::UnknownKey { ids: ids.join(", ") };
    for (input, signature) in inputs.iter().zip(&signatures) {
        for key in keys.iter().filter(|key| key.id == input.key_id) {
            match check(&call, input, signature, key, validity) {
                Ok(()) => return Ok(Verified { content_digest: call.content_digest }),
                Err(why) => refusal = why,
            }
        }
    }
    Err(refusal)
}

impl Verified<'_> {
    /// Whether this is the body that was signed.
    ///
    /// # Errors
    /// [`Refusal::DigestDiffers`] where it is not.
    pub fn with_body(self, body: &[u8]) -> Result<(), Refusal> {
        if self.content_digest == content_digest(body) { Ok(()) } else { Err(Refusal::DigestDiffers) }
    }
}

/// One member of `Signature-Input`.
struct Input<'a> {
    created_seconds: u64,
    key_id: &'a str,
}

fn check(call: &Signed<'_>, input: &Input<'_>, signature: &[u8], key: &Key, validity: Validity) -> Result<(), Refusal> {
    let base = base(call, &parameters(components(call.action_key), input.created_seconds, input.key_id));
    if key.mac(&base).verify_slice(signature).is_err() {
        return Err(Refusal::SignatureDiffers { id: key.id.clone() });
    }
    let Validity { now_seconds, tolerance_seconds } = validity;
    let seconds = now_seconds.abs_diff(input.created_seconds);
    if seconds > tolerance_seconds {
        let later = input.created_seconds > now_seconds;
        return Err(Refusal::OutOfTime { seconds, later, tolerance_seconds });
    }
    Ok(())
}

/// What is covered of a call that has this action key.
fn components(action_key: Option<&str>) -> &'static str {
    if action_key.is_some() { COMPONENTS_OF_UNDO } else { COMPONENTS }
}

/// What stands behind a label in `Signature-Input`, and at the end of the signature base.
fn parameters(components: &str, created_seconds: u64, key_id: &str) -> String {
    format!("{components};created={created_seconds};keyid=\"{key_id}\";alg=\"hmac-sha256\"")
}

/// The signature base (RFC 9421, section 2.5).
fn base(call: &Signed<'_>, parameters: &str) -> String {
    let Signed { method, path, query, content_digest, idempotency_key, action_key } = call;
    let query = query.unwrap_or_default();
    let action_key = action_key.map_or_else(String::new, |key| format!("\"amends-action-key\": {key}\n"));
    format!(
        "\"@method\": {method}\n\"@path\": {path}\n\"@query\": ?{query}\n\"content-digest\": {content_digest}\n\
         \"idempotency-key\": {idempotency_key}\n{action_key}\"@signature-params\": {parameters}"
    )
}

/// The members of a dictionary, which must be `sig1` or `sig1` and `sig2`. No value of ours has a comma in it.
fn members<'a>(header: &'static str, value: &'a str) -> Result<Vec<&'a str>, Refusal> {
    let malformed = |why| Refusal::Malformed { header, why };
    let members: Vec<&str> = value.split(", ").collect();
    if members.len() > KEYS {
        return Err(malformed("it has more than two members"));
    }
    let labelled = members.into_iter().zip(LABELS).map(|(member, label)| member.strip_prefix(label)?.strip_prefix('='));
    labelled.collect::<Option<_>>().ok_or(malformed("its members must be called sig1 and sig2"))
}

fn inputs<'a>(value: &'a str, components: &'static str) -> Result<Vec<Input<'a>>, Refusal> {
    members(SIGNATURE_INPUT, value)?.into_iter().map(|member| input(member, components)).collect()
}

fn input<'a>(member: &'a str, components: &'static str) -> Result<Input<'a>, Refusal> {
    let parameters = member.strip_prefix(components).ok_or(Refusal::OtherComponents { needed: components })?;
    let read = || {
        let (created, rest) = parameters.strip_prefix(";created=")?.split_once(";keyid=\"")?;
        let key_id = rest.strip_suffix("\";alg=\"hmac-sha256\"").filter(|id| is_id(id))?;
        // Written back it must be the same text: no sign, no leading zero.
        let created_seconds: u64 = created.parse().ok().filter(|seconds: &u64| seconds.to_string() == created)?;
        Some(Input { created_seconds, key_id })
    };
    const WHY: &str = "its parameters must be created, keyid and alg=\"hmac-sha256\", in this order";
    read().ok_or(Refusal::Malformed { header: SIGNATURE_INPUT, why: WHY })
}

fn signatures(value: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    members(SIGNATURE, value)?.into_iter().map(signature).collect()
}

fn signature(member: &str) -> Result<Vec<u8>, Refusal> {
    let text = member.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    let bytes = text.and_then(|text| STANDARD.decode(text).ok());
    bytes.ok_or(Refusal::Malformed { header: SIGNATURE, why: "a member must be base64 between colons" })
}
