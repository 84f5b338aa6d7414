//! Which events may follow which state of a step, and where they lead: the whole table, for a fold that took an event
//! from disk where it does not belong would go on from nonsense.

use super::spec;
use super::stage::{DAWN, Stage, operator};
use crate::answer::Failure;
use crate::machine::{
    Claim, Death, Direction, Event, Inquiry, Phase, Saga, Settlement, StepState, Trial, Trouble, Undoing, Way, apply,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// State, the events that may follow it, and the state each leads to. What is not named does not fit.
#[rustfmt::skip]
const TABLE: &[(&str, &[(&str, &str)])] = &[
    ("pending", &[
        ("action-started", "acting"), ("message-sent", "sent"), ("action-refused", "refused"), ("wait-started", "waiting"),
        ("sleep-started", "sleeping"), ("dead-action", "dead"),
    ]),
    ("reopened", &[
        ("action-started", "acting"), ("message-sent", "sent"), ("action-refused", "refused"),
        ("unknown-ask", "probe-due"), ("unknown", "unknown"),
        ("wait-started", "waiting"), ("dead-action", "dead"),
    ]),
    ("acting", &[
        ("action-done", "done"), ("action-failed", "action-due"), ("action-refused", "refused"),
        ("unknown-ask", "probe-due"), ("unknown", "unknown"), ("dead-action", "dead"),
    ]),
    ("sent", &[
        ("action-done", "done"), ("action-failed", "action-due"), ("action-refused", "refused"),
        ("unknown-ask", "probe-due"), ("unknown", "unknown"), ("dead-action", "dead"),
    ]),
    ("action-due", &[
        ("action-started", "acting"), ("message-sent", "sent"), ("action-done", "done"), ("unknown-ask", "probe-due"),
        ("dead-action", "dead"),
    ]),
    ("probing", &[
        ("action-done", "done"), ("action-refused", "refused"), ("unknown", "unknown"), ("probe-failed", "probe-due"),
        ("dead-action", "dead"), ("dead-probe", "dead"),
    ]),
    ("probe-due", &[("unknown", "unknown"), ("probe-started", "probing"), ("dead-probe", "dead")]),
    ("waiting", &[("wait-completed", "done"), ("wait-failed", "refused"), ("dead-action", "dead")]),
    ("sleeping", &[("sleep-ended", "done")]),
    ("done", &[("compensation-queued", "compensating"), ("dead-compensation", "dead")]),
    ("refused", &[]),
    ("unknown", &[("compensation-queued", "compensating"), ("dead-compensation", "dead")]),
    ("skipped", &[]),
    ("compensating", &[
        ("compensation-failed", "compensating"), ("compensation-done", "compensated"), ("dead-compensation", "dead"),
    ]),
    ("message-due", &[
        ("compensation-sent", "compensating"), ("compensation-failed", "compensating"), ("compensation-done", "compensated"),
        ("dead-compensation", "dead"),
    ]),
    ("compensated", &[]),
    ("dead-action", &[
        ("retry", "reopened"), ("edit", "reopened"), ("settle-done", "done"), ("settle-undone", "refused"), ("skip", "skipped"),
        ("turn-around", "refused"),
    ]),
    ("dead-probe", &[
        ("retry", "probe-due"), ("settle-done", "done"), ("settle-undone", "refused"), ("skip", "skipped"),
        ("turn-around", "unknown"),
    ]),
    ("dead-compensation", &[
        ("retry", "done"), ("settle-done", "done"), ("settle-undone", "compensated"), ("skip", "skipped"),
    ]),
    ("dead-doubt", &[
        ("retry", "unknown"), ("settle-done", "done"), ("settle-undone", "compensated"), ("skip", "skipped"),
    ]),
];

const LETTER: u64 = 5;

fn states() -> Vec<(&'static str, StepState)> {
    let inquiry = Inquiry { since: DAWN, spent: 0 };
    let trial = Trial { digest: "d".into(), since: DAWN, spent: 0 };
    let dead = |direction, claim| StepState::Dead(Death { direction, claim, letter: LETTER });
    let undoing = Undoing { digest: "d".into(), waited_ms: 0, spent: 0, claim: Claim::Done, at: DAWN, way: Way::Call };
    let message_due = Undoing { way: Way::Message { until: None }, ..undoing.clone() };
    vec![
        ("pending", StepState::Pending),
        ("reopened", StepState::Reopened),
        ("acting", StepState::Acting(trial.clone())),
        ("sent", StepState::Sent { trial: trial.clone(), until: DAWN }),
        ("action-due", StepState::ActionDue { trial, at: DAWN }),
        ("probing", StepState::Probing(inquiry.clone())),
        ("probe-due", StepState::ProbeDue { inquiry, at: DAWN }),
        ("waiting", StepState::Waiting { until: DAWN }),
        ("sleeping", StepState::Sleeping { until: DAWN }),
        ("done", StepState::Done),
        ("refused", StepState::Refused),
        ("unknown", StepState::Unknown),
        ("skipped", StepState::Skipped),
        ("compensating", StepState::Compensating(undoing)),
        ("message-due", StepState::Compensating(message_due)),
        ("compensated", StepState::Compensated),
        ("dead-action", dead(Direction::Action, Claim::Undone)),
        ("dead-probe", dead(Direction::Probe, Claim::Unknown)),
        ("dead-compensation", dead(Direction::Compensation, Claim::Done)),
        ("dead-doubt", dead(Direction::Compensation, Claim::Unknown)),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let failure = || Failure::without_status("as it is");
    let dead = |direction| Event::DeadLettered {
        step: 0,
        direction,
        claim: Claim::Unknown,
        failure: failure(),
        operator: None,
    };
    let settle = |letter, settlement| Event::DeadLetterSettled { step: 0, letter, settlement, operator: operator() };
    let (trouble, attempt, at) = (Trouble::Unknown, 1, DAWN);
    vec![
        ("action-started", Event::ActionStarted { step: 0, attempt, digest: "d".into(), until: None }),
        ("message-sent", Event::ActionStarted { step: 0, attempt, digest: "d".into(), until: Some(at) }),
        ("action-done", Event::ActionDone { step: 0, output: Arc::default(), by_probe: false }),
        ("action-failed", Event::ActionFailed { step: 0, trouble, failure: failure(), retry_at: at }),
        ("action-refused", Event::ActionRefused { step: 0, failure: failure() }),
        ("unknown-ask", Event::ActionUnknown { step: 0, failure: failure(), ask_at: Some(at) }),
        ("unknown", Event::ActionUnknown { step: 0, failure: failure(), ask_at: None }),
        ("probe-started", Event::ProbeStarted { step: 0, attempt }),
        ("probe-failed", Event::ProbeFailed { step: 0, trouble, failure: failure(), retry_at: at }),
        ("wait-started", Event::WaitStarted { step: 0, until: at }),
        ("wait-completed", Event::WaitCompleted { step: 0, output: Arc::default(), operator: None }),
        ("wait-failed", Event::WaitFailed { step: 0, failure: failure(), operator: None }),
        ("sleep-started", Event::SleepStarted { step: 0, until: at }),
        ("sleep-ended", Event::SleepEnded { step: 0 }),
        (
            "compensation-queued",
            Event::CompensationQueued { step: 0, digest: "d".into(), claim: Claim::Done, by_message: false },
        ),
        ("compensation-sent", Event::CompensationSent { step: 0, attempt, until: at }),
        (
            "compensation-failed",
            Event::CompensationFailed { step: 0, attempt, trouble, failure: failure(), retry_at: at },
        ),
        ("compensation-done", Event::CompensationDone { step: 0 }),
        ("dead-action", dead(Direction::Action)),
        ("dead-probe", dead(Direction::Probe)),
        ("dead-compensation", dead(Direction::Compensation)),
        ("retry", settle(LETTER, Settlement::Retry)),
        ("retry-another", settle(LETTER + 1, Settlement::Retry)),
        ("settle-done", settle(LETTER, Settlement::Done { output: Arc::default() })),
        ("settle-undone", settle(LETTER, Settlement::Undone)),
        ("skip", settle(LETTER, Settlement::Skip)),
        ("edit", settle(LETTER, Settlement::Edit { body: Arc::default() })),
        ("turn-around", settle(LETTER, Settlement::TurnAround)),
    ]
}

fn name(state: &StepState) -> &'static str {
    if matches!(state, StepState::Dead(_)) {
        return "dead";
    }
    let same = |(_, known): &&(&str, StepState)| std::mem::discriminant(known) == std::mem::discriminant(state);
    states().iter().find(same).expect("every state is listed").0
}

/// A saga of one step in this state, on the way that a step in such a state can be met on.
fn saga(state: &StepState, phase: Phase) -> Saga {
    let mut saga = Stage::begin(spec::definition("a")).0.saga;
    saga.phase = phase;
    saga.steps[0].state = state.clone();
    saga
}

fn phases() -> [Phase; 2] {
    [Phase::Forward, Phase::Compensating { reason: "as it is".into() }]
}

#[test]
fn every_event_in_every_state() {
    let expected: BTreeMap<&str, &[(&str, &str)]> = TABLE.iter().copied().collect();
    for (before, state) in states() {
        for (name_of_event, event) in events() {
            // On at least one of the two ways, for the way is checked below.
            let reached = phases().into_iter().find_map(|phase| {
                let mut saga = saga(&state, phase);
                apply(&mut saga, &event, DAWN).ok().map(|()| name(&saga.steps[0].state))
            });
            let due = expected[before].iter().find(|(event, _)| *event == name_of_event).map(|(_, after)| *after);
            assert_eq!(reached, due, "{name_of_event} in {before}");
        }
    }
}

/// What a saga in such a state waits for: an answer, a time of its own, or its message.
#[test]
fn what_a_state_waits_for() {
    for (name, state) in states() {
        let saga = saga(&state, Phase::Forward);
        assert_eq!(saga.is_calling(), matches!(name, "acting" | "probing"), "{name}");
        let is_timed = matches!(name, "sent" | "action-due" | "probe-due" | "waiting" | "sleeping" | "message-due");
        assert_eq!(state.due_at(), is_timed.then_some(DAWN), "{name}");
        assert_eq!(state.undone_at(), (name == "compensating").then_some(DAWN), "{name}");
    }
}

/// Nothing begins on the way back, and nothing is undone on the way forward. All else may happen on both.
#[test]
fn what_belongs_to_one_way() {
    let fits = |state: &StepState, phase: Phase, event: &Event| apply(&mut saga(state, phase), event, DAWN).is_ok();
    for (before, state) in states() {
        for (name, event) in events() {
            let [forward, back] = phases().map(|phase| fits(&state, phase, &event));
            match name {
                "action-started" | "message-sent" | "wait-started" | "sleep-started" => {
                    assert!(!back, "{name} in {before} on the way back")
                }
                "compensation-queued" => assert!(!forward, "{name} in {before} on the way forward"),
                _ => assert_eq!(forward, back, "{name} in {before}"),
            }
        }
    }
}

#[test]
fn what_happens_to_the_whole_saga_twice() {
    let hold = |held, event: &Event| {
        let mut saga = saga(&StepState::Done, Phase::Forward);
        saga.held = held;
        apply(&mut saga, event, DAWN).map(|()| saga.held).map_err(|error| error.why)
    };
    let (paused, resumed) = (Event::Paused { operator: operator() }, Event::Resumed { operator: operator() });
    assert_eq!(hold(false, &paused), Ok(true));
    assert_eq!(hold(true, &paused), Err("the saga is Forward, held: true".into()));
    assert_eq!(hold(true, &resumed), Ok(false));
    assert_eq!(hold(false, &resumed), Err("the saga is Forward, held: false".into()));
}

/// The attempts at a compensation are counted as its messages were received, and a letter ends the last one.
#[test]
fn what_is_counted_of_a_compensation() {
    let states: BTreeMap<_, _> = states().into_iter().collect();
    let events: BTreeMap<_, _> = events().into_iter().collect();
    let attempts = |state: &str, before: u32, event: &Event| {
        let mut saga = saga(&states[state], Phase::Compensating { reason: "as it is".into() });
        saga.steps[0].compensation_attempts = before;
        apply(&mut saga, event, DAWN).map(|()| saga.steps[0].compensation_attempts)
    };
    let failed = |attempt| Event::CompensationFailed {
        step: 0,
        attempt,
        trouble: Trouble::Unknown,
        failure: Failure::without_status("as it is"),
        retry_at: DAWN,
    };
    assert_eq!(attempts("compensating", 0, &failed(1)), Ok(1));
    assert_eq!(attempts("compensating", 1, &failed(1)), Ok(2), "each counts");
    assert_eq!(attempts("compensating", 1, &failed(4)), Ok(4), "also those nobody lived to write down");
    assert_eq!(attempts("compensating", 1, &events["compensation-done"]), Ok(2));
    assert_eq!(attempts("compensating", 1, &events["dead-compensation"]), Ok(2));
    assert_eq!(attempts("done", 0, &events["dead-compensation"]), Ok(0), "there was no attempt");
}
