//! Durations as people write them, and times as they read them.

use super::{MAX_DURATION_MS, Timestamp, format_duration, parse_duration};
use proptest::prelude::*;

#[test]
fn durations() {
    #[rustfmt::skip]
    let rows = [
        ("0s", 0), ("1ms", 1), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000),
        ("1h30m", 5_400_000), ("1s500ms", 1_500), (" 5s ", 5_000), ("007s", 7_000), ("3660d", MAX_DURATION_MS),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_duration(text), Ok(expected), "{text}");
    }
}

/// With each unit as soon as there is one of it, and none of which there is nothing.
#[test]
fn durations_are_written_in_the_largest_units() {
    #[rustfmt::skip]
    let rows = [
        (0, "0s"), (1, "1ms"), (999, "999ms"), (1_000, "1s"), (59_999, "59s999ms"), (60_000, "1m"), (3_600_000, "1h"),
        (5_400_000, "1h30m"), (86_400_000, "1d"), (86_400_001, "1d1ms"), (90_061_001, "1d1h1m1s1ms"),
        (MAX_DURATION_MS, "3660d"),
    ];
    for (ms, expected) in rows {
        assert_eq!(format_duration(ms), expected, "{ms}");
    }
}

#[test]
fn what_is_no_duration() {
    for text in ["5", "s", "5 s", "1h 30m", "-5s", "1.5s", "5S", "5sec", "5µs", "٣s", "5s!", "m5", "1h30"] {
        let error = parse_duration(text).expect_err(text);
        assert_eq!(
            error,
            format!("`{text}` is not a duration; write a number with a unit (ms, s, m, h, d), such as `30s`")
        );
    }
    for text in ["3661d", "3660d1ms", "99999999999d", "18446744073709551615ms"] {
        let error = parse_duration(text).expect_err(text);
        assert_eq!(error, format!("`{text}` is longer than ten years, the longest duration there is"));
    }
    assert!(parse_duration("").expect_err("nothing").starts_with("a duration is empty"));
}

#[test]
fn times() {
    #[rustfmt::skip]
    let rows = [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_000_000_000_007, "2001-09-09T01:46:40.007Z"),
        (253_402_207_199_999, "9999-12-30T21:59:59.999Z"),
        (Timestamp::NEVER.0, "never"),
        (u64::MAX, "never"),
    ];
    for (ms, expected) in rows {
        assert_eq!(Timestamp(ms).to_string(), expected);
    }
}

#[test]
fn time_passes_and_never_overflows() {
    assert_eq!(Timestamp(5).plus(7), Timestamp(12));
    assert_eq!(Timestamp::NEVER.plus(1), Timestamp::NEVER);
    assert_eq!(Timestamp(5).plus(u64::MAX), Timestamp::NEVER);
    assert_eq!(Timestamp(12).since(Timestamp(5)), 7);
    assert_eq!(Timestamp(5).since(Timestamp(12)), 0, "a clock that was set back");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(ms in 0..=MAX_DURATION_MS) {
        prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
    }

    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        let _ = parse_duration(&text);
    }
}
