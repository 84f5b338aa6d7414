//! How values stand in the columns of every database, both ways.

use crate::{Count, Counter};
use amends_core::machine::Status;
use amends_core::time::Timestamp;
use uuid::Uuid;

const MS_PER_MINUTE: u64 = 60_000;
const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
/// From which age on, in minutes, counts are kept for how many minutes together. The first only adds up what several
/// connections have counted.
const OLD: [(i64, i64); 3] = [(HOUR, 1), (2 * DAY, HOUR), (35 * DAY, DAY)];

/// A time as it is stored: one past the end of time is the end of time.
pub(crate) fn time(at: Timestamp) -> i64 {
    number(at.0)
}

/// A number as it is stored: the integers of databases have a sign, and nothing here counts further than they do.
pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How many rows at most, as SQL wants it.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The lowest id that a saga can have that was born at this time: an id begins with 48 bits of milliseconds.
pub(crate) fn first_id(at: Timestamp) -> Uuid {
    const MS_MAX: u64 = (1 << 48) - 1;
    Uuid::from_u128(u128::from(at.0.min(MS_MAX)) << 80)
}

/// The minute that something is counted in, since the epoch.
pub(crate) fn minute(count: &Count) -> u64 {
    count.at.0 / MS_PER_MINUTE
}

/// Up to which minute counts are kept for how many minutes together.
pub(crate) fn old_minutes(now: Timestamp) -> [(i64, i64); 3] {
    let now = number(now.0 / MS_PER_MINUTE);
    // A whole number of the periods that are added up.
    OLD.map(|(age, minutes)| ((now - age) - (now - age).rem_euclid(minutes), minutes))
}

pub(crate) fn counter(counter: Counter) -> &'static str {
    match counter {
        Counter::Started => "started",
        Counter::Completed => "completed",
        Counter::Compensated => "compensated",
        Counter::DeadLettered => "dead-lettered",
    }
}

/// The status that this text stands for.
pub(crate) fn status(text: &str) -> Option<Status> {
    const ALL: [Status; 5] =
        [Status::Running, Status::Compensating, Status::Completed, Status::Compensated, Status::Stuck];
    ALL.into_iter().find(|status| status.as_str() == text)
}
