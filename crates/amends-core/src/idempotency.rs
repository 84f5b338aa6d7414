//! The keys that calls carry, and the rules by which a service honours them.
//!
//! The middleware, a proxy and the server's own API all ask [`decide`] here, so that a key means the same
//! everywhere. The header follows draft-ietf-httpapi-idempotency-key-header-07; the rules on compensations close
//! the three races of a saga: a call that is repeated, a compensation whose action never arrived, and an action
//! that arrives after its compensation.
//!
//! Invariants: within its expiry a finished record is replayed and never run again; an unknown outcome and a call
//! in flight never expire into a second execution; an action never runs on top of a tombstone; what took effect can be
//! undone however long ago it was.
//!
//! Nothing here stores, waits or looks at a clock.

use crate::text::hexadecimal;
use crate::time::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;

#[cfg(test)]
mod tests;

/// Why an `Idempotency-Key` or `Amends-Action-Key` header is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No character is left once the quotes are taken off.
    #[error("the key is empty; send 1 to 255 characters")]
    Empty,
    /// More than 255 characters.
    #[error("the key is longer than 255 characters")]
    TooLong,
    /// Neither a structured-field string nor a bare key.
    #[error(
        "the key is malformed; send a quoted string, or visible ASCII without quotes, backslashes, commas and semicolons"
    )]
    Malformed,
    /// The header was sent more than once.
    #[error("the key was sent more than once; send one header")]
    Repeated,
}

/// What a key was first used for: a versioned SHA-256, written `1:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

/// The parts of a request that make it the same request. Headers that change on the way are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FingerprintParts<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The path as it was sent, still percent-encoded.
    pub path: &'a str,
    /// What follows the question mark; empty without one.
    pub query: &'a str,
    /// The `Content-Type` as it was sent; empty without one.
    pub content_type: &'a [u8],
    /// The body's bytes.
    pub body: &'a [u8],
}

/// What is known about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The first request with it still runs.
    InFlight {
        /// What that request is.
        fingerprint: Fingerprint,
    },
    /// It has a definite answer.
    Finished {
        /// What it was used for.
        fingerprint: Fingerprint,
        /// The status that was answered.
        status: u16,
        /// From when on the key counts as new.
        expires_at: Timestamp,
    },
    /// It took effect, and nothing of that is left to undo: it was compensated since, or is a compensation itself.
    Settled {
        /// What it was used for.
        fingerprint: Fingerprint,
        /// From when on the key counts as new.
        expires_at: Timestamp,
    },
    /// It took effect and has expired, and no more than that is remembered.
    Remembered,
    /// It was passed on, and whether it took effect is not known.
    Unknown {
        /// What it was used for.
        fingerprint: Fingerprint,
    },
    /// A compensation came first, so the action must not run any more.
    Tombstone {
        /// From when on the key counts as new.
        expires_at: Timestamp,
    },
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run it.
    Execute,
    /// Answer what was answered the first time.
    Replay,
    /// Refuse it with 422: the key belongs to another request.
    Mismatch,
    /// Refuse it with 409 and `Retry-After`: the first request still runs.
    InFlight,
    /// Refuse it with 409, to stay: whether the first request took effect is not known.
    Unknown,
    /// Refuse it with 409, to stay: its compensation came first.
    Compensated,
}

/// What to do with a compensation, by what is known about the action that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompensationDecision {
    /// Run it: the action took effect, or may have.
    Run,
    /// Refuse it with 409 and `Retry-After`: the action still runs.
    AskAgain,
    /// Put a [`Record::Tombstone`] under the action's key and answer 200 with `Amends-Null-Compensation: true`.
    LeaveTombstone,
    /// The same answer, and nothing to write: what is on record keeps the action from ever taking effect.
    NothingToUndo,
}

/// Whether a request does something or undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It does something.
    Action,
    /// It undoes an action, and says which by `Amends-Action-Key`.
    Compensation,
}

/// As much of a handler's answer as decides what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What was asked for.
    pub direction: Direction,
    /// The status code.
    pub status: u16,
    /// Whether it carries `Retry-After`.
    pub retry_after: bool,
}

/// What becomes of a handler's writes and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both are kept.
    Commit,
    /// The answer is kept and the writes are not: a refusal has no effect.
    Refuse,
    /// Neither is kept; the next request with the key runs.
    Release,
}

/// The key that every call of a step's action carries: `{business key}-{saga id}-{step}`.
///
/// It is safe in a header without quotes: bytes other than visible ASCII, and `"`, `\`, `,`, `;`, `%` and the space,
/// are percent-encoded. It never has more than 242 characters, so that [`compensation_key`] keeps to the 255 that
/// a key may have. A business key of at most 128 visible ASCII characters always fits. One whose encoding does not
/// is cut between two characters, and `~` and half of its SHA-256 in hexadecimal stand for the rest.
///
/// The step's name must keep to [`crate::limits::NAME_BYTES`].
#[must_use]
pub fn action_key(business_key: &str, saga_id: impl fmt::Display, step: &str) -> String {
    let saga_id = saga_id.to_string();
    let (saga_id, step) = (encode(&saga_id), encode(step));
    let room = (KEY_CHARS - COMPENSATION_SUFFIX.len()).saturating_sub(saga_id.len() + step.len() + "--".len());
    [encode_within(business_key, room), saga_id, step].join("-")
}

/// The key that every call of a step's compensation carries: the action's, and `-compensation`.
#[must_use]
pub fn compensation_key(business_key: &str, saga_id: impl fmt::Display, step: &str) -> String {
    action_key(business_key, saga_id, step) + COMPENSATION_SUFFIX
}

/// Reads the key from the values of a header; `None` where the header is absent.
///
/// A value is a structured-field string (RFC 9651, section 3.3.3) without parameters, or a bare key; `"k"` is `k`.
///
/// # Errors
/// [`KeyError`] where there is a header without a usable key.
pub fn parse_key<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<String>, KeyError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(KeyError::Repeated);
    }
    let value = value.trim_ascii();
    let key = match value.strip_prefix(b"\"") {
        Some(quoted) => unquote(quoted)?,
        None => bare(value)?,
    };
    match key.len() {
        0 => Err(KeyError::Empty),
        1..=KEY_CHARS => Ok(Some(key)),
        _ => Err(KeyError::TooLong),
    }
}

/// What to do with a request, by what is known about its key.
///
/// Another fingerprint is told before *in flight*, so that a client's mistake shows at once. A tombstone comes before
/// both, for it does not know what the action would have been.
#[must_use]
pub fn decide(record: Option<&Record>, fingerprint: &Fingerprint, now: Timestamp) -> Decision {
    let (known, decision) = match record {
        None | Some(Record::Remembered) => return Decision::Execute,
        Some(
            Record::Finished { expires_at, .. } | Record::Settled { expires_at, .. } | Record::Tombstone { expires_at },
        ) if *expires_at <= now => return Decision::Execute,
        Some(Record::Tombstone { .. }) => return Decision::Compensated,
        Some(Record::Finished { fingerprint, .. } | Record::Settled { fingerprint, .. }) => {
            (fingerprint, Decision::Replay)
        }
        Some(Record::InFlight { fingerprint }) => (fingerprint, Decision::InFlight),
        Some(Record::Unknown { fingerprint }) => (fingerprint, Decision::Unknown),
    };
    if known == fingerprint { decision } else { Decision::Mismatch }
}

/// What to do with a compensation, by what is known about the key in its `Amends-Action-Key`. The compensation's own
/// key is judged first, by [`decide`].
///
/// - An action that was *refused* (its answer is a stored 4xx) had no effect, so its compensation must not run: the
///   answer is that of a null compensation. The refusal itself keeps the action away, as a tombstone would; once
///   it has expired it no longer does, and a tombstone takes its place.
/// - An action whose outcome is *unknown* is compensated: there may be an effect. The handler must bear that there is none.
/// - A *finished* action is compensated even after its record has expired: its effect has not. So of an expired record
///   of which something [remains](Record::remains), a store must keep as much as [`Record::Remembered`] says.
/// - A *settled* action is compensated as long as its record lives, for the layer cannot know whether another compensation
///   undoes the same; once it has expired, it must not be undone a second time.
#[must_use]
pub fn decide_compensation(action: Option<&Record>, now: Timestamp) -> CompensationDecision {
    match action {
        None => CompensationDecision::LeaveTombstone,
        Some(Record::InFlight { .. }) => CompensationDecision::AskAgain,
        Some(Record::Unknown { .. } | Record::Remembered) => CompensationDecision::Run,
        Some(Record::Finished { status, .. }) if !is_refusal(*status) => CompensationDecision::Run,
        Some(
            Record::Finished { expires_at, .. } | Record::Settled { expires_at, .. } | Record::Tombstone { expires_at },
        ) if *expires_at <= now => CompensationDecision::LeaveTombstone,
        Some(Record::Settled { .. }) => CompensationDecision::Run,
        Some(Record::Finished { .. } | Record::Tombstone { .. }) => CompensationDecision::NothingToUndo,
    }
}

/// Whether an action's answer with this status is kept: it is where asking again could not change it. Never 5xx, and
/// of 4xx never 401, 403, 408, 425 and 429, which speak of the caller or of the moment rather than of the request.
#[must_use]
pub fn is_stored(status: u16) -> bool {
    matches!(status, 200..=499) && !matches!(status, 401 | 403 | 408 | 425 | 429)
}

impl Record {
    /// Whether there is still something to undo once it has expired. A store may forget everything else then: it decides
    /// as nothing does.
    #[must_use]
    pub fn remains(&self) -> bool {
        match self {
            Record::Finished { status, .. } => !is_refusal(*status),
            Record::Remembered | Record::InFlight { .. } | Record::Unknown { .. } => true,
            Record::Settled { .. } | Record::Tombstone { .. } => false,
        }
    }
}

impl Answered {
    /// What becomes of the handler's writes and of its answer.
    ///
    /// A 4xx with `Retry-After` invites another try, so it is not kept. Nor is a compensation's refusal: a compensation is
    /// tried until it succeeds, and a refusal on record would refuse it for ever.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if !is_stored(self.status) {
            return Ending::Release;
        }
        if !is_refusal(self.status) {
            return Ending::Commit;
        }
        match self.direction {
            Direction::Action if !self.retry_after => Ending::Refuse,
            Direction::Action | Direction::Compensation => Ending::Release,
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a request. Each part goes in with its length, so that no two requests run together.
    #[must_use]
    pub fn new(parts: &FingerprintParts<'_>) -> Fingerprint {
        let mut hasher = Sha256::new();
        let parts =
            [parts.method.as_bytes(), parts.path.as_bytes(), parts.query.as_bytes(), parts.content_type, parts.body];
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Fingerprint(format!("1:{}", hexadecimal(&hasher.finalize())))
    }

    /// A fingerprint as a store gave it back. One of another version equals none that is computed now.
    #[must_use]
    pub fn from_stored(text: String) -> Fingerprint {
        Fingerprint(text)
    }

    /// As a store keeps it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest key, in characters, which are bytes too: keys are ASCII.
const KEY_CHARS: usize = 255;
/// Half of a SHA-256 tells business keys apart as well as a UUID would.
const DIGEST_BYTES: usize = 16;
const COMPENSATION_SUFFIX: &str = "-compensation";

/// What a bare header value cannot hold, or could not be read back unambiguously with.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\\').add(b',').add(b';').add(b'%');

fn is_refusal(status: u16) -> bool {
    status >= 400
}

fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, UNSAFE).into()
}

fn encode_within(business_key: &str, room: usize) -> Cow<'_, str> {
    let encoded = encode(business_key);
    if encoded.len() <= room {
        return encoded;
    }
    let digest = hexadecimal(&Sha256::digest(business_key.as_bytes())[..DIGEST_BYTES]);
    let prefix_room = room.saturating_sub(digest.len() + 1);
    let mut shortened = String::new();
    let mut bytes = [0; 4];
    for character in business_key.chars() {
        let encoded = encode(character.encode_utf8(&mut bytes));
        if shortened.len() + encoded.len() > prefix_room {
            break;
        }
        shortened.push_str(&encoded);
    }
    format!("{shortened}~{digest}").into()
}

fn bare(value: &[u8]) -> Result<String, KeyError> {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';');
    if !value.iter().all(allowed) {
        return Err(KeyError::Malformed);
    }
    Ok(value.iter().copied().map(char::from).collect())
}

/// Reads a structured-field string from behind its opening quote.
fn unquote(quoted: &[u8]) -> Result<String, KeyError> {
    let mut key = String::new();
    let mut bytes = quoted.iter().copied();
    loop {
        match bytes.next() {
            Some(b'"') if bytes.len() == 0 => return Ok(key),
            Some(b'\\') => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => key.push(char::from(escaped)),
                Some(_) | None => return Err(KeyError::Malformed),
            },
            Some(byte @ 0x20..=0x7e) if byte != b'"' => key.push(char::from(byte)),
            Some(_) | None => return Err(KeyError::Malformed),
        }
    }
}
