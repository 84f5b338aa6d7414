//! A simulation in small, and the seeds that have found something.

use crate::{Coverage, Options, run};

fn check(seed: u64) -> Coverage {
    let run = run(Options { seed, trace: false });
    let again = format!("replay it: cargo xtask sim --seed {seed} --trace");
    assert!(run.violation.is_none(), "seed {seed}: {}\n{again}", run.violation.unwrap_or_default());
    run.coverage
}

/// A few of everything; the gate runs some thousands more.
#[test]
fn every_rule_holds() {
    (1_000..1_200).for_each(|seed| drop(check(seed)));
}

/// The same seed is the same run: without that a failure could not be looked into.
#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        let runs = [0, 1].map(|_| run(Options { seed, trace: false }));
        assert_eq!(runs[0].steps, runs[1].steps);
        assert_eq!(format!("{:?}", runs[0].coverage), format!("{:?}", runs[1].coverage));
    }
}

/// A claim whose answer was lost left its sagas to an orchestrator that did not know of them.
#[test]
fn what_a_claim_gave_is_not_lost_with_its_answer() {
    drop(check(623));
}

/// A commit said that it left the row as it was. But that row was of a saga at rest, which had been taken again since: the commit
/// would have left it with an owner, and at rest.
#[test]
fn a_saga_that_is_taken_again_is_put_to_rest_again() {
    drop(check(5_508));
}

/// A person's order that added no event was written to the audit log twice, where the answer to its commit was lost.
#[test]
fn an_order_is_in_the_audit_log_once() {
    drop(check(495_308));
}

/// The same, where the model of the simulation did not know the commit again, and took the order for carried out twice.
#[test]
fn an_order_that_is_offered_again_is_carried_out_once() {
    drop(check(915_617));
}

/// A person said that something had not happened, while a process was frozen that had the request still to send. The person of the
/// simulation does not say so any more: no server can know it.
#[test]
fn nobody_says_that_nothing_happened_while_a_process_is_frozen() {
    drop(check(3_086_582));
}

/// An undo was tried once more for a message that came while the commit was on its way which put that message anew. The process
/// died, the next one did not know of that try, and a dead letter said *done* of what it had undone.
#[test]
fn a_message_is_worth_nothing_once_it_is_put_anew() {
    drop(check(7_140_624));
}
