//! The longest definitions that are taken: what fuzzing would have to be very patient to find.

use super::{WORDS, run};
use amends_core::limits::DEFINITION_BYTES;
use std::time::{Duration, Instant};

/// In a build that is not optimised, on a machine that does other things, too.
const SLOW: Duration = Duration::from_secs(10);

/// What a word, said again and again, follows.
const BEGINNINGS: [&str; 3] = [
    "",
    "saga: x\nkey: \"{{ input.id }}\"\nsteps:\n  a: ",
    "saga: x\nkey: \"{{ input.id }}\"\nsteps:\n  a: { action: { post: \"shop:/x\", body: [",
];

#[test]
fn the_longest_that_are_taken_take_bounded_time() {
    let mut slow = Vec::new();
    for beginning in BEGINNINGS {
        for word in WORDS {
            let room = DEFINITION_BYTES - beginning.len();
            let source = beginning.to_owned() + &word.repeat(room / word.len());
            let began = Instant::now();
            run(source.as_bytes());
            let took = began.elapsed();
            if took > SLOW {
                slow.push((beginning, word, took));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}
