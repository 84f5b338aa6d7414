//! Plays a saga to its rest against participants who answer as a script says.
//!
//! A definition is a line of steps, each with options: `a b(pivot,probe) c(retriable,after=a+b)`. There are `pivot`,
//! `retriable`, `after=`, `once` (at-most-once), `probe`, `none` (`compensation: none`), `bare` (nothing is said about
//! compensation), `wait` (60 s), `sleep` (10 s), `missing` and `undo-missing` (the call cannot be rendered), `gone` (404
//! ends the compensation), `tries=` (2) and `total=` (10s). Before the steps may stand `deadline=30s`.
//!
//! A script is a list of parts between bars. A part is either answers, which then are given and the saga is brought
//! to rest, or a command, after which it is brought to rest as well:
//!
//! - `a: 503 x2, 200; undo a: 401; ask a: yes`. What is not scripted is answered well. `hold` leaves a call in flight.
//! - `cancel`, `pause`, `resume`, `recover`, `+30s`, `complete a`, `fail a`, `retry a`, `done a`, `undone a`, `skip a`,
//!   `receive a 21`, `late a 1` (an answer to the first attempt).
//!
//! At rest every call has been answered, and nothing is left but waits, sleeps and people.

use amends_core::answer::{Answer, Response};
use amends_core::definition::{Definition, StepIndex};
use amends_core::lint;
use amends_core::machine::{
    Command, Direction, Moment, Operator, PlannedCall, Refusal, Saga, Settlement, Start, StepState, begin, decide,
};
use amends_core::time::{Timestamp, parse_duration};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use uuid::Uuid;

/// More strides than any script takes: what goes on for longer goes on for ever.
const STRIDES: usize = 500;

/// One saga with its participants.
pub struct Play {
    pub definition: Definition,
    pub saga: Saga,
    pub now: Timestamp,
    /// What was sent, in order, such as `a`, `ask a`, `undo a`.
    pub sent: Vec<String>,
    /// When each of them was sent.
    pub sent_at: Vec<Timestamp>,
    flying: Vec<PlannedCall>,
    script: HashMap<String, VecDeque<String>>,
}

/// Compares the end of a play with what was expected: `compensated: a compensated, b refused; a b undo-a`, which is
/// the saga's status, the steps', and the calls in their order; or the last command's refusal.
#[track_caller]
pub fn check(definition: &str, script: &str, expected: &str) {
    let (play, refusal) = Play::run(definition, script);
    let found = refusal.map_or_else(|| play.describe(), |refusal| format!("no: {refusal}"));
    assert_eq!(found, expected, "\n  of {definition}\n  after {script}");
}

impl Play {
    /// Plays a whole script. Only its last command may be refused.
    pub fn run(definition: &str, script: &str) -> (Play, Option<Refusal>) {
        let definition = lint::compile(&yaml(definition)).unwrap_or_else(|found| panic!("{definition}: {found:#?}"));
        let input = Arc::new(json!({ "id": "order-1" }));
        let start = Start { id: Uuid::from_u128(7), key: "key-1".into(), input, traceparent: None };
        let now = Timestamp(1_000_000);
        let first = begin(&definition, start, Moment { now, chance: 1 });
        let (saga, flying) = (first.saga, first.calls);
        let (sent, sent_at, script_of) = (Vec::new(), Vec::new(), HashMap::new());
        let mut play = Play { definition, saga, now, sent, sent_at, flying, script: script_of };
        play.flying.clone().iter().for_each(|call| play.log(call));
        let mut refusal = None;
        for part in script.split('|').map(str::trim) {
            assert_eq!(refusal, None, "before `{part}`");
            refusal = play.part(part).err();
            play.rest();
        }
        (play, refusal)
    }

    fn part(&mut self, part: &str) -> Result<(), Refusal> {
        if part.contains(':') {
            part.split(';').for_each(|line| self.learn(line));
            return Ok(());
        }
        if part.is_empty() {
            return Ok(());
        }
        let command = self.read_command(part);
        if command == Command::Recover {
            self.flying.clear();
            self.script.values_mut().for_each(|answers| answers.retain(|answer| answer != "hold"));
        }
        self.command(&command)
    }

    fn learn(&mut self, line: &str) {
        let (who, answers) = line.split_once(':').expect("a name before the answers");
        let queue = self.script.entry(who.trim().to_owned()).or_default();
        queue.retain(|answer| answer != "hold");
        for answer in answers.split(',').map(str::trim) {
            let (answer, times) = answer.split_once(" x").unwrap_or((answer, "1"));
            let times = times.parse().expect("a number of times");
            queue.extend(std::iter::repeat_n(answer.to_owned(), times));
        }
    }

    fn command(&mut self, command: &Command) -> Result<(), Refusal> {
        let chance = self.saga.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let decision = decide(&self.definition, &self.saga, command, Moment { now: self.now, chance })?;
        self.saga = decision.saga;
        decision.calls.iter().for_each(|call| self.log(call));
        self.flying.extend(decision.calls);
        Ok(())
    }

    fn log(&mut self, call: &PlannedCall) {
        self.sent.push(self.label(call.step, call.direction).replace(' ', "-"));
        self.sent_at.push(self.now);
    }

    fn label(&self, step: StepIndex, direction: Direction) -> String {
        let name = &self.definition.steps[step].name;
        match direction {
            Direction::Action => name.clone(),
            Direction::Compensation => format!("undo {name}"),
            Direction::Probe => format!("ask {name}"),
        }
    }

    /// Answers what is in flight, delivers what is due, and lets time pass for what is tried again.
    fn rest(&mut self) {
        for _ in 0..STRIDES {
            if !self.stride() {
                return;
            }
        }
        panic!("it never rests: {:#?}", self.saga);
    }

    fn stride(&mut self) -> bool {
        for place in 0..self.flying.len() {
            let PlannedCall { step, direction, attempt, .. } = self.flying[place];
            let label = self.label(step, direction);
            let answer = self.script.get_mut(&label).and_then(VecDeque::pop_front);
            if answer.as_deref() == Some("hold") {
                self.script.entry(label).or_default().push_front("hold".into());
                continue;
            }
            self.flying.remove(place);
            let answer = read_answer(answer.as_deref().unwrap_or("200"));
            self.command(&Command::Answered { step, direction, attempt, answer }).expect("it is waited for");
            return true;
        }
        if self.saga.held {
            return false;
        }
        let due = |state: &StepState| match state {
            StepState::ActionDue { at, .. } | StepState::ProbeDue { at, .. } => Some((*at, false)),
            StepState::Compensating(undoing) => Some((undoing.at, true)),
            _ => None,
        };
        let steps = self.saga.steps.iter().enumerate().filter(|(step, _)| !self.is_undoing(*step));
        let next = steps.filter_map(|(step, found)| due(&found.state).map(|(at, message)| (at, step, message))).min();
        let Some((at, step, is_message)) = next else { return false };
        self.now = self.now.max(at);
        let command = if is_message { Command::Received { step, receives: 1 } } else { Command::Tick };
        self.command(&command).expect("it is due");
        true
    }

    fn is_undoing(&self, step: StepIndex) -> bool {
        self.flying.iter().any(|call| call.step == step && call.direction == Direction::Compensation)
    }

    fn read_command(&mut self, text: &str) -> Command {
        if let Some(time) = text.strip_prefix('+') {
            self.now = self.now.plus(parse_duration(time).expect("a duration"));
            return Command::Tick;
        }
        let operator = || Operator { actor: "ann".into(), reason: "a test".into() };
        let words: Vec<&str> = text.split_whitespace().collect();
        let step = |name: &str| self.definition.step(name).unwrap_or(usize::MAX);
        let number = |text: &str| text.parse().expect("a number");
        let output = || Arc::new(json!({ "of": "hand" }));
        let settlement = match *words {
            ["cancel"] => return Command::Cancel(operator()),
            ["pause"] => return Command::Pause(operator()),
            ["resume"] => return Command::Resume(operator()),
            ["recover"] => return Command::Recover,
            ["complete", name] => return Command::Complete { step: step(name), output: output() },
            ["fail", name] => return Command::Fail { step: step(name), reason: "no".into() },
            ["receive", name, times] => return Command::Received { step: step(name), receives: number(times) },
            ["late", name, attempt] => return late(step(name), Direction::Action, number(attempt)),
            ["late", "undo", name, attempt] => return late(step(name), Direction::Compensation, number(attempt)),
            ["late", "ask", name, attempt] => return late(step(name), Direction::Probe, number(attempt)),
            ["retry", _] => Settlement::Retry,
            ["done", _] => Settlement::Done { output: output() },
            ["undone", _] => Settlement::Undone,
            ["skip", _] => Settlement::Skip,
            _ => panic!("`{text}` is no command"),
        };
        let dead = step(words[1]);
        let letter = self.saga.dead().find(|(step, _)| *step == dead).map_or(0, |(_, death)| death.letter);
        Command::Settle { letter, settlement, operator: operator() }
    }

    fn describe(&self) -> String {
        let steps = self.definition.steps.iter().zip(&self.saga.steps);
        let steps: Vec<_> = steps.map(|(step, found)| format!("{} {}", step.name, found.status().as_str())).collect();
        format!("{}: {}; {}", self.saga.status().as_str(), steps.join(", "), self.sent.join(" "))
    }
}

fn late(step: StepIndex, direction: Direction, attempt: u32) -> Command {
    Command::Answered { step, direction, attempt, answer: read_answer("200") }
}

/// `503`, `409/2000` with `Retry-After` in milliseconds, `lost`, `unsent`; of a probe `yes` and `no`.
pub fn read_answer(text: &str) -> Answer {
    let response = |status, retry_after_ms, body| {
        Answer::Response(Response { status, retry_after_ms, body: Arc::new(body), body_dropped: None })
    };
    match text {
        "lost" => Answer::Lost { error: "nobody answered".into() },
        "unsent" => Answer::NotSent { error: "nobody there".into() },
        "yes" => response(200, None, json!({ "happened": true })),
        "no" => response(200, None, json!({ "happened": false })),
        _ => {
            let (status, retry_after) = text.split_once('/').unwrap_or((text, ""));
            response(status.parse().expect("a status"), retry_after.parse().ok(), Value::Null)
        }
    }
}

/// The definition that a line describes.
pub fn yaml(line: &str) -> String {
    let mut text = String::from("saga: s\nkey: \"{{ input.id }}\"\n");
    let mut steps = String::from("steps:\n");
    for word in line.split_whitespace() {
        match word.strip_prefix("deadline=") {
            Some(deadline) => writeln!(text, "deadline: {deadline}").expect("text takes text"),
            None => write_step(&mut steps, word),
        }
    }
    text + &steps
}

fn write_step(text: &mut String, word: &str) {
    let (name, options) = word.split_once('(').unwrap_or((word, ")"));
    let options: HashMap<&str, &str> =
        options.trim_end_matches(')').split(',').map(|option| option.split_once('=').unwrap_or((option, ""))).collect();
    let has = |option: &str| options.contains_key(option);
    let kind = ["pivot", "retriable"].into_iter().find(|kind| has(kind));
    let mut line = |line: String| writeln!(text, "{line}").expect("text takes text");
    line(format!("  {name}:"));
    kind.into_iter().for_each(|kind| line(format!("    kind: {kind}")));
    options.get("after").iter().for_each(|names| line(format!("    after: [{}]", names.replace('+', ", "))));
    if has("wait") || has("sleep") {
        return line(format!("    {}", if has("wait") { "wait: 60s" } else { "sleep: 10s" }));
    }
    let body = |missing: bool| format!("{{ x: \"{{{{ input.{} }}}}\" }}", if missing { "missing" } else { "id" });
    let (tries, total) = (options.get("tries").unwrap_or(&"2"), options.get("total").unwrap_or(&"10s"));
    let retry = format!("{{ attempts: {tries}, initial: 1ms, factor: 1, max: 1ms, total: {total} }}");
    line(format!("    action: {{ post: \"p:/{name}\", body: {} }}\n    retry: {retry}", body(has("missing"))));
    if has("once") {
        line("    effects: at-most-once".into());
    }
    if has("probe") {
        let happened = "\"{{ response.body.happened }}\"";
        line(format!("    probe: {{ get: \"p:/{name}\", happened: {happened}, retry: {retry} }}"));
    }
    if has("none") {
        line("    compensation: none".into());
    } else if kind.is_none() && !has("bare") {
        let gone = if has("gone") { ", not_found: done" } else { "" };
        let body = body(has("undo-missing"));
        line(format!("    compensation: {{ post: \"p:/{name}/undo\", body: {body}, retry: {retry}{gone} }}"));
    }
}
