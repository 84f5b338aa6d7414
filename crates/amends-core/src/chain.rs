//! The chain of the audit log: each entry is sealed by a hash over what it says and the hash before it, so that nothing of a log whose
//! end is known can be changed, left out, moved or put in without being noticed.
//!
//! An exported entry is a line of JSON in the canonical form of RFC 8785 (members sorted by name, no spaces), without members that
//! have nothing to say:
//!
//! ```text
//! {"action":"cancel","actor":"ada","at":"2026-03-01T09:30:00.000Z","hash":"…","number":2,"previous":"…","reason":"…","saga":"…"}
//! ```
//!
//! `hash` is the SHA-256, in lower-case hexadecimal, of that line without its member `hash`, in UTF-8 and without an end of line.
//! `number` counts from 1 without gaps. `previous` is the `hash` of the entry before, and 64 zeros in the first.
//!
//! Nothing here says that a log is complete: one that was cut off fits as far as it goes, and whoever can write it can make another
//! one that fits in itself. What shows either is a [`Head`] that is kept elsewhere.

use crate::text::hexadecimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Where a chain ends: the number of its last entry, and its hash. As text it is `NUMBER:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number; 0 where there is no entry.
    pub number: u64,
    /// The hash; all zeros where there is no entry.
    pub hash: Hash,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// When: RFC 3339 in UTC with milliseconds.
    pub at: String,
    /// Why; empty where nobody asked for a reason.
    pub reason: String,
    /// The id of the saga that it concerned, if it was one.
    pub saga: Option<String>,
    /// The step that it concerned, if it was one.
    pub step: Option<String>,
    /// What it concerned, where that was no saga.
    pub subject: Option<String>,
}

/// Why a log is not what it should be. Each names the first entry that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A line is none of an export.
    #[error("where entry {number} should be is a line that is none: {why}")]
    Unreadable {
        /// The number that was to come.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// What it says is not what was sealed.
    #[error("entry {number} was changed: its hash is not that of what it says")]
    Changed {
        /// Its number.
        number: u64,
    },
    /// It is whole, and was sealed behind another entry than the one before it.
    #[error("entry {number} does not follow the entry before it: one of the two was replaced")]
    Replaced {
        /// Its number.
        number: u64,
    },
    /// Entries are left out.
    #[error("entry {number} is missing: entry {found} stands in its place")]
    Missing {
        /// The first of them.
        number: u64,
        /// What stands in its place.
        found: u64,
    },
    /// Entries do not come in their order, or come twice.
    #[error("entry {number} is not in its place: entry {found} stands there")]
    Misplaced {
        /// The number that was to come.
        number: u64,
        /// What stands in its place.
        found: u64,
    },
    /// The end is cut off.
    #[error("the log ends with entry {number}, and entry {known} is known to have been there: the rest was cut off")]
    Truncated {
        /// The last that is there.
        number: u64,
        /// The known one.
        known: u64,
    },
    /// It is another one than was known.
    #[error("entry {number} is not the one that was known: the log was written anew, there or before")]
    Rewritten {
        /// Its number.
        number: u64,
    },
}

/// Holds the lines of an export, one after the other, to the rules.
#[derive(Clone, Debug)]
pub struct Verifier {
    head: Head,
    known: Option<Head>,
    /// An entry that did not come when it was to, and the one that came. What follows tells whether it is missing or comes later.
    gap: Option<(u64, u64)>,
}

impl Head {
    /// The end of a chain that has no entry.
    pub const BEGINNING: Head = Head { number: 0, hash: [0; 32] };

    /// The end of the chain once this entry is sealed.
    #[must_use]
    pub fn with(&self, entry: &Entry) -> Head {
        let number = self.number + 1;
        let text = Line::of(number, &self.hash, entry.clone(), None).text();
        Head { number, hash: Sha256::digest(text).into() }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hexadecimal(&self.hash))
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Head, String> {
        let read = || {
            let (number, hash) = text.split_once(':')?;
            Some(Head { number: number.parse().ok()?, hash: read_hash(hash)? })
        };
        read()
            .ok_or_else(|| "a head is the number of an entry, a colon and its hash in 64 hexadecimal digits".to_owned())
    }
}

/// An entry as a line of an export, without the end of the line: sealed as `head`, behind the one with the hash `previous`.
#[must_use]
pub fn line(entry: Entry, previous: &Hash, head: &Head) -> String {
    Line::of(head.number, previous, entry, Some(&head.hash)).text()
}

impl Verifier {
    /// For a log whose lines begin after one head, and lead to or past another one that is known, if one is.
    #[must_use]
    pub fn new(after: Head, known: Option<Head>) -> Verifier {
        Verifier { head: after, known, gap: None }
    }

    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// Says what does not fit. Whether an entry is missing or comes later is told by the lines after it or by
    /// [`Verifier::finish`].
    pub fn take(&mut self, text: &str) -> Result<(), Misfit> {
        let number = self.head.number + 1;
        let line = Line::read(text).map_err(|why| match self.gap {
            Some((number, found)) => Misfit::Missing { number, found },
            None => Misfit::Unreadable { number, why },
        })?;
        if let Some((number, found)) = self.gap {
            return if line.number == number { Err(Misfit::Misplaced { number, found }) } else { Ok(()) };
        }
        if line.number < number {
            return Err(Misfit::Misplaced { number, found: line.number });
        }
        if line.number > number {
            self.gap = Some((number, line.number));
            return Ok(());
        }
        let (previous, sealed) = (line.previous.clone(), line.hash.clone());
        let hash: Hash = Sha256::digest(Line { hash: None, ..line }.text()).into();
        if sealed != Some(hexadecimal(&hash)) {
            return Err(Misfit::Changed { number });
        }
        if previous != hexadecimal(&self.head.hash) {
            return Err(Misfit::Replaced { number });
        }
        self.head = Head { number, hash };
        self.compare()
    }

    /// Says that there are no more lines, and returns where the log ends.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn finish(self) -> Result<Head, Misfit> {
        if let Some((number, found)) = self.gap {
            return Err(Misfit::Missing { number, found });
        }
        self.compare()?;
        match self.known {
            Some(known) if known.number > self.head.number => {
                Err(Misfit::Truncated { number: self.head.number, known: known.number })
            }
            Some(_) | None => Ok(self.head),
        }
    }

    /// At the number of the head that is known it must be that head.
    fn compare(&self) -> Result<(), Misfit> {
        let number = self.head.number;
        let is_another = self.known.is_some_and(|known| known.number == number && known.hash != self.head.hash);
        if is_another { Err(Misfit::Rewritten { number }) } else { Ok(()) }
    }
}

/// A line as it is written. The members stand in the order of their names, which is what makes the text canonical: there are
/// no numbers in it but a small whole one, and `serde_json` escapes what RFC 8785 says, as it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    action: String,
    actor: String,
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    number: u64,
    previous: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    saga: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

impl Line {
    fn of(number: u64, previous: &Hash, entry: Entry, hash: Option<&Hash>) -> Line {
        let Entry { action, actor, at, reason, saga, step, subject } = entry;
        let (previous, hash) = (hexadecimal(previous), hash.map(|hash| hexadecimal(hash)));
        Line { action, actor, at, hash, number, previous, reason, saga, step, subject }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("a line is plain data with text keys")
    }

    /// A line that says the same in another form is none: whoever compares exports compares bytes.
    fn read(text: &str) -> Result<Line, String> {
        let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if line.text() == text { Ok(line) } else { Err("it is not in the canonical form".to_owned()) }
    }
}

/// Reads 64 lower-case hexadecimal digits.
#[must_use]
pub fn read_hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    let digits: Vec<u8> = text.chars().filter_map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    if text.len() != 64 || digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(hash)
}
