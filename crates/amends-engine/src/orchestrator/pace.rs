//! How fast compensations may begin. A plain value; the time comes in as an argument.

use amends_core::time::Timestamp;
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Spreads events evenly: never more than a given number in any second.
///
/// The second is divided into windows, each with its share, and no window of that length, wherever it begins,
/// holds more than the share. So a rate of 200 a second is 20 in any tenth of a second, not 200 at once.
#[derive(Debug)]
pub(super) struct Pace {
    share: usize,
    window_ms: u64,
    recent: VecDeque<Timestamp>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Pace {
        let per_second = u64::from(per_second.max(1));
        let share = (per_second / 10).max(1);
        // Rounded up, so that the rate is never exceeded.
        Pace { share: share as usize, window_ms: (1_000 * share).div_ceil(per_second), recent: VecDeque::new() }
    }

    /// When the next event may happen: now, or later.
    pub(super) fn next_at(&self, now: Timestamp) -> Timestamp {
        if self.recent.len() < self.share {
            return now;
        }
        self.recent.front().map_or(now, |oldest| oldest.plus(self.window_ms).max(now))
    }

    /// How many events may happen now.
    pub(super) fn allowance(&self, now: Timestamp) -> usize {
        let inside = self.recent.iter().filter(|at| at.plus(self.window_ms) > now).count();
        self.share.saturating_sub(inside)
    }

    /// Notes that an event happens now.
    pub(super) fn take(&mut self, now: Timestamp) {
        self.recent.push_back(now);
        while self.recent.len() > self.share {
            self.recent.pop_front();
        }
    }
}
