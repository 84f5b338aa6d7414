//! When permits are asked for, and for how long they are good.

use super::{NONE_MS, Permits, USE_WITHIN_MS};
use amends_core::time::Timestamp;

const NOW: Timestamp = Timestamp(1_000);

#[test]
fn permits_are_asked_for_where_they_are_wanted_and_one_at_a_time() {
    let mut permits = Permits::new(200, NOW);
    assert_eq!(permits.ask(0, NOW), None);
    assert_eq!(permits.ask(7, NOW).map(|request| (request.wanted, request.per_second)), Some((7, 200)));
    assert_eq!((permits.ask(7, NOW), permits.next_at(NOW)), (None, None), "that is on its way");
    permits.granted(2, NOW.plus(5));
    for left in [2, 1] {
        assert_eq!((permits.left(NOW.plus(5)), permits.ask(7, NOW.plus(5))), (left, None));
        permits.take();
    }
    assert!(permits.ask(7, NOW.plus(5)).is_some());
    permits.granted(0, NOW.plus(6));
    assert_eq!((permits.ask(7, NOW.plus(7)), permits.next_at(NOW.plus(7))), (None, Some(NOW.plus(6 + NONE_MS))));
}

#[test]
fn a_permit_is_good_for_a_while_counted_from_the_asking() {
    let mut permits = Permits::new(200, NOW);
    assert!(permits.ask(1, NOW).is_some());
    permits.granted(1, NOW.plus(USE_WITHIN_MS - 1));
    assert_eq!([USE_WITHIN_MS - 1, USE_WITHIN_MS].map(|ms| permits.left(NOW.plus(ms))), [1, 0]);
}

/// A slow store must not hold compensations up for ever.
#[test]
fn where_the_store_is_slow_permits_are_good_for_longer() {
    let mut permits = Permits::new(200, NOW);
    let slow = 3 * USE_WITHIN_MS;
    assert!(permits.ask(1, NOW).is_some());
    let now = NOW.plus(slow);
    permits.granted(1, now);
    assert_eq!(permits.left(now), 0, "too late");
    assert!(permits.ask(1, now).is_some_and(|request| request.use_within_ms > slow));
    permits.granted(1, now.plus(slow));
    assert_eq!(permits.left(now.plus(slow)), 1);
}
