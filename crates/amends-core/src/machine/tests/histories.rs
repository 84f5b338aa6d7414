//! Histories that nobody wrote: `fold` and `apply` take whatever comes from disk, and answer with an error where it
//! makes no sense.

use super::script::play;
use super::spec;
use super::stage::{DAWN, Stage, response};
use crate::answer::Failure;
use crate::machine::{
    Claim, Command, Direction, Event, Moment, Operator, Phase, Saga, Settlement, StepState, Trouble, apply, decide,
    fold,
};
use crate::time::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

const LINE: &str = "deadline=1h a(probe) w(wait) s(sleep) p(pivot) r(retriable)";

fn any_event() -> impl Strategy<Value = Event> {
    (0usize..23, 0usize..7, 0u64..12, 0usize..4, 0usize..3).prop_map(|(which, step, number, trouble, claim)| {
        let failure = || Failure::without_status("as it is");
        let output = || Arc::new(Value::Null);
        let operator = || Operator { actor: "ann".into(), reason: "a test".into() };
        let trouble = [Trouble::NotDone, Trouble::InProgress, Trouble::Unknown, Trouble::Interrupted][trouble];
        let direction = [Direction::Action, Direction::Probe, Direction::Compensation][claim];
        let claim = [Claim::Done, Claim::Undone, Claim::Unknown][claim];
        let (at, attempt) = (DAWN.plus(number), number as u32);
        match which {
            0 => Event::Started { key: "k".into(), input: output(), deadline_at: None, traceparent: None },
            1 => {
                let until = number.is_multiple_of(2).then_some(at);
                Event::ActionStarted { step, attempt, digest: "d".into(), until }
            }
            2 => Event::ActionDone { step, output: output(), by_probe: false },
            3 => Event::ActionFailed { step, trouble, failure: failure(), retry_at: at },
            4 => Event::ActionRefused { step, failure: failure() },
            5 => Event::ActionUnknown { step, failure: failure(), ask_at: (number.is_multiple_of(2)).then_some(at) },
            6 => Event::ProbeStarted { step, attempt },
            7 => Event::ProbeFailed { step, trouble, failure: failure(), retry_at: at },
            8 => Event::WaitStarted { step, until: at },
            9 => Event::WaitCompleted { step, output: output(), operator: None },
            10 => Event::WaitFailed { step, failure: failure(), operator: None },
            11 => Event::SleepStarted { step, until: at },
            12 => Event::SleepEnded { step },
            13 => Event::CompensationEntered { reason: "as it is".into(), operator: None },
            14 => {
                let by_message = number.is_multiple_of(2);
                Event::CompensationQueued { step, digest: "d".into(), claim, by_message }
            }
            15 => Event::CompensationFailed { step, attempt, trouble, failure: failure(), retry_at: at },
            16 => Event::CompensationDone { step },
            17 => Event::DeadLettered { step, direction, claim, failure: failure(), operator: None },
            18 => {
                Event::DeadLetterSettled { step, letter: number, settlement: Settlement::Retry, operator: operator() }
            }
            19 => Event::Paused { operator: operator() },
            20 => Event::Resumed { operator: operator() },
            21 => Event::CompensationSent { step, attempt, until: at },
            _ => {
                if number.is_multiple_of(2) {
                    Event::Completed
                } else {
                    Event::Compensated
                }
            }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// An event that does not fit leaves the saga as it was; one that fits counts.
    #[test]
    fn an_event_fits_or_changes_nothing(events in proptest::collection::vec(any_event(), 0..200)) {
        let (stage, _) = Stage::begin(spec::definition(LINE));
        let mut saga = stage.saga;
        for event in &events {
            let before = saga.clone();
            match apply(&mut saga, event, DAWN) {
                Ok(()) => prop_assert_eq!(saga.sequence, before.sequence + 1),
                Err(error) => {
                    prop_assert_eq!(&saga, &before);
                    prop_assert_eq!((error.sequence, error.event), (before.sequence + 1, event.name()));
                }
            }
        }
    }

    /// A history that is cut off anywhere is that of a saga that can be recovered.
    #[test]
    fn every_beginning_of_a_history_can_be_folded(cut in 1usize..40) {
        let (stage, _) = play(
            "a(probe) w(wait) b(after=a) s(after=b,sleep) c(after=w+s) d",
            "a=lost a=lost a=yes b=503 complete:w b=200 +10000 c=200 pause d=422 resume c=503 c=403 retry:c c=200 b=200 a=200",
        );
        let cut = cut.min(stage.history.len());
        let saga = fold(&stage.definition, stage.saga.id, beginning(&stage.history, cut)).expect("it was a history");
        prop_assert_eq!(saga.sequence, cut as u64);
        let moment = Moment { now: stage.now, chance: 0 };
        decide(&stage.definition, &saga, &Command::Recover, moment).expect("recovery is never refused");
    }
}

fn beginning(history: &[(Timestamp, Event)], cut: usize) -> impl Iterator<Item = (Timestamp, &Event)> {
    history[..cut].iter().map(|(at, event)| (*at, event))
}

/// What a fold says about the history of `events`.
fn check(events: &[Event], expected: &str) {
    let definition = spec::definition("a b");
    let folded = fold(&definition, Uuid::nil(), events.iter().map(|event| (DAWN, event)));
    assert_eq!(folded.expect_err("it makes no sense").to_string(), expected);
}

#[test]
fn a_history_that_makes_no_sense() {
    let started = Event::Started { key: "k".into(), input: Arc::default(), deadline_at: None, traceparent: None };
    let start = |step| Event::ActionStarted { step, attempt: 1, digest: "d".into(), until: None };
    let back = Event::CompensationEntered { reason: "as it is".into(), operator: None };
    let cannot = |number: u64, event: &str, why: &str| {
        format!("event {number} ({event}) cannot follow what came before it: {why}")
    };
    check(&[], &cannot(1, "nothing", "the history is empty"));
    check(&[start(0)], &cannot(1, "action-started", "the history does not begin with `started`"));
    check(&[started.clone(), started.clone()], &cannot(2, "started", "the saga is Forward, held: false"));
    check(&[started.clone(), start(7)], &cannot(2, "action-started", "there is no step 7"));
    check(&[started.clone(), start(0), start(0)], &cannot(3, "action-started", "step 0 is Running"));
    check(&[started.clone(), back, start(0)], &cannot(3, "action-started", "the saga is Compensating"));
    check(&[started.clone(), Event::Completed, start(0)], &cannot(3, "action-started", "the saga is finished"));
    check(&[started, Event::Compensated], &cannot(2, "compensated", "the saga is Forward, held: false"));
}

/// What the states say of a saga in one sentence.
#[test]
fn reasons() {
    let reason = |spec: &str, script: &str| {
        let (stage, _) = play(spec, script);
        stage.saga.reason(&stage.definition)
    };
    #[rustfmt::skip]
    let rows = [
        ("a b", "a=200", None),
        ("a b", "a=200 b=200", None),
        ("a b", "a=200 b=422", Some("step b had no effect: answered 422")),
        ("a b", "a=200 b=422 a=200", Some("step b had no effect: answered 422")),
        ("a b", "a=200 b=503 b=lost", Some("nobody can say whether step b happened: nobody answered")),
        ("a b(probe)", "a=200 b=503 b=lost b=no", Some("step b had no effect: the participant says that it did not happen")),
        ("a b(once)", "a=200 b=503", Some("step b was given up: answered 503")),
        ("a b(once,probe)", "a=200 b=503 b=lost b=lost", Some("step b was given up: nobody answered")),
        ("a b", "a=200 b=422 a=403", Some("the compensation of a was given up: answered 403")),
        ("a b(once)", "a=200 b=503 undone:b", Some("ann says that step b had no effect: a test")),
        ("a b", "cancel", Some("cancelled by ann: a test")),
        ("a w(wait)", "a=200 fail:w", Some("step w did not come about: failed from outside: a test")),
        ("a w(wait)", "a=200 due", Some("step w did not come about: nobody completed it in time")),
        ("deadline=30s a b", "a=200 +30000", Some("the deadline of 30s passed before step b was done")),
        ("a(needs)", "", Some("step a had no effect: the action cannot be sent: `{{ input.missing }}` cannot be rendered: \
                               it is undefined")),
        ("a", "a=503/1000 reword due", Some("step a was given up: the action cannot be sent: it renders another request than \
                                             the one that was tried before")),
        ("a b", "a=200 b=422 a.21", Some("the compensation of a was given up: its message was received 21 times without a result")),
        ("a b", "a=200 b=422 reword a.", Some("the compensation of a was given up: it renders another request than the one \
                                               that was decided on, so it is not sent")),
        ("a(unsaid) b", "a=200 b=422", Some("the compensation of a was given up: the definition has no compensation for it, \
                                             so it is left for a person to undo")),
    ];
    for (spec, script, expected) in rows {
        assert_eq!(reason(spec, script).as_deref(), expected, "{spec}: {script}");
    }
}

/// What is seen of a step besides its state.
#[test]
fn what_a_step_keeps() {
    let step = |spec: &str, script: &str| play(spec, script).0.saga.steps.remove(0);
    let found = step("a", "a=503 a=200");
    assert_eq!((found.attempts, found.uncertain, found.error), (2, false, None));
    assert_eq!(*found.output, serde_json::json!({ "of": "a" }));
    let found = step("a", "a=503 a=lost");
    assert_eq!((found.attempts, found.compensation_attempts, found.uncertain), (2, 0, true));
    assert_eq!(found.error.map(|failure| failure.message).as_deref(), Some("nobody answered"));
    let found = step("a b", "a=200 b=422 a=503 a=429");
    assert_eq!((found.attempts, found.compensation_attempts), (1, 2));
    assert_eq!(found.error.and_then(|failure| failure.status), Some(429));
    let found = step("a b", "a=200 b=422 a=503 a=200");
    assert_eq!((found.compensation_attempts, found.error), (2, None));
    let found = step("a(once)", "a=503 done:a");
    assert_eq!((found.uncertain, found.error, found.state), (false, None, StepState::Done));
    let found = step("a(probe,pivot,tries=1)", "a=503 a=no");
    assert_eq!((found.uncertain, found.state), (false, StepState::Refused));
}

/// A compensation sees the output of its own step under a name of its own.
#[test]
fn a_compensation_reads_the_output_that_it_undoes() {
    let source = r#"
saga: s
key: "{{ input.id }}"
steps:
  a:
    action: { post: "p:/a" }
    compensation: { post: "p:/undo", body: { receipt: "{{ output.of }}" } }
  b: { kind: pivot, action: { post: "p:/b" } }
"#;
    let (mut stage, _) = Stage::begin(crate::lint::compile(source).expect("it is a definition"));
    let mut answered = |step, status| {
        let (direction, attempt) = (Direction::Action, 1);
        let answer = response(status, None, serde_json::json!({ "of": "charge-7" }));
        stage.command(&Command::Answered { step, direction, attempt, answer }).expect("it was called");
    };
    answered(0, 200);
    answered(1, 422);
    let undone = stage.command(&Command::Received { step: 0, receives: 1 }).expect("it is queued");
    assert_eq!(undone.calls[0].request.body.as_deref(), Some(r#"{"receipt":"charge-7"}"#));
}

/// Where the saga stands does not depend on what happens to be asked first.
#[test]
fn the_deadline_is_that_of_the_start() {
    let (stage, _) = Stage::begin(spec::definition("deadline=30s a"));
    let Saga { deadline_at, created_at, phase, .. } = &stage.saga;
    assert_eq!((*deadline_at, *created_at, phase), (Some(DAWN.plus(30_000)), DAWN, &Phase::Forward));
    assert_eq!(stage.saga.wake_at(&stage.definition), *deadline_at);
}
