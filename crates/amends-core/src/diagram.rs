//! The state diagrams of `docs/states.md`, drawn from the machine itself: a few small definitions are explored with
//! every command at every state, and what the events do to the statuses becomes an edge.
//!
//! It cannot see what the definitions cannot lead to: a request that renders differently after an upgrade, and a
//! history that was damaged.

use crate::answer::{Answer, Reply, Response};
use crate::definition::Definition;
use crate::lint;
use crate::machine::{
    Command, Decision, Direction, Event, Moment, Operator, Saga, Settlement, Start, Status, StepState, StepStatus,
    apply, begin, decide, fold,
};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt::{Display, Write};
use std::sync::Arc;
use uuid::Uuid;

/// Between them they have every kind of step, every kind of work and every way to find out.
const DEFINITIONS: [&str; 6] = [
    r#"
saga: probed
key: "{{ input.id }}"
deadline: 1h
steps:
  work:
    action: { post: "p:/work" }
    probe: { get: "p:/work", happened: "{{ response.body.happened }}", retry: { attempts: 2 } }
    compensation: { post: "p:/undo", retry: { attempts: 2 } }
    retry: { attempts: 2 }
  approval: { wait: 60s }
"#,
    r#"
saga: unprobed
key: "{{ input.id }}"
steps:
  work:
    action: { post: "p:/work" }
    compensation: { post: "p:/undo", retry: { attempts: 2 } }
    retry: { attempts: 2 }
  once:
    action: { post: "p:/once" }
    effects: at-most-once
    retry: { attempts: 2 }
"#,
    r#"
saga: past-return
key: "{{ input.id }}"
steps:
  pay:
    kind: pivot
    action: { post: "p:/pay" }
    effects: at-most-once
    probe: { get: "p:/pay", happened: "{{ response.body.happened }}", retry: { attempts: 1 } }
    retry: { attempts: 2 }
  confirm:
    kind: retriable
    action: { post: "p:/confirm" }
    retry: { attempts: 1 }
"#,
    r#"
saga: patient
key: "{{ input.id }}"
steps:
  rest: { sleep: 10s }
  pay: { kind: pivot, action: { post: "p:/pay" } }
  approval: { kind: retriable, wait: 60s }
"#,
    r#"
saga: by-message
key: "{{ input.id }}"
steps:
  work:
    action: { send: "queue:q", timeout: 60s }
    compensation: { send: "queue:q", timeout: 60s, retry: { attempts: 2 } }
    retry: { attempts: 2 }
  approval: { wait: 60s }
"#,
    r#"
saga: unrenderable
key: "{{ input.id }}"
steps:
  work: { action: { post: "p:/work", body: { x: "{{ input.missing }}" } }, compensation: none }
"#,
];

/// When nothing is waited for, an hour is longer than any policy above.
const HOUR_MS: u64 = 3_600_000;

/// The Mermaid state diagrams of a saga and of a step, as Markdown.
///
/// # Panics
/// Where one of the built-in definitions is not valid any more.
#[must_use]
pub fn mermaid() -> String {
    let mut edges = Edges::default();
    for source in DEFINITIONS {
        explore(&lint::compile(source).expect("the definitions above are valid"), &mut edges);
    }
    let mut text = String::from("### Of a saga\n\n");
    let last = |status: Status| matches!(status, Status::Completed | Status::Compensated);
    draw(&mut text, &edges.saga, Status::as_str, ("running", "started"), last);
    text.push_str("\n### Of a step\n\n");
    draw(&mut text, &edges.step, StepStatus::as_str, ("pending", "started"), |_| false);
    text
}

/// From one status to another: by which events.
type Graph<S> = BTreeMap<(S, S), BTreeSet<&'static str>>;

#[derive(Default)]
struct Edges {
    saga: Graph<Status>,
    step: Graph<StepStatus>,
}

fn draw<S: Copy + Ord, N: Display>(
    text: &mut String,
    graph: &Graph<S>,
    name: impl Fn(S) -> N,
    (first, by): (&str, &str),
    is_last: impl Fn(S) -> bool,
) {
    text.push_str("```mermaid\nstateDiagram-v2\n");
    let mut line = |line: String| writeln!(text, "    {line}").expect("text takes text");
    line(format!("[*] --> {first}: {by}"));
    for ((from, to), events) in graph {
        let events: Vec<_> = events.iter().copied().collect();
        line(format!("{} --> {}: {}", name(*from), name(*to), events.join(", ")));
    }
    let reached: BTreeSet<S> = graph.keys().map(|(_, to)| *to).filter(|to| is_last(*to)).collect();
    reached.into_iter().for_each(|to| line(format!("{} --> [*]", name(to))));
    text.push_str("```\n");
}

/// Goes through all sagas of the definition that differ by more than their times and numbers, breadth first.
fn explore(definition: &Definition, edges: &mut Edges) {
    let input = Arc::new(json!({ "id": "1" }));
    let start = Start { id: Uuid::nil(), key: "1".into(), input, traceparent: None };
    let moment = |now| Moment { now, chance: 0 };
    let first = begin(definition, start, moment(Timestamp(0)));
    let born = fold(definition, Uuid::nil(), [(Timestamp(0), &first.events[0])]).expect("a start begins a history");
    edges.note(born, &first.events[1..], Timestamp(0));
    let mut seen = HashSet::from([outline(&first.saga)]);
    let mut open = VecDeque::from([(first.saga, Timestamp(0))]);
    while let Some((saga, now)) = open.pop_front() {
        let due = saga.wake_at(definition).map(|at| at.max(now));
        for command in commands(&saga) {
            for at in [Some(now), due, Some(now.plus(HOUR_MS))].into_iter().flatten() {
                let Ok(Decision { events, saga: next, .. }) = decide(definition, &saga, &command, moment(at)) else {
                    continue;
                };
                edges.note(Saga::clone(&saga), &events, at);
                if seen.insert(outline(&next)) {
                    open.push_back((next, at));
                }
            }
        }
    }
}

impl Edges {
    /// Notes what each of the events does to the saga and to its steps.
    fn note(&mut self, mut saga: Saga, events: &[Event], at: Timestamp) {
        for event in events {
            let before = saga.clone();
            apply(&mut saga, event, at).expect("a decision's events fit the saga");
            if before.status() != saga.status() {
                self.saga.entry((before.status(), saga.status())).or_default().insert(event.name());
            }
            for (index, (old, new)) in before.steps.iter().zip(&saga.steps).enumerate() {
                if event.step() == Some(index) || old.status() != new.status() {
                    self.step.entry((old.status(), new.status())).or_default().insert(event.name());
                }
            }
        }
    }
}

/// What tells one saga from another in the exploration.
fn outline(saga: &Saga) -> String {
    let mut text = format!("{:?} {}", std::mem::discriminant(&saga.phase), saga.held);
    for step in &saga.steps {
        let (budget, known) = match &step.state {
            StepState::Acting(trial) | StepState::Sent { trial, .. } | StepState::ActionDue { trial, .. } => {
                (trial.spent, String::new())
            }
            StepState::Probing(inquiry) | StepState::ProbeDue { inquiry, .. } => (inquiry.spent, String::new()),
            StepState::Compensating(undoing) => (undoing.spent, format!("{:?} {}", undoing.claim, undoing.is_sent())),
            StepState::Dead(death) => (0, format!("{:?} {:?}", death.direction, death.claim)),
            StepState::Pending
            | StepState::Reopened
            | StepState::Waiting { .. }
            | StepState::Sleeping { .. }
            | StepState::Done
            | StepState::Refused
            | StepState::Unknown
            | StepState::Skipped
            | StepState::Compensated => (0, String::new()),
        };
        let state = std::mem::discriminant(&step.state);
        write!(text, " {state:?} {budget} {known} {}", step.uncertain).expect("text takes text");
    }
    text
}

/// Every command that may mean something to the saga.
fn commands(saga: &Saga) -> Vec<Command> {
    let operator = || Operator { actor: "someone".into(), reason: "a reason".into() };
    let mut commands = vec![
        Command::Tick,
        Command::Recover,
        Command::Cancel(operator()),
        Command::Pause(operator()),
        Command::Resume(operator()),
    ];
    for (step, found) in saga.steps.iter().enumerate() {
        commands.push(Command::Complete { step, output: Arc::new(Value::Null), operator: operator() });
        commands.push(Command::Fail { step, operator: operator() });
        commands.extend([1, 21].map(|receives| Command::Received { step, receives }));
        let calls = [
            (Direction::Action, found.attempts),
            (Direction::Probe, 1),
            (Direction::Probe, 2),
            (Direction::Compensation, found.compensation_attempts + 1),
        ];
        for (direction, attempt) in calls {
            commands.extend(answers().map(|answer| Command::Answered { step, direction, attempt, answer }));
        }
    }
    for (_, death) in saga.dead() {
        let done = Settlement::Done { output: Arc::new(Value::Null) };
        let edit = Settlement::Edit { body: Arc::new(Value::Null) };
        let settlements = [Settlement::Retry, edit, done, Settlement::Undone, Settlement::Skip, Settlement::TurnAround];
        let letter = death.letter;
        commands.extend(settlements.map(|settlement| Command::Settle {
            letter,
            settlement,
            operator: operator(),
            seen: None,
        }));
    }
    commands
}

/// One answer of each class.
fn answers() -> impl Iterator<Item = Answer> {
    let response = |status, retry_after_ms, body| {
        Answer::Response(Response { status, retry_after_ms, body: Arc::new(body), body_dropped: None })
    };
    [
        response(200, None, json!({ "happened": true })),
        response(200, None, json!({ "happened": false })),
        response(403, None, Value::Null),
        response(409, Some(1_000), Value::Null),
        response(503, None, Value::Null),
        Answer::NotSent { error: "no connection".into() },
        Answer::Reply(Reply::Done { output: Arc::default() }),
        Answer::Reply(Reply::NotDone { error: "not now".into(), retry_after_ms: None }),
        Answer::Reply(Reply::Refused { error: "never".into() }),
    ]
    .into_iter()
}
