//! What an action would do. The machine is asked, on the saga as the store has it now; nothing is written.

use super::problem::{self, ApiProblem};
use super::{Shared, wire};
use amends_client::{Change, Plan, PlannedCall, PlannedStep};
use amends_core::definition::StepIndex;
use amends_core::limits;
use amends_core::machine::{self, Command, Direction, Moment, Prospect, Request, Saga, Settlement};
use amends_core::redact::{Pointer, REDACTED, Redaction};
use amends_engine::Snapshot;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// What a command would do to a saga.
///
/// # Errors
/// Where the command would be refused, or the saga cannot be read.
pub(crate) async fn foresee(app: &Shared, saga: Uuid, command: &Command) -> Result<Plan, ApiProblem> {
    let (snapshot, _) = app.read(saga).await?;
    // Chance only spreads attempts that fail, and none does here.
    let moment = Moment { now: app.store.time().await?, chance: 0 };
    let prospect = machine::foresee(&snapshot.definition, &snapshot.saga, command, moment)
        .map_err(|refusal| ApiProblem::new(problem::CONFLICT, refusal.to_string()))?;
    Ok(plan(&snapshot, command, &prospect, &app.redact))
}

fn plan(snapshot: &Snapshot, command: &Command, prospect: &Prospect, everywhere: &[Pointer]) -> Plan {
    let redaction = Redaction::of(&snapshot.definition, everywhere);
    let at_last = &prospect.at_last;
    let calls = prospect.calls.iter().map(|call| {
        let machine::PlannedCall { step, direction, ref request, .. } = *call;
        Foreseen { step, direction, request }
    });
    let steps = snapshot.definition.steps.iter().zip(&at_last.steps);
    Plan {
        seen: snapshot.saga.sequence,
        calls: calls.map(|call| shown(redaction, snapshot, at_last, call)).collect(),
        status: wire::status(prospect.at_once.status()),
        status_at_last: wire::status(at_last.status()),
        steps: steps
            .map(|(written, step)| PlannedStep { name: written.name.clone(), status: wire::step_status(step.status()) })
            .collect(),
        changes: edited(redaction, snapshot, command).map(|(old, new)| changes(&old, &new)).unwrap_or_default(),
    }
}

/// The call that a step would make as the saga stands; `None` where it has none, or it cannot be rendered.
pub(crate) fn call(
    snapshot: &Snapshot,
    (step, direction): (StepIndex, Direction),
    everywhere: &[Pointer],
) -> Option<PlannedCall> {
    let request = machine::request_of(&snapshot.definition, &snapshot.saga, step, direction)?.ok()?;
    let redaction = Redaction::of(&snapshot.definition, everywhere);
    Some(shown(redaction, snapshot, &snapshot.saga, Foreseen { step, direction, request: &request }))
}

/// A call that is to be shown.
struct Foreseen<'a> {
    step: StepIndex,
    direction: Direction,
    request: &'a Request,
}

/// A call, with the keys that a saga in this state gives it, and without what is not shown.
fn shown(redaction: Redaction<'_>, snapshot: &Snapshot, saga: &Saga, call: Foreseen<'_>) -> PlannedCall {
    let (definition, Foreseen { step, direction, request }) = (&snapshot.definition, call);
    let (path, body) = match redaction.saga(saga) {
        Cow::Borrowed(_) => (request.path.clone(), body(request)),
        Cow::Owned(seen) => match machine::request_of(definition, &seen, step, direction) {
            Some(Ok(request)) => (request.path.clone(), body(&request)),
            // An expression could do nothing with what stands for a value.
            Some(Err(_)) | None => (REDACTED.to_owned(), REDACTED.into()),
        },
    };
    PlannedCall {
        step: definition.steps[step].name.clone(),
        direction: direction.as_str().to_owned(),
        method: request.method.as_str().to_owned(),
        participant: request.participant.clone(),
        path,
        idempotency_key: match direction {
            Direction::Action | Direction::Probe => saga.action_key(definition, step),
            Direction::Compensation => saga.compensation_key(definition, step),
        },
        body,
    }
}

/// The body as JSON; null where there is none.
fn body(request: &Request) -> Value {
    request.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
}

/// The bodies before and after, where a command edits one.
fn edited(redaction: Redaction<'_>, snapshot: &Snapshot, command: &Command) -> Option<(Value, Value)> {
    let Command::Settle { letter, settlement: Settlement::Edit { body: new }, .. } = command else { return None };
    let (step, _) = snapshot.saga.dead().find(|(_, death)| death.letter == *letter)?;
    let seen = redaction.saga(&snapshot.saga);
    let request = machine::request_of(&snapshot.definition, &seen, step, Direction::Action)?;
    // What could not be rendered was nothing.
    Some((request.map(|request| body(&request)).unwrap_or_default(), redaction.edited(new)))
}

/// A body as it may be kept.
///
/// # Errors
/// Where it is too large.
pub(crate) fn checked_body(body: Value) -> Result<Value, ApiProblem> {
    if body.to_string().len() > limits::OUTPUT_BYTES {
        let detail = format!("`body` is larger than {} KiB, the most that is kept", limits::OUTPUT_BYTES / 1024);
        return Err(ApiProblem::new(problem::TOO_LARGE, detail));
    }
    Ok(body)
}

/// Where two values differ. Arrays are compared place by place: whoever edits one sees what stands where, and not how it
/// might have come there.
fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(Some(old), Some(new), String::new(), &mut found);
    found
}

fn compare(old: Option<&Value>, new: Option<&Value>, pointer: String, found: &mut Vec<Change>) {
    let into = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            names.into_iter().for_each(|name| compare(old.get(name), new.get(name), into(name), found));
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            let places = 0..old.len().max(new.len());
            places.for_each(|place| compare(old.get(place), new.get(place), into(&place.to_string()), found));
        }
        (old, new) if old == new => {}
        (old, new) => found.push(Change { pointer, old: old.cloned(), new: new.cloned() }),
    }
}
