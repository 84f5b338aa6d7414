//! Points in time and spans of it, as the machine sees them: whole milliseconds, handed in from outside.

use serde::{Deserialize, Serialize};
use std::fmt;

#[cfg(test)]
mod tests;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// A time that never comes: what is due then is held until a person lets it go.
    pub const NEVER: Timestamp = Timestamp(i64::MAX as u64);

    /// This time and `milliseconds` more; it saturates at [`Timestamp::NEVER`].
    #[must_use]
    pub fn plus(self, milliseconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(milliseconds)).min(Self::NEVER)
    }

    /// How many milliseconds have passed from `earlier` to this time; 0 if none have.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in UTC with milliseconds, as the API shows it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => write!(f, "{time:.3}"),
            None => f.write_str("never"),
        }
    }
}

/// Reads a duration as definitions and configuration write it: a whole number with one of the units
/// `ms`, `s`, `m`, `h`, `d`; several may follow each other (`1h30m`). Returns milliseconds.
///
/// # Errors
/// Returns a sentence that says what is wrong and how to write it.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a duration is empty; write a number with a unit, such as `30s`".into());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => {
                return Err(format!(
                    "`{text}` is not a duration; write a number with a unit (ms, s, m, h, d), such as `30s`"
                ));
            }
        };
        let number: u64 = number.parse().map_err(|_| {
            format!("`{text}` is not a duration; write a number with a unit (ms, s, m, h, d), such as `30s`")
        })?;
        total = number
            .checked_mul(scale)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= MAX_DURATION_MS)
            .ok_or_else(|| format!("`{text}` is longer than ten years, the longest duration there is"))?;
        rest = tail;
    }
    Ok(total)
}

const MAX_DURATION_MS: u64 = 10 * 366 * 86_400_000;

/// Writes milliseconds as [`parse_duration`] reads them.
#[must_use]
pub fn format_duration(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".into();
    }
    let mut rest = milliseconds;
    let mut text = String::new();
    for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    text
}
