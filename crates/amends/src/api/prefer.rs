//! The `Prefer` header (RFC 7240), as far as it is known here: `wait=SECONDS`. Other preferences are passed over, as
//! the standard has it; a `wait` that cannot be read is refused, because its sender would wait for something else.

use super::problem::{self, ApiProblem};
use http::{HeaderMap, HeaderValue};

/// The longest wait, in seconds: connections of callers and proxies rarely live longer without a word.
const LONGEST_WAIT_S: u64 = 60;

/// How many seconds the caller wants to wait, at most the longest that is granted.
///
/// # Errors
/// Where `wait` is not a whole number.
pub(crate) fn wait_seconds(headers: &HeaderMap) -> Result<Option<u64>, ApiProblem> {
    let values = headers.get_all("prefer").iter().map(HeaderValue::as_bytes);
    for value in values {
        // Bytes outside ASCII can only be in a quoted word of some other preference.
        let value = String::from_utf8_lossy(value);
        // The first of several equal preferences counts (section 2).
        if let Some(wait) = value.split([',', ';']).find_map(wait_of) {
            return wait.map(Some);
        }
    }
    Ok(None)
}

/// What is answered to a wait that was granted.
pub(crate) fn applied(seconds: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("wait={seconds}")).expect("a number is a header's text")
}

fn wait_of(preference: &str) -> Option<Result<u64, ApiProblem>> {
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    let digits = value.trim().trim_matches('"');
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty();
    if !number {
        let detail = format!(
            "`Prefer: {}` cannot be understood; write whole seconds, such as `Prefer: wait=30`",
            preference.trim()
        );
        return Some(Err(ApiProblem::new(problem::BAD_HEADER, detail)));
    }
    // Digits that do not fit are a longer wait than any that is granted.
    Some(Ok(digits.parse().unwrap_or(u64::MAX).min(LONGEST_WAIT_S)))
}
