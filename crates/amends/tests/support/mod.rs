//! What the tests of the real server share.

#![cfg(test)]
#![allow(dead_code, reason = "each test file uses other parts of it")]

use fastrand::Rng;
use std::time::{SystemTime, UNIX_EPOCH};

pub mod agreement;
pub mod child;
pub mod customers;
pub mod issuer;
pub mod orders;
pub mod relay;
pub mod setting;
pub mod shop;

/// Chance, from the seed in this variable or from one that is printed with a failure.
pub fn seeded(variable: &str) -> Rng {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let given = std::env::var(variable).ok();
    let seed = given.map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().expect("the seed is a number"));
    eprintln!("seed {seed}; make the same choices again with {variable}={seed}");
    Rng::with_seed(seed)
}
