//! The search: every state that can be reached, breadth first, on one core.

use crate::properties::name;
use crate::trace::lines;
use crate::{Bounds, Fault, Protocol, State};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path, Property};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};

/// What a few seconds suffice for.
pub const SMALL: Bounds = Bounds { incarnations: 2, faults: 2 };
/// What `cargo xtask model` searches.
pub const LARGE: Bounds = Bounds { incarnations: 3, faults: 3 };

/// The protocols that must fail, and by which properties: these and no others.
pub const BROKEN: [(Fault, &[&str]); 3] = [
    (Fault::NoFence, &[name::DEAD_COMMIT, name::ORPHAN, name::ENDS]),
    (Fault::NoTombstone, &[name::COMPENSATED, name::REVERSE]),
    (Fault::NoIdempotency, &[name::AT_MOST_ONCE, name::COMPLETED, name::COMPENSATED, name::REVERSE]),
];

/// What a search has found.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// States on the longest of the shortest ways to any of them.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The properties, in their order.
    pub findings: Vec<Finding>,
}

/// What was found about one property.
#[derive(Debug)]
pub struct Finding {
    /// The property.
    pub name: &'static str,
    /// Whether it must hold; otherwise it must be met.
    pub must_hold: bool,
    /// Whether it is as it must be.
    pub is_good: bool,
}

impl Report {
    /// The properties that should hold and do not.
    pub fn broken(&self) -> Vec<&'static str> {
        self.findings.iter().filter(|found| found.must_hold && !found.is_good).map(|found| found.name).collect()
    }

    /// What should have been met and was not.
    pub fn missed(&self) -> Vec<&'static str> {
        self.findings.iter().filter(|found| !found.must_hold && !found.is_good).map(|found| found.name).collect()
    }
}

/// Searches the whole of a protocol.
pub fn search(protocol: Protocol) -> Report {
    let began = Instant::now();
    let checker = protocol.checker().spawn_bfs().join();
    let discoveries = checker.discoveries();
    let finding = |property: Property<Protocol>| {
        let must_hold = !matches!(property.expectation, Expectation::Sometimes);
        Finding { name: property.name, must_hold, is_good: discoveries.contains_key(property.name) != must_hold }
    };
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        findings: protocol.properties().into_iter().map(finding).collect(),
    }
}

/// The shortest way to break a property, a line for each move; `None` if it holds.
///
/// The checker stops some states after it has found a way, and keeps the last that it found. So it is asked for a shorter one
/// until there is none.
pub fn shortest(protocol: Protocol, property: &'static str) -> Option<Vec<String>> {
    let mut found: Option<Vec<String>> = None;
    loop {
        let mut checker = protocol.checker().finish_when(HasDiscoveries::AllOf([property].into()));
        if let Some(way) = &found {
            checker = checker.target_max_depth(way.len() + 1);
        }
        let Some(path) = checker.spawn_bfs().join().discovery(property) else { return found };
        found = Some(lines(Path::into_actions(path)));
    }
}

/// Whether no run can come back to a state that it has left; then every run comes to an end, and what the checker says of
/// these ends (`eventually`) can be relied on, which it cannot where there are circles. Returns how many states there are,
/// found depth first and without the checker.
pub fn every_run_ends(protocol: Protocol) -> Option<usize> {
    let mut is_open = HashMap::new();
    let ends = protocol.init_states().iter().all(|state| ends(protocol, state, &mut is_open));
    ends.then_some(is_open.len())
}

/// Whether every run from this state comes to an end. `is_open` knows the states that were met, by their hashes, and whether
/// the run that is looked at has gone through them.
fn ends(protocol: Protocol, state: &State, is_open: &mut HashMap<u64, bool>) -> bool {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(state);
    if let Some(is_open) = is_open.get(&hash) {
        return !is_open;
    }
    is_open.insert(hash, true);
    let ends = protocol.next_states(state).iter().all(|next| ends(protocol, next, is_open));
    is_open.insert(hash, false);
    ends
}
