//! What makes two dead letters alike: the same step of the same definition failed in the same way. It does not matter
//! for which saga, when, or which numbers the participant's text had in it.

use super::Direction;
use crate::answer::Failure;
use crate::redact::own_words;
use crate::text::{hexadecimal, without_particulars};
use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

/// Where a failure happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedAt<'a> {
    /// In one of a step's calls.
    Step {
        /// The step's name.
        name: &'a str,
        /// Which of its calls.
        direction: Direction,
    },
    /// The saga itself could not be read.
    Saga,
}

/// A short text that all failures alike share, and no others: 64 bits of SHA-256, in 16 hexadecimal digits. `definition` is
/// the definition's name, whatever its version.
///
/// Of an answer only its status and its problem type count, since the rest of it is about one saga. Where there was none it counts
/// what Amends itself says in the message, without numbers and quotations: so nobody's words can be guessed from it.
#[must_use]
pub fn failure_fingerprint(definition: &str, at: FailedAt<'_>, failure: &Failure) -> String {
    let (step, direction) = match at {
        FailedAt::Step { name, direction } => (name, direction.as_str()),
        FailedAt::Saga => ("", "saga"),
    };
    let status = failure.status.map(|status| status.to_string()).unwrap_or_default();
    let kind = failure.kind.as_deref().unwrap_or_default();
    let message = match failure {
        Failure { status: None, kind: None, message } => without_particulars(&own_words(message)),
        Failure { .. } => String::new(),
    };
    let mut hash = Sha256::new();
    for part in [definition, step, direction, &status, kind, &message] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize()[..8])
}
