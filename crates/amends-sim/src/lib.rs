//! A deterministic simulation of the engine itself.
//!
//! One to three orchestrators, the real ones, are driven in virtual time over the model store, with participants who keep
//! books, clients who repeat themselves, people who act, and every fault that a single store can meet. Everything follows
//! from one number. First there is a storm; then the faults stop, and everything must come to an end.
//!
//! The rules are checked at every commit, at every call and at every answer to a caller (`model`), and over everything at the
//! end (`world`). What is deliberately not here: a network with real bytes, a real disk, a real clock. Those are the
//! business of the tests that kill the real server.

mod chaos;
mod coverage;
mod definitions;
mod model;
mod participants;
mod process;
mod world;

#[cfg(test)]
mod tests;

pub use coverage::{Coverage, REQUIRED};

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Which run, and how much it says.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// Whether each thing that happens is printed to standard error.
    pub trace: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it has met.
    pub coverage: Coverage,
    /// How many things have happened.
    pub steps: u64,
    /// The rule that was broken, if one was.
    pub violation: Option<String>,
}

/// Runs one simulation to its end.
#[must_use]
pub fn run(options: Options) -> Run {
    let Options { seed, trace } = options;
    let outcome = catch_unwind(AssertUnwindSafe(|| world::World::new(seed, trace).run()));
    match outcome {
        Ok(world::End { coverage, steps, violation }) => Run { coverage, steps, violation },
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let violation = Some(format!("a panic: {}", text.unwrap_or_default()));
            Run { coverage: Coverage::default(), steps: 0, violation }
        }
    }
}
