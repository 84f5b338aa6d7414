//! The breaker from failure to recovery.

use super::Breaker;
use crate::settings::BreakerSettings;
use amends_core::time::Timestamp;

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

/// Otherwise calls that were given up would use up what is let through, and nothing would ever close it.
#[test]
fn a_call_that_is_not_made_gives_its_place_back() {
    let mut breaker = Breaker::new(BreakerSettings { failures: 1, open_ms: 100, probes: 2 });
    breaker.end(false, Timestamp(1_000));
    let later = Timestamp(1_100);
    breaker.begin();
    breaker.begin();
    breaker.forget();
    assert_eq!(breaker.allowance(later), 1);
}
