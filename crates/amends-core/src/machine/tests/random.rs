//! Random definitions under random commands.
//!
//! A safety phase in which anything may happen, then a liveness phase in which everything heals and the saga must
//! come to an end. Every decision is held to the laws and to the ledger. A failing case is printed as small as
//! proptest can make it; the line is the definition, and `super::spec` says how to read it.

use super::plan;
use super::world::{Move, World};
use crate::machine::Phase;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A run that has not met all of these proves nothing.
const COVERAGE: &[&str] = &[
    "completed",
    "compensated",
    "an action dead",
    "a probe dead",
    "a compensation dead",
    "a message delivered",
    "a message delivered again",
    "a message answered after its time",
    "a message refused and undone",
    "compensation-sent",
    "an action interrupted",
    "a compensation interrupted",
    "a probe interrupted",
    "a late arrival",
    "a tombstone met",
    "stale",
    "conflict",
    "action-done",
    "action-failed",
    "action-refused",
    "action-unknown",
    "probe-started",
    "probe-failed",
    "wait-completed",
    "wait-failed",
    "sleep-ended",
    "compensation-entered",
    "compensation-failed",
    "compensation-done",
    "dead-letter-settled",
    "edited",
    "turned around",
    "paused",
    "resumed",
    "held when it turned back",
    "healed forward",
    "healed on the way back",
];

fn any_move() -> impl Strategy<Value = Move> {
    let byte = any::<u8>;
    prop_oneof![
        12 => (byte(), byte(), byte()).prop_map(|(pick, outcome, coin)| Move::Answer { pick, outcome, coin }),
        2 => byte().prop_map(|pick| Move::Repeat { pick }),
        2 => byte().prop_map(|pick| Move::Land { pick }),
        4 => byte().prop_map(|jump| Move::Pass { jump }),
        4 => (byte(), byte()).prop_map(|(pick, receives)| Move::Receive { pick, receives }),
        1 => byte().prop_map(|coins| Move::Crash { coins }),
        2 => (byte(), any::<bool>()).prop_map(|(pick, well)| Move::End { pick, well }),
        1 => byte().prop_map(|which| Move::Order { which }),
        2 => (byte(), byte()).prop_map(|(pick, how)| Move::Settle { pick, how }),
    ]
}

#[test]
fn whatever_happens_the_promise_is_kept() {
    let seen: RefCell<BTreeMap<&str, u64>> = RefCell::default();
    // `PROPTEST_CASES=1000000` searches longer.
    let config = Config::default();
    let config = Config { cases: config.cases.max(3_000), failure_persistence: None, ..config };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&(plan::line(), proptest::collection::vec(any_move(), 0..60)), |(line, moves)| {
        let mut world = World::begin(&line);
        for action in moves {
            world.make(action);
        }
        play_out(&mut world);
        for (what, times) in world.seen {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        Ok::<(), TestCaseError>(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, (line, moves))) => panic!("{why}\n  of {line}\n  after {moves:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let seen = seen.into_inner();
    let missed: Vec<_> = COVERAGE.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(missed.is_empty(), "this was never met: {missed:?}, but {seen:#?}");
}

fn play_out(world: &mut World) {
    if world.stage.saga.held && matches!(world.stage.saga.phase, Phase::Compensating { .. }) {
        world.saw("held when it turned back");
    }
    if !world.stage.saga.is_finished() {
        world.saw(match world.stage.saga.phase {
            Phase::Forward => "healed forward",
            _ => "healed on the way back",
        });
    }
    world.heal();
}
