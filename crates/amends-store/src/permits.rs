//! The rate of compensations that all orchestrators on a store share: the arithmetic, in microseconds.
//!
//! Permits are given out along a line of time, each as far from the one before it as the rate says, and none long before its
//! place. What is granted early or used late makes a second fuller by so much, so the places are further apart by that.

use crate::PermitRequest;

/// How long before its place a permit is given out at most.
pub(crate) const EARLY_US: i64 = 50_000;

/// How far apart the places of two permits are.
pub(crate) fn spacing_us(request: &PermitRequest) -> i64 {
    let second_us = 1_000_000 + EARLY_US + 1_000 * i64::try_from(request.use_within_ms).unwrap_or(i64::MAX / 2_000);
    let per_second = i64::from(request.per_second.max(1));
    (second_us + per_second - 1) / per_second
}

/// How many are granted now, and the next one's place after that. `next` is the next one's place before; one that is far ahead
/// is of a clock that was wrong.
pub(crate) fn grant(next: i64, now: i64, request: &PermitRequest) -> (usize, i64) {
    let spacing = spacing_us(request);
    let place = next.clamp(now, now.saturating_add(EARLY_US + spacing));
    let early = now + EARLY_US - place;
    let free = if early < 0 { 0 } else { 1 + early / spacing };
    let granted = free.min(i64::try_from(request.wanted).unwrap_or(i64::MAX));
    (usize::try_from(granted).unwrap_or(0), place + granted * spacing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asks, and whenever, no second sees more than the rate: each permit is used at the worst moment that it can be.
    #[test]
    fn no_second_sees_more_than_the_rate() {
        for (per_second, use_within_ms) in [(1, 50), (7, 50), (200, 50), (200, 2_000), (100_000, 50)] {
            let mut chance = fastrand::Rng::with_seed(u64::from(per_second));
            let (mut next, mut now, mut granted) = (0, 0, Vec::new());
            while now < 20_000_000 && granted.len() < 400_000 {
                now += chance.i64(1..40_000);
                let request = PermitRequest { wanted: chance.usize(1..10_000), per_second, use_within_ms };
                let (count, place) = grant(next, now, &request);
                next = place;
                granted.extend(std::iter::repeat_n(now, count));
            }
            let late_us = 1_000 * i64::try_from(use_within_ms).expect("a short time");
            // The one after a full rate is used at once, the first of them as late as it may be.
            let rate = per_second as usize;
            let full = granted.windows(rate + 1).all(|window| window[rate] - (window[0] + late_us) >= 1_000_000);
            assert!(full, "{per_second} a second, used within {use_within_ms} ms");
            let seconds = usize::try_from(now / 1_000_000).expect("a short time");
            let slower = (1_050 + use_within_ms as usize) * granted.len();
            assert!(slower >= 950 * rate * seconds, "{per_second} a second are hardly used: {}", granted.len());
        }
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nobody_up() {
        let request = PermitRequest { wanted: 1, per_second: 10, use_within_ms: 50 };
        let (none, next) = grant(3_600_000_000, 1_000_000, &request);
        let (some, _) = grant(next, 1_000_000 + spacing_us(&request) + 1, &request);
        assert_eq!((none, some), (0, 1));
    }
}
