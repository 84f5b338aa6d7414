//! The pace over seconds that begin anywhere.

use super::Pace;
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
        assert!(taken.len() * 10 >= rate as usize * 5 * 9, "rate {rate} is reached to nine tenths: {}", taken.len());
    }
}
