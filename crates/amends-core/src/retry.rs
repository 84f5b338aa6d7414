//! When to ask again. Pure arithmetic: chance comes in as a number.
//!
//! The delay is *full jitter*: uniform between zero and an exponentially growing ceiling, so that callers who
//! failed together do not come back together (Brooker, "Exponential Backoff and Jitter", AWS, 2015).

#[cfg(test)]
mod tests;

/// How often and how soon something is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The ceiling of the first delay, in milliseconds.
    pub initial_ms: u64,
    /// What the ceiling is multiplied by after each attempt; at least 1.
    pub factor: f64,
    /// The highest ceiling, in milliseconds.
    pub max_ms: u64,
    /// Milliseconds from the first attempt after which no other is begun, *in progress* included. Of a compensation: how
    /// long the delays between its attempts may be in all, for it may also wait in the queue through no fault of its own.
    pub total_ms: u64,
}

impl RetryPolicy {
    /// Of an action, where the definition says nothing.
    pub const ACTION: RetryPolicy =
        RetryPolicy { attempts: 5, initial_ms: 200, factor: 2.0, max_ms: 10_000, total_ms: 300_000 };
    /// Of a retriable step: patient, for nothing may be undone any more.
    pub const RETRIABLE: RetryPolicy =
        RetryPolicy { attempts: 20, initial_ms: 200, factor: 2.0, max_ms: 60_000, total_ms: 3_600_000 };
    /// Of a compensation: patient, for giving up means waking a person.
    pub const COMPENSATION: RetryPolicy =
        RetryPolicy { attempts: 12, initial_ms: 500, factor: 2.0, max_ms: 60_000, total_ms: 3_600_000 };
    /// Of a probe.
    pub const PROBE: RetryPolicy =
        RetryPolicy { attempts: 5, initial_ms: 500, factor: 2.0, max_ms: 10_000, total_ms: 300_000 };

    /// The delay's ceiling in milliseconds after `failed` attempts (1 after the first).
    #[must_use]
    pub fn ceiling_ms(&self, failed: u32) -> u64 {
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let ceiling = self.initial_ms as f64 * self.factor.powi(exponent);
        if ceiling.is_finite() { (ceiling as u64).min(self.max_ms) } else { self.max_ms }
    }

    /// The delay in milliseconds before the next attempt after `failed` ones. `chance` is uniform over all of
    /// `u64`; `asked_ms` is what the participant asked for (`Retry-After`): the delay is never shorter, and the jitter
    /// comes on top of it, for whoever was turned away together was asked to come back together.
    #[must_use]
    pub fn delay_ms(&self, failed: u32, chance: u64, asked_ms: Option<u64>) -> u64 {
        let share = (chance >> 11) as f64 / (1u64 << 53) as f64;
        let jittered = (self.ceiling_ms(failed) as f64 * share) as u64;
        jittered.saturating_add(asked_ms.unwrap_or(0))
    }
}

/// Derives an independent uniform number from `seed` for the place `index` (the finaliser of SplitMix64,
/// Steele, Lea and Flood, 2014).
#[must_use]
pub fn spread(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
