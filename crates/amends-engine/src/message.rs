//! What goes over a queue: the commands of steps, and the answers to them.

use crate::egress::is_deeper;
use amends_core::answer::Reply;
use amends_core::definition::Definition;
use amends_core::limits::{JSON_DEPTH, OUTPUT_BYTES};
use amends_core::machine::{Direction, PlannedCall, Saga};
use amends_core::time::Timestamp;
use amends_store::Write;
use amends_store::queues::NewMessage;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use uuid::Uuid;

/// A command as its participant gets it. It may get it more than once.
#[derive(Serialize)]
struct Command<'a> {
    /// Names the command; whoever answers gives it back.
    id: &'a str,
    saga: Uuid,
    step: &'a str,
    direction: Direction,
    attempt: u32,
    /// The same for every attempt.
    idempotency_key: String,
    /// Of a compensation: the key of the action that it undoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    action_key: Option<String>,
    traceparent: String,
    /// Whoever meets it later does not begin with it any more.
    not_after: Timestamp,
    body: &'a RawValue,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The command's id.
    pub to: String,
    /// What became of it.
    #[serde(flatten)]
    pub reply: Reply,
}

/// A command by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addressee<'a> {
    pub(crate) saga: Uuid,
    pub(crate) step: &'a str,
    pub(crate) direction: Direction,
    pub(crate) attempt: u32,
}

/// What writes the message that a call stands for.
pub(crate) fn send(definition: &Definition, saga: &Saga, call: &PlannedCall, now: Timestamp) -> Write {
    let step = definition.steps[call.step].name.as_str();
    let own_key = saga.action_key(definition, call.step);
    let (idempotency_key, undone_key) = match call.direction {
        Direction::Action | Direction::Probe => (own_key, None),
        Direction::Compensation => (saga.compensation_key(definition, call.step), Some(own_key)),
    };
    let id = format!("{}.{step}.{}.{}", saga.id, call.direction.as_str(), call.attempt);
    let body = call.request.body.clone().unwrap_or_else(|| "null".into());
    let command = Command {
        id: &id,
        saga: saga.id,
        step,
        direction: call.direction,
        attempt: call.attempt,
        idempotency_key,
        action_key: undone_key,
        traceparent: crate::trace::traceparent(saga, call.step, call.direction, call.attempt),
        not_after: now.plus(call.request.timeout_ms),
        body: &RawValue::from_string(body).expect("a request's body is JSON"),
    };
    // What XML cannot hold is within texts alone, and Amazon SQS refuses it.
    let body = serde_json::to_string(&command).expect("a command is plain data");
    let body = body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    Write::Send { queue: call.request.participant.clone(), message: NewMessage { id, body, at: now } }
}

/// How much of a sentence is kept, in characters; of what a call is answered with it is as much.
const SENTENCE_CHARS: usize = 300;

/// What is kept of an answer. An output that is too large or nested too deep is left out, as that of a call is.
pub(crate) fn bounded(reply: Reply) -> Reply {
    let cut = |error: String| error.chars().take(SENTENCE_CHARS).collect();
    match reply {
        Reply::Done { output } if is_deeper(&output, JSON_DEPTH) || output.to_string().len() > OUTPUT_BYTES => {
            tracing::warn!("an output is larger or nested deeper than what is kept, and is left out");
            Reply::Done { output: Arc::default() }
        }
        Reply::Done { output } => Reply::Done { output },
        Reply::Refused { error } => Reply::Refused { error: cut(error) },
        Reply::NotDone { error, retry_after_ms } => Reply::NotDone { error: cut(error), retry_after_ms },
    }
}

impl Addressee<'_> {
    /// The command that an id names; `None` where it is the id of none.
    pub(crate) fn read(id: &str) -> Option<Addressee<'_>> {
        let mut parts = id.split('.');
        let (saga, step) = (parts.next()?, parts.next()?);
        let (direction, attempt) = (parts.next()?, parts.next()?);
        let direction =
            [Direction::Action, Direction::Compensation].into_iter().find(|one| one.as_str() == direction)?;
        let addressee =
            Addressee { saga: Uuid::try_parse(saga).ok()?, step, direction, attempt: attempt.parse().ok()? };
        (parts.next().is_none() && addressee.attempt > 0).then_some(addressee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_core::lint;
    use amends_core::machine::{Edit, Event, fold, request_of};
    use serde_json::json;

    #[test]
    fn ids_of_commands() {
        let saga = Uuid::from_u128(7);
        let read = |id: &str| Addressee::read(id).map(|to| (to.saga, to.step.to_owned(), to.direction, to.attempt));
        assert_eq!(read(&format!("{saga}.pay.action.2")), Some((saga, "pay".into(), Direction::Action, 2)));
        let undo = Some((saga, "pay".into(), Direction::Compensation, 1));
        assert_eq!(read(&format!("{saga}.pay.compensation.1")), undo);
        for wrong in ["", "x", "x.pay.action.1", ".pay.action.1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for wrong in [
            "pay.action",
            "pay.probe.1",
            "pay.action.-1",
            "pay.action.0",
            "pay.action.x",
            "pay.action.1.",
            "pay.action.1.2",
        ] {
            assert_eq!(read(&format!("{saga}.{wrong}")), None, "{wrong}");
        }
    }

    /// A body that a person has put in the place of another goes under a key of its own, in a command of its own.
    #[test]
    fn an_edited_command_has_another_key() {
        let source = "saga: s\nkey: x\nsteps:\n  pay: { action: { send: \"queue:bank\", body: { n: 1 } }, \
                      compensation: { send: \"queue:bank\", body: {} } }\n";
        let definition = lint::compile(source).expect("it is valid");
        let (key, input) = ("x".to_owned(), Arc::default());
        let started = Event::Started { key, input, deadline_at: None, traceparent: None };
        let mut saga = fold(&definition, Uuid::from_u128(7), [(Timestamp(1), &started)]).expect("it begins so");
        let sent = |saga: &Saga, direction, attempt| {
            let request = request_of(&definition, saga, 0, direction).expect("there is one").expect("it is rendered");
            let call = PlannedCall { step: 0, direction, attempt, request };
            let Write::Send { message, .. } = send(&definition, saga, &call, Timestamp(1)) else { unreachable!() };
            let told: serde_json::Value = serde_json::from_str(&message.body).expect("it is JSON");
            (message.id, told["idempotency_key"].clone(), told["action_key"].clone(), told["body"].clone())
        };
        let id = saga.id;
        let first = sent(&saga, Direction::Action, 1);
        assert_eq!(first, (format!("{id}.pay.action.1"), json!(format!("x-{id}-pay")), json!(null), json!({ "n": 1 })));
        saga.steps[0].edit = Some(Edit { body: Arc::new(json!({ "n": 2 })), generation: 2, after_attempt: 1 });
        let edited = sent(&saga, Direction::Action, 2);
        assert_eq!(
            edited,
            (format!("{id}.pay.action.2"), json!(format!("x-{id}-pay.2")), json!(null), json!({ "n": 2 }))
        );
        let (name, key, undone_key, _) = sent(&saga, Direction::Compensation, 1);
        assert_eq!(name, format!("{id}.pay.compensation.1"));
        let keys = [key, undone_key];
        assert_eq!(keys, [json!(format!("x-{id}-pay.2-compensation")), json!(format!("x-{id}-pay.2"))]);
    }

    #[test]
    fn what_is_kept_of_an_answer() {
        let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
        let kept = |output: serde_json::Value| bounded(Reply::Done { output: Arc::new(output) });
        assert_eq!(kept(nested(64)), Reply::Done { output: Arc::new(nested(64)) });
        for output in [nested(65), json!("x".repeat(OUTPUT_BYTES))] {
            assert_eq!(kept(output), Reply::Done { output: Arc::default() });
        }
        assert_eq!(bounded(Reply::Refused { error: "é".repeat(400) }), Reply::Refused { error: "é".repeat(300) });
    }

    #[test]
    fn answers_as_they_are_written() {
        let read = |text: serde_json::Value| serde_json::from_value::<Answer>(text).ok().map(|answer| answer.reply);
        let output = Arc::new(json!({ "receipt": 1 }));
        let done = json!({ "to": "x", "outcome": "done", "output": { "receipt": 1 } });
        assert_eq!(read(done), Some(Reply::Done { output }));
        assert_eq!(read(json!({ "to": "x", "outcome": "done" })), Some(Reply::Done { output: Arc::default() }));
        let refused = json!({ "to": "x", "outcome": "refused", "error": "no" });
        assert_eq!(read(refused), Some(Reply::Refused { error: "no".into() }));
        let later = json!({ "to": "x", "outcome": "not-done", "error": "no", "retry_after_ms": 5 });
        assert_eq!(read(later), Some(Reply::NotDone { error: "no".into(), retry_after_ms: Some(5) }));
        for wrong in [json!({ "outcome": "done" }), json!({ "to": "x" }), json!({ "to": "x", "outcome": "maybe" })] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}
