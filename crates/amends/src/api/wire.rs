//! What the engine and the store know, as it goes over the wire. This is the one place where sagas become something to look at, so
//! what is not to be shown is taken out here. `everywhere` is what the configuration redacts in all of them.

use amends_client as wire;
use amends_core::lint;
use amends_core::machine::{self, Command, Event, Moment, Operator, Phase, Settlement, Status, StepState, StepStatus};
use amends_core::redact::{Pointer, Redaction, own_words};
use amends_core::text::hexadecimal;
use amends_core::time::Timestamp;
use amends_engine::Snapshot;
use amends_store as store;
use amends_store::queues::{DeadMessage, Delivery, Handled, Redrive};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A saga.
pub(crate) fn saga(snapshot: &Snapshot, everywhere: &[Pointer]) -> wire::Saga {
    let saga = &snapshot.saga;
    let redaction = Redaction::of(&snapshot.definition, everywhere);
    let finished_at = match &saga.phase {
        Phase::Completed { at } | Phase::Compensated { at, .. } => Some(at.to_string()),
        Phase::Forward | Phase::Compensating { .. } => None,
    };
    wire::Saga {
        id: snapshot.id.to_string(),
        definition: snapshot.birth.definition.clone(),
        version: snapshot.birth.version.clone(),
        key: saga.key.clone(),
        status: status(saga.status()),
        paused: saga.held,
        reason: saga.reason(&snapshot.definition).map(|reason| redaction.text(&reason).into_owned()),
        input: redaction.input(&saga.input),
        created_at: saga.created_at.to_string(),
        deadline_at: saga.deadline_at.map(|at| at.to_string()),
        finished_at,
        can_cancel: would(snapshot, &Command::Cancel(somebody())),
        steps: (0..saga.steps.len()).map(|index| step(snapshot, index, redaction)).collect(),
    }
}

fn step(snapshot: &Snapshot, index: usize, redaction: Redaction<'_>) -> wire::Step {
    let (written, step) = (&snapshot.definition.steps[index], &snapshot.saga.steps[index]);
    let next_at = match &step.state {
        // The first try has no time of its own: it comes as soon as there is a place for it.
        StepState::Compensating(undoing) if step.compensation_attempts > 0 => Some(undoing.at),
        state => state.due_at().filter(|_| !snapshot.saga.is_finished()),
    };
    wire::Step {
        name: written.name.clone(),
        status: step_status(step.status()),
        attempts: step.attempts,
        compensation_attempts: step.compensation_attempts,
        idempotency_key: written.call().map(|_| snapshot.saga.action_key(&snapshot.definition, index)),
        output: redaction.output(index, &step.output),
        error: step.error.as_ref().map(|failure| redaction.text(&failure.message).into_owned()),
        next_at: next_at.map(|at| at.to_string()),
    }
}

/// An event of a saga. Its fields are the machine's own; only the step is named instead of numbered.
pub(crate) fn event(
    snapshot: &Snapshot,
    (sequence, at, event): (u64, Timestamp, &Event),
    everywhere: &[Pointer],
) -> wire::Event {
    let shown = Redaction::of(&snapshot.definition, everywhere).event(event);
    let step = event.step().and_then(|index| snapshot.definition.steps.get(index)).map(|step| step.name.clone());
    let mut fields = match serde_json::to_value(&*shown) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    fields.remove("type");
    fields.remove("step");
    for (name, value) in &mut fields {
        if name.ends_with("_at") || name == "until" {
            readable_time(value);
        }
    }
    let detail = if fields.is_empty() { Value::Null } else { Value::Object(fields) };
    wire::Event { sequence, at: at.to_string(), kind: event.name().to_owned(), step, detail }
}

/// Events hold times as milliseconds; on the wire every time is written the same.
fn readable_time(value: &mut Value) {
    if let Some(milliseconds) = value.as_u64() {
        *value = Value::String(Timestamp(milliseconds).to_string());
    }
}

/// A sentence that a row has. What its definition redacts was left out when the row was written.
fn sentence(text: String, everywhere: &[Pointer]) -> String {
    if everywhere.is_empty() { text } else { own_words(&text).into_owned() }
}

/// A saga in a list.
pub(crate) fn summary(summary: store::Summary, everywhere: &[Pointer]) -> wire::SagaSummary {
    let store::Summary { id, birth, row } = summary;
    let finished_at = match row.rest {
        store::Rest::Finished(at) => Some(at.to_string()),
        store::Rest::Owned | store::Rest::Until(_) | store::Rest::Parked => None,
    };
    wire::SagaSummary {
        id: id.to_string(),
        definition: birth.definition,
        version: birth.version,
        key: birth.key,
        status: status(row.status),
        paused: row.paused,
        reason: row.reason.map(|reason| sentence(reason, everywhere)),
        created_at: birth.created_at.to_string(),
        finished_at,
    }
}

/// What may be decided about an open dead letter: the machine is asked, so that what people are offered is what it accepts.
pub(crate) fn decisions(snapshot: &Snapshot, letter: u64) -> Vec<wire::Decision> {
    let settlements = [
        (wire::Decision::Retry, Settlement::Retry),
        (wire::Decision::Edit, Settlement::Edit { body: Arc::default() }),
        (wire::Decision::Done, Settlement::Done { output: Arc::default() }),
        (wire::Decision::Undone, Settlement::Undone),
        (wire::Decision::Skip, Settlement::Skip),
        (wire::Decision::TurnAround, Settlement::TurnAround),
    ];
    let accepted = settlements.into_iter().filter(|(_, settlement)| {
        let settlement = settlement.clone();
        would(snapshot, &Command::Settle { letter, settlement, operator: somebody(), seen: None })
    });
    accepted.map(|(decision, _)| decision).collect()
}

/// Whether the saga would take this command as it stands. Nothing is done.
fn would(snapshot: &Snapshot, command: &Command) -> bool {
    let moment = Moment { now: snapshot.saga.created_at, chance: 0 };
    machine::decide(&snapshot.definition, &snapshot.saga, command, moment).is_ok()
}

fn somebody() -> Operator {
    Operator { actor: String::new(), reason: String::new() }
}

/// A dead letter.
pub(crate) fn dead_letter(letter: store::DeadLetter, everywhere: &[Pointer]) -> wire::DeadLetter {
    let (closed_at, resolution) = letter.closed.map(|(at, resolution)| (at.to_string(), resolution)).unzip();
    wire::DeadLetter {
        id: letter.id,
        saga: letter.saga.to_string(),
        definition: letter.definition,
        key: letter.key,
        step: letter.step,
        direction: letter.direction,
        claim: match letter.claim.as_str() {
            "done" => wire::Claim::Done,
            "undone" => wire::Claim::Undone,
            // What another version may have written is not known to this one.
            _ => wire::Claim::Unknown,
        },
        error: sentence(letter.error, everywhere),
        fingerprint: letter.fingerprint,
        participant: letter.participant,
        opened_at: letter.opened_at.to_string(),
        closed_at,
        resolution,
        decisions: Vec::new(),
        seen: None,
        saga_status: None,
        call: None,
        attempts: Vec::new(),
    }
}

/// Dead letters that are alike.
pub(crate) fn dead_letter_group(group: store::DeadLetterGroup, everywhere: &[Pointer]) -> wire::DeadLetterGroup {
    let store::DeadLetterGroup { count, oldest_at, newest_at, sample } = group;
    wire::DeadLetterGroup {
        fingerprint: sample.fingerprint,
        count,
        definition: sample.definition,
        step: sample.step,
        direction: sample.direction,
        participant: sample.participant,
        oldest_at: oldest_at.to_string(),
        newest_at: newest_at.to_string(),
        sample: sample.id,
        error: sentence(sample.error, everywhere),
    }
}

/// An entry of the audit log.
pub(crate) fn audit_entry(entry: store::AuditEntry) -> wire::AuditEntry {
    wire::AuditEntry {
        number: entry.seal.map(|seal| seal.number),
        hash: entry.seal.map(|seal| hexadecimal(&seal.hash)),
        sealed: entry.seal.is_some(),
        at: entry.at.to_string(),
        actor: entry.actor,
        action: entry.action,
        saga: entry.saga.map(|saga| saga.to_string()),
        subject: entry.subject,
        step: entry.step,
        reason: (!entry.reason.is_empty()).then_some(entry.reason),
    }
}

/// A token, without its digest: nobody has any use for that.
pub(crate) fn token(token: store::StoredToken) -> wire::Token {
    wire::Token {
        id: token.id.to_string(),
        name: token.name,
        role: token.role,
        created_at: token.created_at.to_string(),
        expires_at: token.expires_at.map(|at| at.to_string()),
        revoked_at: token.revoked_at.map(|at| at.to_string()),
    }
}

/// A definition, with the warnings that lint has about it now.
pub(crate) fn definition(stored: store::StoredDefinition) -> wire::Definition {
    let warnings = lint::check(&stored.source, None).diagnostics.iter().map(diagnostic).collect();
    wire::Definition {
        name: stored.name,
        version: stored.version,
        created_at: stored.created_at.to_string(),
        source: stored.source,
        warnings,
    }
}

/// A finding of lint.
pub(crate) fn diagnostic(found: &lint::Diagnostic) -> wire::Diagnostic {
    wire::Diagnostic {
        severity: found.severity.to_string(),
        code: found.code.to_owned(),
        line: found.line,
        column: found.column,
        message: found.message.clone(),
        remedy: found.remedy.clone(),
    }
}

/// The counts.
pub(crate) fn statistics(counts: &store::Statistics) -> wire::Statistics {
    wire::Statistics {
        started: counts.started,
        completed: counts.completed,
        compensated: counts.compensated,
        in_flight: counts.started.saturating_sub(counts.completed + counts.compensated),
        dead_letters: counts.dead_letters_open,
        orphans: counts.orphans,
    }
}

/// Where a saga stands.
pub(crate) fn status(status: Status) -> wire::SagaStatus {
    match status {
        Status::Running => wire::SagaStatus::Running,
        Status::Compensating => wire::SagaStatus::Compensating,
        Status::Completed => wire::SagaStatus::Completed,
        Status::Compensated => wire::SagaStatus::Compensated,
        Status::Stuck => wire::SagaStatus::Stuck,
    }
}

/// The same, the other way.
pub(crate) fn stored_status(status: wire::SagaStatus) -> Status {
    match status {
        wire::SagaStatus::Running => Status::Running,
        wire::SagaStatus::Compensating => Status::Compensating,
        wire::SagaStatus::Completed => Status::Completed,
        wire::SagaStatus::Compensated => Status::Compensated,
        wire::SagaStatus::Stuck => Status::Stuck,
    }
}

pub(crate) fn step_status(status: StepStatus) -> wire::StepStatus {
    match status {
        StepStatus::Pending => wire::StepStatus::Pending,
        StepStatus::Running => wire::StepStatus::Running,
        StepStatus::Waiting => wire::StepStatus::Waiting,
        StepStatus::Sleeping => wire::StepStatus::Sleeping,
        StepStatus::Unknown => wire::StepStatus::Unknown,
        StepStatus::Done => wire::StepStatus::Done,
        StepStatus::Refused => wire::StepStatus::Refused,
        StepStatus::Skipped => wire::StepStatus::Skipped,
        StepStatus::Compensating => wire::StepStatus::Compensating,
        StepStatus::Compensated => wire::StepStatus::Compensated,
        StepStatus::Dead => wire::StepStatus::Dead,
    }
}

/// A message that was received.
pub(crate) fn queue_message(delivery: Delivery) -> wire::QueueMessage {
    let Delivery { id, body, receipt, receives } = delivery;
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    wire::QueueMessage { id, body, receipt, receives }
}

/// What came of dealing with a message.
pub(crate) fn handled_message(receipt: String, handled: Handled) -> wire::HandledMessage {
    let (outcome, error) = match handled {
        Handled::Done => ("done", None),
        Handled::Stale => ("stale", None),
        Handled::Refused(why) => ("refused", Some(why.to_string())),
    };
    wire::HandledMessage { receipt, outcome: outcome.into(), error }
}

/// A dead message, without what it says.
pub(crate) fn dead_message(message: DeadMessage) -> wire::DeadMessage {
    let DeadMessage { id, body: _, sent_at, dead_at, receives } = message;
    wire::DeadMessage { id, sent_at: sent_at.to_string(), dead_at: dead_at.to_string(), receives }
}

/// How far a redrive is.
pub(crate) fn redrive(redrive: Redrive) -> wire::Redrive {
    let Redrive { id, at, per_second, total, moved, is_cancelled } = redrive;
    wire::Redrive { id, began_at: at.to_string(), per_second, total, moved, is_cancelled }
}
