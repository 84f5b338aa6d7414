//! Makes new inputs from old ones, on any toolchain: no counters, but a corpus, words that mean something, and chance
//! from a seed.

use crate::Target;
use fastrand::Rng;

/// How many changes more than one are made to one input at most.
const CHANGES: u32 = 8;
/// How often at most something is repeated at once: depth and length are where bounds are.
const REPEATS: usize = 200;

/// An input made from one of `corpus`.
#[must_use]
pub fn mutant(target: &Target, corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = rng.choice(corpus).cloned().unwrap_or_default();
    // Half of them differ by one change, a quarter by two: much of what is changed often is refused at the door.
    for _ in 0..=rng.u32(..).trailing_zeros().min(CHANGES) {
        change(&mut bytes, target.words, corpus, rng);
    }
    bytes.truncate(target.longest);
    bytes
}

fn change(bytes: &mut Vec<u8>, words: &[&str], corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(0..=bytes.len());
    let until = bytes.len().min(at + rng.usize(0..=32));
    let piece = bytes[at..until].to_vec();
    let word = rng.choice(words).unwrap_or(&"").as_bytes();
    match rng.u8(0..10) {
        0 => drop(bytes.splice(at..until, [])),
        1 => drop(bytes.splice(at..at, [rng.u8(..)])),
        2 => piece.first().into_iter().for_each(|byte| bytes[at] = byte ^ (1 << rng.u8(0..8))),
        3..=5 => drop(bytes.splice(at..at, word.iter().copied())),
        6 => drop(bytes.splice(at..until, word.iter().copied())),
        7 => drop(bytes.splice(at..at, piece.repeat(rng.usize(1..=REPEATS)))),
        8 => drop(bytes.splice(at..at, word.repeat(rng.usize(1..=REPEATS)))),
        _ => {
            let other = rng.choice(corpus).map(Vec::as_slice).unwrap_or_default();
            let from = rng.usize(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
}
