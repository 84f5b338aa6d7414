//! `Retry-After` (RFC 9110, section 10.2.3): when a participant wants to be asked again.

use std::time::SystemTime;

/// How long to wait from `now`, in milliseconds, by a header's value: seconds, or a date. `None` where it is neither;
/// 0 where the date has passed.
#[must_use]
pub fn parse(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let left = httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default();
    u64::try_from(left.as_millis()).ok()
}
