//! What must hold after every decision, whatever led to it.

use super::stage::Stage;
use crate::definition::{Definition, Effects, Kind, StepIndex};
use crate::machine::{
    Command, Decision, Direction, Event, Moment, Phase, Refusal, Saga, Settlement, StepState, Trouble, apply, decide,
    fold,
};
use crate::redact::{REDACTED, own_words};
use crate::time::Timestamp;
use std::collections::HashSet;

/// After the first decision.
pub fn after_the_start(stage: &Stage, decision: &Decision) {
    assert!(matches!(decision.events.first(), Some(Event::Started { .. })), "{:?}", decision.events);
    always(stage, decision);
    nothing_is_left_undone(stage);
}

/// After any other.
pub fn after(stage: &Stage, before: &Saga, command: &Command, decision: &Decision) {
    assert!(!before.is_finished() || decision.events.is_empty(), "a finished saga went on: {:?}", decision.events);
    assert_eq!(decision.saga.sequence, before.sequence + decision.events.len() as u64, "events are gapless");
    every_event_suits(stage, before, decision);
    calls_follow_from_events(command, decision);
    let turns = decision.events.iter().any(|event| matches!(event, Event::CompensationEntered { .. }));
    assert!(
        !turns || decision.calls.iter().all(|call| call.direction != Direction::Action),
        "an action would be sent after the commit that turns back"
    );
    if before.held && !matches!(command, Command::Resume(_)) {
        let begun = decision.events.iter().find(|event| begins_something(event));
        assert!(begun.is_none() && decision.calls.is_empty(), "begun while it was held: {begun:?}");
    }
    always(stage, decision);
    // A message is only about its compensation; whatever else has become due is left to the tick that is due with it.
    if !matches!(command, Command::Received { .. }) {
        nothing_is_left_undone(stage);
    }
}

/// A refusal means that nothing has happened, and that it would be refused again.
pub fn on_refusal(stage: &Stage, command: &Command, refusal: &Refusal) {
    let again = decide(&stage.definition, &stage.saga, command, Moment { now: stage.now, chance: 0 });
    assert_eq!(again.as_ref().err(), Some(refusal));
}

fn always(stage: &Stage, decision: &Decision) {
    let Stage { definition, saga, history, .. } = stage;
    let folded = fold(definition, saga.id, history.iter().map(|(at, event)| (*at, event))).expect("it can be folded");
    assert_eq!(&folded, saga, "the fold of all events is the saga");
    for event in &decision.events {
        let text = serde_json::to_string(event).expect("an event is JSON");
        let read: Event = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(&read, event, "an event survives the store");
    }
    decision.events.iter().for_each(a_redacted_sentence_still_says_something);
    somebody_looks_after_it(stage);
    actions_stop_at_the_turn(history);
    policies_are_kept(definition, history);
    digests_are_stable(history);
}

/// What Amends says itself is known to be its own, so that where something is redacted nothing goes but what is quoted.
fn a_redacted_sentence_still_says_something(event: &Event) {
    let sentence = match event {
        Event::ActionFailed { failure, .. }
        | Event::ActionRefused { failure, .. }
        | Event::ActionUnknown { failure, .. }
        | Event::ProbeFailed { failure, .. }
        | Event::WaitFailed { failure, .. }
        | Event::CompensationFailed { failure, .. }
        | Event::DeadLettered { failure, .. } => &failure.message,
        Event::CompensationEntered { reason, .. } => reason,
        _ => return,
    };
    // As the network says it here, and a person.
    if ["nobody there", "nobody answered"].iter().any(|end| sentence.ends_with(end)) || sentence.contains(" says that ")
    {
        return;
    }
    let shown = own_words(sentence);
    let before = shown.strip_suffix(REDACTED).unwrap_or("");
    let quotes = ["failed from outside: ", "refused: ", "not done: ", " cannot be rendered: "]
        .iter()
        .any(|quote| before.ends_with(quote));
    assert!(shown == *sentence || quotes || before.contains("answered "), "`{sentence}` is shown as `{shown}`");
}

/// The wake-up invariant. A call in flight is one that somebody waits for, not only a state that says so.
fn somebody_looks_after_it(stage: &Stage) {
    let saga = &stage.saga;
    for (step, found) in saga.steps.iter().enumerate() {
        let direction = match found.state {
            StepState::Acting(_) => Direction::Action,
            StepState::Probing(_) => Direction::Probe,
            _ => continue,
        };
        assert!(stage.is_flying(step, direction), "step {step} is {:?} and no call is in flight", found.state);
        assert!(saga.is_calling());
    }
    let looked_after = saga.is_finished()
        || saga.is_calling()
        || saga.wake_at(&stage.definition).is_some()
        || !stage.messages().is_empty()
        || saga.dead().next().is_some()
        || saga.held;
    assert!(looked_after, "nobody looks after {saga:#?}");
}

/// Whatever is due was done: a clock that does not move finds nothing to do.
fn nothing_is_left_undone(stage: &Stage) {
    let moment = Moment { now: stage.now, chance: 3 };
    let tick = decide(&stage.definition, &stage.saga, &Command::Tick, moment).expect("a tick is never refused");
    assert_eq!(tick.events, [], "this was left undone");
    let wake_at = stage.saga.wake_at(&stage.definition);
    assert!(wake_at.is_none_or(|at| at > stage.now), "it would be woken again and again: {wake_at:?}");
}

fn begins_something(event: &Event) -> bool {
    matches!(
        event,
        Event::ActionStarted { .. }
            | Event::ProbeStarted { .. }
            | Event::WaitStarted { .. }
            | Event::SleepStarted { .. }
            | Event::CompensationQueued { .. }
            | Event::CompensationSent { .. }
    )
}

/// Every call is that of an event of the same decision, and every such event has its call. The one exception is a
/// compensation by a call, whose intent is its message.
fn calls_follow_from_events(command: &Command, decision: &Decision) {
    let calls: Vec<_> = decision.calls.iter().map(|call| (call.step, call.direction, call.attempt)).collect();
    if let Command::Received { step, .. } = command {
        let died = decision.events.iter().any(|event| matches!(event, Event::DeadLettered { .. }));
        assert!(calls.len() <= 1 && (calls.is_empty() || !died));
        assert!(calls.iter().all(|call| (call.0, call.1) == (*step, Direction::Compensation)));
        return;
    }
    let intended: Vec<_> = decision
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ActionStarted { step, attempt, .. } => Some((*step, Direction::Action, *attempt)),
            Event::ProbeStarted { step, attempt } => Some((*step, Direction::Probe, *attempt)),
            Event::CompensationSent { step, attempt, .. } => Some((*step, Direction::Compensation, *attempt)),
            _ => None,
        })
        .collect();
    assert_eq!(calls, intended, "no call without its event, and no event without its call");
    let digests = decision.events.iter().filter_map(|event| match event {
        Event::ActionStarted { digest, .. } => Some(digest.clone()),
        _ => None,
    });
    let sent = decision.calls.iter().filter(|call| call.direction == Direction::Action);
    assert!(digests.eq(sent.map(|call| call.request.digest())), "the digest is that of the request");
}

/// Replays a decision event by event and looks at the state that each of them meets.
fn every_event_suits(stage: &Stage, before: &Saga, decision: &Decision) {
    let definition = &stage.definition;
    let mut saga = before.clone();
    for event in &decision.events {
        match event {
            Event::CompensationEntered { .. } => {
                assert_eq!(saga.phase, Phase::Forward);
                let done = |step: &StepIndex| saga.steps[*step].state == StepState::Done;
                let past = (0..definition.steps.len())
                    .find(|step| definition.steps[*step].kind != Kind::Compensatable && done(step));
                assert_eq!(past, None, "it turned back behind a step that cannot be undone");
            }
            Event::CompensationQueued { step, .. } => {
                for later in later_than(definition, *step) {
                    assert!(
                        is_settled(definition, &saga, later),
                        "step {step} is undone before step {later}, which is {:?}",
                        saga.steps[later].state
                    );
                }
            }
            Event::Completed => {
                let left = saga.steps.iter().find(|step| !matches!(step.state, StepState::Done | StepState::Skipped));
                assert!(left.is_none(), "completed with {left:?}");
            }
            Event::Compensated => {
                let left = (0..saga.steps.len()).find(|step| !is_settled(definition, &saga, *step));
                assert_eq!(left, None, "compensated with a step left");
            }
            _ => {}
        }
        apply(&mut saga, event, stage.now).expect("the machine emits what can be applied");
    }
    assert_eq!(&saga, decision.saga.as_ref());
}

/// The steps that come after this one, directly or not.
pub fn later_than(definition: &Definition, step: StepIndex) -> HashSet<StepIndex> {
    let mut later = HashSet::new();
    let mut open = vec![step];
    while let Some(first) = open.pop() {
        let steps = definition.steps.iter().enumerate();
        let next = steps.filter(|(_, written)| written.after.contains(&first)).map(|(next, _)| next);
        open.extend(next.filter(|next| later.insert(*next)));
    }
    later
}

/// Whether a step needs nothing more on the way back.
fn is_settled(definition: &Definition, saga: &Saga, step: StepIndex) -> bool {
    match saga.steps[step].state {
        StepState::Pending | StepState::Refused | StepState::Skipped | StepState::Compensated => true,
        StepState::Done | StepState::Unknown => definition.steps[step].compensation().is_none(),
        _ => false,
    }
}

/// No action is started after the turn, nor in the decision that turns.
fn actions_stop_at_the_turn(history: &[(Timestamp, Event)]) {
    let Some(turn) = history.iter().position(|(_, event)| matches!(event, Event::CompensationEntered { .. })) else {
        return;
    };
    for (_, event) in &history[turn..] {
        assert!(!matches!(event, Event::ActionStarted { .. }), "an action started after the turn");
    }
}

/// Counts attempts as a reader of the policy would: those that cost something, since the last fresh start.
fn policies_are_kept(definition: &Definition, history: &[(Timestamp, Event)]) {
    let mut actions = vec![0; definition.steps.len()];
    let mut probes = actions.clone();
    let mut compensations = actions.clone();
    for (_, event) in history {
        match event {
            Event::ActionStarted { step, .. } => {
                let work = definition.steps[*step].call().expect("only calls act");
                actions[*step] += 1;
                assert!(actions[*step] <= work.retry.attempts, "step {step}: more attempts than allowed");
            }
            Event::ActionFailed {
                step,
                trouble: Trouble::InProgress | Trouble::Interrupted | Trouble::Withdrawn,
                ..
            } => actions[*step] -= 1,
            Event::ProbeStarted { step, .. } => {
                let work = definition.steps[*step].call().expect("only calls are probed");
                probes[*step] += 1;
                let allowed = work.probe.as_ref().map_or(0, |probe| probe.retry.attempts);
                assert!(probes[*step] <= allowed, "step {step}: more questions than allowed");
            }
            Event::ProbeFailed { step, trouble: Trouble::Interrupted | Trouble::Withdrawn, .. } => {
                probes[*step] -= 1;
            }
            Event::CompensationFailed { step, trouble, .. } if *trouble != Trouble::InProgress => {
                compensations[*step] += 1;
                let allowed = definition.steps[*step].compensation().expect("it is compensated").retry.attempts;
                assert!(compensations[*step] < allowed, "step {step}: more compensations than allowed");
            }
            Event::DeadLetterSettled { step, settlement: Settlement::Retry | Settlement::Edit { .. }, .. } => {
                (actions[*step], probes[*step], compensations[*step]) = (0, 0, 0);
            }
            // A probe's answer begins the count anew if the action is tried again.
            Event::ActionUnknown { step, ask_at: Some(_), .. } => probes[*step] = 0,
            _ => {}
        }
    }
}

/// The same request on every attempt, until a person lets the step begin again.
fn digests_are_stable(history: &[(Timestamp, Event)]) {
    let mut digests: Vec<(StepIndex, &str)> = Vec::new();
    for (_, event) in history {
        match event {
            Event::ActionStarted { step, digest, .. } => {
                let known = digests.iter().find(|(other, _)| other == step);
                assert!(known.is_none_or(|(_, first)| first == digest), "step {step} sends another request");
                digests.push((*step, digest));
            }
            Event::DeadLetterSettled { step, settlement: Settlement::Retry | Settlement::Edit { .. }, .. } => {
                digests.retain(|(other, _)| other != step);
            }
            _ => {}
        }
    }
}

/// An at-most-once step is sent again only if the attempt before certainly had no effect, or a person says so.
pub fn at_most_once_is_kept(definition: &Definition, history: &[(Timestamp, Event)]) {
    let mut doubtful = vec![false; definition.steps.len()];
    for (_, event) in history {
        match event {
            Event::ActionStarted { step, .. } => {
                let once = definition.steps[*step].call().is_some_and(|work| work.effects == Effects::AtMostOnce);
                assert!(!once || !doubtful[*step], "step {step} is at-most-once and was sent again");
                doubtful[*step] = true;
            }
            Event::ActionFailed { step, trouble: Trouble::NotDone | Trouble::Withdrawn, .. }
            | Event::DeadLetterSettled { step, settlement: Settlement::Retry | Settlement::Edit { .. }, .. } => {
                doubtful[*step] = false;
            }
            _ => {}
        }
    }
}
