//! When compensations for one participant are held back. A plain value; the time comes in as an argument.

use crate::settings::BreakerSettings;
use amends_core::time::Timestamp;

#[cfg(test)]
mod tests;

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
