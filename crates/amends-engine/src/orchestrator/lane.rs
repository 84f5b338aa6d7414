//! What stands between a decision and a participant: a bound on calls in flight, and for compensations a pace, a
//! bound of their own, and a circuit breaker. Plain values; the time comes in as an argument.

use crate::settings::BreakerSettings;
use amends_core::time::Timestamp;
use std::collections::VecDeque;

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

/// A circuit breaker: after failures in a row it holds everything back for a while, then lets a few through.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: BreakerState,
}

#[derive(Debug)]
enum BreakerState {
    Closed { failures: u32 },
    Open { until: Timestamp },
    HalfOpen { let_through: u32, succeeded: u32 },
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, state: BreakerState::Closed { failures: 0 } }
    }

    /// How many more calls may begin now.
    pub(super) fn allowance(&self, now: Timestamp) -> usize {
        match self.state {
            BreakerState::Closed { .. } => usize::MAX,
            BreakerState::Open { until } if until > now => 0,
            BreakerState::Open { .. } => self.settings.probes as usize,
            BreakerState::HalfOpen { let_through, .. } => self.settings.probes.saturating_sub(let_through) as usize,
        }
    }

    /// When calls may begin again, if they may not now and time alone decides it.
    pub(super) fn opens_at(&self) -> Option<Timestamp> {
        match self.state {
            BreakerState::Open { until } => Some(until),
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } => None,
        }
    }

    /// Notes that a call begins.
    pub(super) fn begin(&mut self) {
        match &mut self.state {
            BreakerState::Closed { .. } => {}
            BreakerState::Open { .. } => self.state = BreakerState::HalfOpen { let_through: 1, succeeded: 0 },
            BreakerState::HalfOpen { let_through, .. } => *let_through += 1,
        }
    }

    /// Notes how a call ended.
    pub(super) fn end(&mut self, healthy: bool, now: Timestamp) {
        let open = BreakerState::Open { until: now.plus(self.settings.open_ms) };
        match (&mut self.state, healthy) {
            (BreakerState::Closed { failures }, true) => *failures = 0,
            (BreakerState::Closed { failures }, false) => {
                *failures += 1;
                if *failures >= self.settings.failures {
                    self.state = open;
                }
            }
            (BreakerState::HalfOpen { succeeded, .. }, true) => {
                *succeeded += 1;
                if *succeeded >= self.settings.probes {
                    self.state = BreakerState::Closed { failures: 0 };
                }
            }
            (BreakerState::HalfOpen { .. }, false) => self.state = open,
            // A call that began before it opened says nothing about now.
            (BreakerState::Open { .. }, _) => {}
        }
    }

    /// A call that had begun is not made after all.
    pub(super) fn forget(&mut self) {
        if let BreakerState::HalfOpen { let_through, .. } = &mut self.state {
            *let_through = let_through.saturating_sub(1);
        }
    }

    /// For people.
    pub(super) fn name(&self, now: Timestamp) -> &'static str {
        match self.state {
            BreakerState::Closed { .. } => "closed",
            BreakerState::Open { until } if until > now => "open",
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Pace};
    use crate::settings::BreakerSettings;
    use amends_core::time::Timestamp;

    #[test]
    fn no_second_wherever_it_begins_holds_more_than_the_rate() {
        for rate in [1, 3, 7, 10, 99, 200, 1_000] {
            let mut pace = Pace::new(rate);
            let mut taken = Vec::new();
            for ms in 0..5_000 {
                while pace.allowance(Timestamp(ms)) > 0 {
                    assert_eq!(pace.next_at(Timestamp(ms)), Timestamp(ms));
                    pace.take(Timestamp(ms));
                    taken.push(ms);
                }
                assert!(pace.next_at(Timestamp(ms)) > Timestamp(ms));
            }
            let most = taken.iter().map(|from| taken.iter().filter(|at| (*from..from + 1_000).contains(*at)).count());
            assert!(most.max() <= Some(rate as usize), "rate {rate}");
            assert!(
                taken.len() * 10 >= rate as usize * 5 * 9,
                "rate {rate} is reached to nine tenths: {}",
                taken.len()
            );
        }
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row_and_closes_after_probes() {
        let mut breaker = Breaker::new(BreakerSettings { failures: 2, open_ms: 100, probes: 2 });
        let now = Timestamp(1_000);
        breaker.end(false, now);
        breaker.end(true, now);
        breaker.end(false, now);
        assert_eq!((breaker.name(now), breaker.allowance(now)), ("closed", usize::MAX));
        breaker.end(false, now);
        assert_eq!((breaker.name(now), breaker.allowance(now)), ("open", 0));
        assert_eq!(breaker.opens_at(), Some(now.plus(100)));

        let later = now.plus(100);
        assert_eq!((breaker.name(later), breaker.allowance(later)), ("half-open", 2));
        breaker.begin();
        breaker.begin();
        assert_eq!(breaker.allowance(later), 0);
        breaker.end(true, later);
        breaker.end(false, later);
        assert_eq!(breaker.name(later), "open");

        let later = later.plus(100);
        breaker.begin();
        breaker.end(true, later);
        breaker.begin();
        breaker.end(true, later);
        assert_eq!(breaker.name(later), "closed");
    }
}
