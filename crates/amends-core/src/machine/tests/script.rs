//! Plays in words: a line of commands, and what the last of them comes to.
//!
//! | word | command |
//! |---|---|
//! | `a=200`, `a=503`, `a=409/2000` | the call of `a` that is in flight is answered; after the slash `Retry-After` in ms |
//! | `a=lost`, `a=unsent` | its answer never comes; it could not be sent |
//! | `a=yes`, `a=no` | its probe is answered |
//! | `a=done`, `a=refused`, `a=later` | its message is answered |
//! | `a=withdrawn` | its call is taken back before it is sent |
//! | `a!1=200`, `a?1=no`, `a<1=200` | an answer to that attempt at the action, the probe, the compensation |
//! | `a.` | the message for the compensation of `a` is received; `a.21`: for the 21st time |
//! | `+500`, `tick`, `due` | 500 ms pass; none pass; time passes until the saga wakes |
//! | `~500` | 500 ms pass, and nobody notices yet |
//! | `recover`, `reword` | the saga is taken into memory; from here on every path renders differently |
//! | `complete:a`, `fail:a` | the wait is ended from outside |
//! | `cancel`, `pause`, `resume` | |
//! | `retry:a`, `done:a`, `undone:a`, `skip:a`, `retry:#9` | the dead letter of `a`, or number 9, is settled |
//!
//! `a=…` also receives the message where a compensation is queued.

use super::spec;
use super::stage::{Stage, operator, response};
use crate::answer::{Answer, Reply};
use crate::definition::StepIndex;
use crate::machine::{
    Command, Decision, Direction, Event, PlannedCall, Refusal, Settlement, StepState, Trouble, Undoing, Way,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Plays `script` with the definition that `spec` describes. `expected` says what the last command comes to: its
/// events, and after a bar the status of the saga and of each step; or the refusal.
#[track_caller]
pub fn check(spec: &str, script: &str, expected: &str) {
    let (stage, outcome) = play(spec, script);
    let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(describe(&stage, &outcome), expected, "\n  of {spec}\n  after {script}");
}

/// The definition, the script, and what its last command comes to.
pub type Row = (&'static str, &'static str, &'static str);

/// The definition, the script up to where an answer is to follow, and what each of several answers comes to.
pub type Situation = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Checks one line after the other.
#[track_caller]
pub fn check_rows(rows: &[Row]) {
    rows.iter().for_each(|(spec, script, expected)| check(spec, script, expected));
}

/// Checks each answer in each situation.
#[track_caller]
pub fn check_situations(situations: &[Situation]) {
    for (spec, script, rows) in situations {
        for (answers, expected) in *rows {
            answers.split_whitespace().for_each(|answer| check(spec, &format!("{script}{answer}"), expected));
        }
    }
}

/// Plays a script; the outcome is that of its last command, or of the start if there is none.
pub fn play(spec: &str, script: &str) -> (Stage, Result<Decision, Refusal>) {
    let (mut stage, decision) = Stage::begin(spec::definition(spec));
    let mut outcome = Ok(decision);
    for word in script.split_whitespace() {
        if word == "reword" {
            stage.definition = spec::reworded(spec);
            continue;
        }
        if let Some(ms) = word.strip_prefix('~') {
            stage.now = stage.now.plus(ms.parse().expect("a number of milliseconds"));
            continue;
        }
        let command = command(&mut stage, word);
        outcome = stage.command(&command);
    }
    (stage, outcome)
}

fn command(stage: &mut Stage, word: &str) -> Command {
    if let Some((name, answer)) = word.split_once('=') {
        return answered(stage, name, answer);
    }
    if let Some(ms) = word.strip_prefix('+') {
        stage.now = stage.now.plus(ms.parse().expect("a number of milliseconds"));
        return Command::Tick;
    }
    if let Some((name, receives)) = word.split_once('.') {
        let receives = if receives.is_empty() { 1 } else { receives.parse().expect("a number") };
        return Command::Received { step: step(stage, name), receives };
    }
    match word.split_once(':').unwrap_or((word, "")) {
        ("tick", _) => Command::Tick,
        ("due", _) => {
            stage.now = stage.saga.wake_at(&stage.definition).expect("it wakes some time");
            Command::Tick
        }
        ("recover", _) => Command::Recover,
        ("cancel", _) => Command::Cancel(operator()),
        ("pause", _) => Command::Pause(operator()),
        ("resume", _) => Command::Resume(operator()),
        ("complete", name) => {
            Command::Complete { step: step(stage, name), output: Arc::new(json!({ "of": name })), operator: operator() }
        }
        ("fail", name) => Command::Fail { step: step(stage, name), operator: operator() },
        ("retry", name) => settle(stage, name, Settlement::Retry),
        ("done", name) => settle(stage, name, Settlement::Done { output: Arc::new(json!({ "of": name })) }),
        ("undone", name) => settle(stage, name, Settlement::Undone),
        ("skip", name) => settle(stage, name, Settlement::Skip),
        ("around", name) => settle(stage, name, Settlement::TurnAround),
        ("edit", name) => settle(stage, name, Settlement::Edit { body: Arc::new(json!({ "edited": name })) }),
        _ => panic!("`{word}` is no command"),
    }
}

fn settle(stage: &Stage, name: &str, settlement: Settlement) -> Command {
    let letter = match name.strip_prefix('#') {
        Some(number) => number.parse().expect("a number"),
        None => {
            let step = step(stage, name);
            stage.saga.dead().find(|(dead, _)| *dead == step).map_or(0, |(_, death)| death.letter)
        }
    };
    Command::Settle { letter, settlement, operator: operator(), seen: None }
}

fn step(stage: &Stage, name: &str) -> StepIndex {
    stage.definition.step(name).unwrap_or(usize::MAX)
}

fn answered(stage: &mut Stage, name: &str, text: &str) -> Command {
    let marks = [('!', Direction::Action), ('?', Direction::Probe), ('<', Direction::Compensation)];
    for (mark, direction) in marks {
        if let Some((name, attempt)) = name.split_once(mark) {
            let attempt = attempt.parse().expect("a number");
            return Command::Answered { step: step(stage, name), direction, attempt, answer: answer(name, text) };
        }
    }
    let step = step(stage, name);
    if matches!(stage.saga.steps[step].state, StepState::Compensating(Undoing { way: Way::Call, .. }))
        && !stage.is_flying(step, Direction::Compensation)
    {
        stage.command(&Command::Received { step, receives: 1 }).expect("it waits for its message");
    }
    let call = stage.flying.iter().find(|call| call.step == step);
    let call = call.unwrap_or_else(|| panic!("no call of {name} is in flight: {:#?}", stage.saga));
    let (direction, attempt) = (call.direction, call.attempt);
    if text == "withdrawn" {
        return Command::Withdrawn { step, direction, attempt };
    }
    Command::Answered { step, direction, attempt, answer: answer(name, text) }
}

fn answer(name: &str, text: &str) -> Answer {
    match text {
        "lost" => Answer::Lost { error: "nobody answered".into() },
        "unsent" => Answer::NotSent { error: "nobody there".into() },
        "done" => Answer::Reply(Reply::Done { output: Arc::new(json!({ "of": name })) }),
        "refused" => Answer::Reply(Reply::Refused { error: "it will not do".into() }),
        "later" => Answer::Reply(Reply::NotDone { error: "not now".into(), retry_after_ms: None }),
        "yes" => response(200, None, json!({ "happened": true, "of": name })),
        "no" => response(200, None, json!({ "happened": false })),
        _ => {
            let (status, retry_after) = text.split_once('/').unwrap_or((text, ""));
            let body = if text == "200" { json!({ "of": name }) } else { Value::Null };
            response(status.parse().expect("a status"), retry_after.parse().ok(), body)
        }
    }
}

// --- What it came to -----------------------------------------------------------------------------------------

fn describe(stage: &Stage, outcome: &Result<Decision, Refusal>) -> String {
    let decision = match outcome {
        Ok(decision) => decision,
        Err(Refusal::Stale) => return "stale".into(),
        Err(Refusal::Conflict(why)) => return format!("no: {why}"),
    };
    let mut words: Vec<String> = decision.events.iter().filter_map(|event| describe_event(stage, event)).collect();
    let is_call = |call: &&PlannedCall| call.direction == Direction::Compensation && !call.request.is_message();
    let sent = decision.calls.iter().filter(is_call);
    words.extend(sent.map(|call| format!("send {}<{}", stage.definition.steps[call.step].name, call.attempt)));
    if words.is_empty() {
        words.push("nothing".into());
    }
    let steps = stage.definition.steps.iter().zip(&stage.saga.steps);
    let steps: Vec<_> = steps.map(|(written, step)| format!("{} {}", written.name, step.status().as_str())).collect();
    format!("{} | {}: {}", words.join(", "), stage.saga.status().as_str(), steps.join(", "))
}

fn describe_event(stage: &Stage, event: &Event) -> Option<String> {
    let name = event.step().map_or("", |step| stage.definition.steps[step].name.as_str());
    let after = |at: &crate::time::Timestamp| at.since(stage.now);
    Some(match event {
        Event::Started { .. } => return None,
        Event::ActionStarted { attempt, until: None, .. } => format!("start {name}!{attempt}"),
        Event::ActionStarted { attempt, until: Some(until), .. } => format!("send {name}!{attempt} +{}", after(until)),
        Event::ActionDone { by_probe: false, .. } => format!("done {name}"),
        Event::ActionDone { by_probe: true, .. } => format!("found {name}"),
        Event::ActionFailed { trouble, retry_at, .. } => {
            format!("again {name} {} +{}", describe_trouble(*trouble), after(retry_at))
        }
        Event::ActionRefused { .. } => format!("refused {name}"),
        Event::ActionUnknown { ask_at: Some(_), .. } => format!("doubt {name}"),
        Event::ActionUnknown { ask_at: None, .. } => format!("unknown {name}"),
        Event::ProbeStarted { attempt, .. } => format!("ask {name}?{attempt}"),
        Event::ProbeFailed { trouble, retry_at, .. } => {
            format!("ask-again {name} {} +{}", describe_trouble(*trouble), after(retry_at))
        }
        Event::WaitStarted { until, .. } => format!("wait {name} +{}", after(until)),
        Event::WaitCompleted { .. } => format!("completed {name}"),
        Event::WaitFailed { .. } => format!("failed {name}"),
        Event::SleepStarted { until, .. } => format!("sleep {name} +{}", after(until)),
        Event::SleepEnded { .. } => format!("slept {name}"),
        Event::CompensationEntered { .. } => "back".into(),
        Event::CompensationQueued { claim, .. } => format!("undo {name} {}", claim.as_str()),
        Event::CompensationSent { attempt, until, .. } => format!("send {name}<{attempt} +{}", after(until)),
        Event::CompensationFailed { trouble, retry_at, .. } => {
            format!("undo-again {name} {} +{}", describe_trouble(*trouble), after(retry_at))
        }
        Event::CompensationDone { .. } => format!("undid {name}"),
        Event::DeadLettered { direction, claim, .. } => {
            format!("dead {name} {} {}", direction.as_str(), claim.as_str())
        }
        Event::DeadLetterSettled { settlement, .. } => format!("settled {name} {}", describe_settlement(settlement)),
        Event::Paused { .. } => "paused".into(),
        Event::Resumed { .. } => "resumed".into(),
        Event::Completed => "completed".into(),
        Event::Compensated => "compensated".into(),
    })
}

fn describe_trouble(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::NotDone => "not-done",
        Trouble::InProgress => "in-progress",
        Trouble::Unknown => "unknown",
        Trouble::Interrupted => "interrupted",
        Trouble::Withdrawn => "withdrawn",
    }
}

fn describe_settlement(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Retry => "retry",
        Settlement::Done { .. } => "done",
        Settlement::Undone => "undone",
        Settlement::Skip => "skip",
        Settlement::TurnAround => "around",
        Settlement::Edit { .. } => "edit",
    }
}
