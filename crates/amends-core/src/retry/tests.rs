//! The arithmetic of delays.

use super::{RetryPolicy, spread};
use proptest::prelude::*;

const POLICY: RetryPolicy =
    RetryPolicy { attempts: 5, initial_ms: 200, factor: 2.0, max_ms: 10_000, total_ms: 300_000 };

#[test]
fn the_ceiling_grows_up_to_the_highest() {
    #[rustfmt::skip]
    let rows = [(0, 200), (1, 200), (2, 400), (3, 800), (4, 1_600), (5, 3_200), (6, 6_400), (7, 10_000), (u32::MAX, 10_000)];
    for (failed, expected) in rows {
        assert_eq!(POLICY.ceiling_ms(failed), expected, "after {failed}");
    }
    let constant = RetryPolicy { factor: 1.0, ..POLICY };
    assert_eq!([1, 2, 1_000, u32::MAX].map(|failed| constant.ceiling_ms(failed)), [200; 4]);
    let steep = RetryPolicy { factor: 100.0, max_ms: u64::MAX, ..POLICY };
    assert_eq!(steep.ceiling_ms(10_000), u64::MAX, "past what a number can hold it is the highest");
}

#[test]
fn the_jitter_is_full() {
    #[rustfmt::skip]
    let rows = [(0, None, 0), (u64::MAX / 2, None, 399), (u64::MAX, None, 799), (0, Some(5_000), 5_000),
                (u64::MAX, Some(5_000), 5_799), (u64::MAX, Some(u64::MAX), u64::MAX), (u64::MAX, Some(0), 799)];
    for (chance, asked_ms, expected) in rows {
        assert_eq!(POLICY.delay_ms(3, chance, asked_ms), expected, "{chance} {asked_ms:?}");
    }
}

/// A mean of many that is far from the middle would be no jitter, or not the full one.
#[test]
fn the_jitter_is_uniform() {
    let delays: Vec<u64> = (0..10_000).map(|index| POLICY.delay_ms(7, spread(7, index), None)).collect();
    let mean = delays.iter().sum::<u64>() / 10_000;
    assert!((4_900..5_100).contains(&mean), "{mean}");
    for tenth in 0..10 {
        let inside = delays.iter().filter(|delay| **delay / 1_000 == tenth).count();
        assert!((850..1_150).contains(&inside), "{inside} in tenth {tenth}");
    }
}

#[test]
fn chance_is_spread() {
    let spreads: std::collections::HashSet<u64> =
        (0..100).flat_map(|seed| (0..100).map(move |index| spread(seed, index))).collect();
    assert_eq!(spreads.len(), 10_000, "no two places share their chance");
}

/// The first outputs of SplitMix64 from the seed 0, as its reference implementation gives them.
#[test]
fn the_spread_is_that_of_splitmix() {
    let expected = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
    assert_eq!([0, 1, 2].map(|index| spread(0, index)), expected);
}

proptest! {
    #[test]
    fn a_delay_is_within_its_bounds(
        failed in any::<u32>(), chance in any::<u64>(), asked in proptest::option::of(0u64..1_000_000),
        initial_ms in 1u64..100_000, factor in 1.0f64..100.0, more_ms in 0u64..1_000_000,
    ) {
        let policy = RetryPolicy { attempts: 5, initial_ms, factor, max_ms: initial_ms + more_ms, total_ms: 0 };
        let delay = policy.delay_ms(failed, chance, asked);
        prop_assert!(delay >= asked.unwrap_or(0), "never sooner than asked");
        prop_assert!(delay <= asked.unwrap_or(0) + policy.max_ms);
        prop_assert!(policy.ceiling_ms(failed) <= policy.ceiling_ms(failed.saturating_add(1)), "it never shrinks");
    }
}
