//! The model in small; `cargo xtask model` searches the large one.

use crate::check::{BROKEN, SMALL, every_run_ends, search, shortest};
use crate::{Fault, Protocol};

fn small(fault: Fault) -> Protocol {
    Protocol { bounds: SMALL, fault }
}

fn print_shortest(protocol: Protocol, property: &'static str) {
    let way = shortest(protocol, property).expect("the search has found one");
    println!("{:?}: not always: {property}\n{}\n", protocol.fault, way.join("\n"));
}

#[test]
fn the_protocol_is_sound_and_everything_is_met() {
    let report = search(small(Fault::None));
    println!("{} states, depth {}, {:.1} s", report.states, report.depth, report.took.as_secs_f64());
    report.broken().into_iter().for_each(|property| print_shortest(small(Fault::None), property));
    assert_eq!((report.broken(), report.missed()), (vec![], vec![]));
    assert!(report.states > 10_000, "{} states are too few to mean anything", report.states);
    assert_eq!(every_run_ends(small(Fault::None)), Some(report.states));
}

fn check_broken(fault: Fault) {
    let (_, expected) = BROKEN.iter().find(|(broken, _)| *broken == fault).expect("each fault has its properties");
    let report = search(small(fault));
    report.broken().into_iter().for_each(|property| print_shortest(small(fault), property));
    assert_eq!(report.broken(), expected.to_vec(), "{fault:?}");
}

#[test]
fn a_fence_without_a_lock_is_missed() {
    check_broken(Fault::NoFence);
}

#[test]
fn the_tombstone_is_missed() {
    check_broken(Fault::NoTombstone);
}

#[test]
fn idempotency_is_missed() {
    check_broken(Fault::NoIdempotency);
}
