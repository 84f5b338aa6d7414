//! Headers that are read by hand: `Idempotency-Key`, `Retry-After`, `traceparent`. Each line is a value of one header.

use amends_core::idempotency::{action_key, compensation_key, parse_key};
use amends_engine::{retry_after, trace};
use std::time::{Duration, SystemTime};

pub(crate) const WORDS: &[&str] = &[
    "\"",
    "\\\"",
    "\\\\",
    ";",
    ",",
    "%22",
    " ",
    "\t",
    "\n",
    "\r",
    "\0",
    "120",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "+1",
    "1.5",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "GMT",
    ":60",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "ff-",
    "-00",
    "é",
    "🦀",
];

pub(crate) fn run(bytes: &[u8]) {
    let values: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if let Ok(Some(key)) = parse_key(values.iter().copied()) {
        assert!((1..=255).contains(&key.len()));
        assert!(key.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{key:?}");
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        assert_eq!(parse_key([quoted.as_bytes()]), Ok(Some(key)), "a key can be written down");
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_784_000_000_123);
    for value in values {
        let Ok(text) = std::str::from_utf8(value) else { continue };
        if let Some(wait_ms) = retry_after::parse(text, now) {
            let seconds = text.trim().parse::<u64>();
            assert!(seconds.is_ok() || wait_ms < 10_000 * 366 * 86_400_000, "a date ends with the year 9999: {text:?}");
        }
        if let Some((trace, span, _)) = trace::parse(text) {
            assert!(trace != [0; 16] && span != [0; 8], "an id of zeros is none: {text:?}");
        }
        for key in [action_key(text, "0197a3c2", "step"), compensation_key(text, "0197a3c2", "step")] {
            assert_eq!(parse_key([key.as_bytes()]), Ok(Some(key.clone())), "our own keys are read as they are written");
        }
    }
}
