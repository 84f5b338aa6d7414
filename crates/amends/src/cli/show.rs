//! Sagas, dead letters and events as a person wants them at three in the morning: what it is, how it stands, why,
//! and what can be done.

use super::output::plain;
use super::table::{Cell, lay_out};
use amends_client::{
    AuditEntry, Change, Claim, DeadLetter, DeadLetterGroup, Decision, Event, Plan, PlannedCall, Saga, SagaStatus,
    SagaSummary, Step, StepStatus, Token,
};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// A saga, with its open dead letters and the commands that fit its state.
pub(super) fn saga(saga: &Saga, letters: &[DeadLetter], now: Timestamp) -> String {
    let style = saga_style(saga.status);
    let held = if saga.paused { ", held" } else { "" };
    let is = if saga.status.is_finished() { "was" } else { "is" };
    let mut text = format!(
        "{BOLD}{}{BOLD:#} {} {is} {style}{}{style:#}{held}{}\n",
        plain(&saga.definition),
        plain(&saga.id),
        saga.status,
        since(saga, now)
    );
    if let Some(reason) = &saga.reason {
        let _ = writeln!(text, "{style}{}{style:#}", plain(reason));
    }
    let _ = writeln!(text, "{DIM}key{DIM:#} {}", plain(&saga.key));
    if let (Some(deadline), false) = (&saga.deadline_at, saga.status.is_finished()) {
        let _ = writeln!(text, "{DIM}deadline{DIM:#} {}", relative(deadline, now));
    }
    text.push('\n');
    let rows: Vec<Vec<Cell>> = saga.steps.iter().map(|step| step_row(step, now)).collect();
    text.push_str(&lay_out(&["STEP", "STATUS", "ATTEMPTS", "NEXT", "ERROR"], &rows, 2));
    let commands = commands(saga, letters);
    if !commands.is_empty() {
        text.push_str("\nwhat you can do:\n");
        for command in commands {
            let _ = writeln!(text, "  {command}");
        }
    }
    text
}

fn since(saga: &Saga, now: Timestamp) -> String {
    match (&saga.finished_at, saga.created_at.parse::<Timestamp>()) {
        (Some(finished), Ok(created)) => match finished.parse::<Timestamp>() {
            Ok(ended) => format!(" {} (it took {})", relative(finished, now), span(created, ended)),
            Err(_) => String::new(),
        },
        (None, Ok(_)) => format!(", started {}", relative(&saga.created_at, now)),
        (_, Err(_)) => String::new(),
    }
}

fn step_row(step: &Step, now: Timestamp) -> Vec<Cell> {
    let attempts = match (step.attempts, step.compensation_attempts) {
        (0, 0) => String::new(),
        (actions, 0) => actions.to_string(),
        (actions, compensations) => format!("{actions} + {compensations} to undo"),
    };
    vec![
        Cell::from(&step.name),
        Cell::styled(step.status.as_str(), step_style(step.status)),
        Cell::from(attempts),
        Cell::from(step.next_at.as_ref().map(|at| relative(at, now)).unwrap_or_default()),
        Cell::from(step.error.as_deref().unwrap_or_default()),
    ]
}

/// The commands that make sense now, ready to be copied.
fn commands(saga: &Saga, letters: &[DeadLetter]) -> Vec<String> {
    let id = plain(&saga.id);
    let mut commands = Vec::new();
    for letter in letters.iter().filter(|letter| letter.closed_at.is_none()) {
        commands.push(format!("amends dead-letters show {}", plain(&letter.id)));
    }
    for step in saga.steps.iter().filter(|step| step.status == StepStatus::Waiting) {
        let name = plain(&step.name);
        commands.push(format!("amends complete {id} {name} --output JSON"));
        commands.push(format!("amends fail {id} {name} --reason \"…\""));
    }
    if saga.paused {
        commands.push(format!("amends resume {id} --reason \"…\""));
    }
    if !saga.status.is_finished() {
        commands.push(format!("amends watch {id}"));
    }
    if saga.can_cancel {
        commands.push(format!("amends cancel {id} --reason \"…\""));
    }
    commands
}

/// A list of sagas.
pub(super) fn sagas(sagas: &[SagaSummary], now: Timestamp) -> String {
    if sagas.is_empty() {
        return "no sagas\n".to_owned();
    }
    let row = |saga: &SagaSummary| {
        let held = if saga.paused { " (held)" } else { "" };
        vec![
            Cell::from(&saga.id),
            Cell::styled(format!("{}{held}", saga.status), saga_style(saga.status)),
            Cell::from(&saga.definition),
            Cell::from(&saga.key),
            Cell::from(relative(&saga.created_at, now)),
            Cell::from(saga.reason.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<Cell>> = sagas.iter().map(row).collect();
    lay_out(&["ID", "STATUS", "DEFINITION", "KEY", "STARTED", "REASON"], &rows, 0)
}

/// A list of dead letters.
pub(super) fn dead_letters(letters: &[DeadLetter], now: Timestamp) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let row = |letter: &DeadLetter| {
        let state = if letter.closed_at.is_some() { ("settled", DIM) } else { ("open", AnsiColor::Red.on_default()) };
        vec![
            Cell::from(&letter.id),
            Cell::styled(state.0, state.1),
            Cell::from(&letter.definition),
            Cell::from(&letter.key),
            Cell::from(letter.step.as_deref().unwrap_or_default()),
            Cell::from(&letter.direction),
            Cell::from(claim(letter.claim)),
            Cell::from(relative(&letter.opened_at, now)),
            Cell::from(&letter.error),
        ]
    };
    let rows: Vec<Vec<Cell>> = letters.iter().map(row).collect();
    lay_out(&["ID", "STATE", "DEFINITION", "KEY", "STEP", "CALL", "EFFECT", "OPENED", "ERROR"], &rows, 0)
}

/// Groups of dead letters that are alike.
pub(super) fn dead_letter_groups(groups: &[DeadLetterGroup], now: Timestamp) -> String {
    if groups.is_empty() {
        return "no open dead letters\n".to_owned();
    }
    let row = |group: &DeadLetterGroup| {
        vec![
            Cell::from(&group.fingerprint),
            Cell::from(group.count.to_string()),
            Cell::from(&group.definition),
            Cell::from(group.step.as_deref().unwrap_or_default()),
            Cell::from(&group.direction),
            Cell::from(group.participant.as_deref().unwrap_or_default()),
            Cell::from(relative(&group.oldest_at, now)),
            Cell::from(relative(&group.newest_at, now)),
            Cell::from(&group.error),
        ]
    };
    let rows: Vec<Vec<Cell>> = groups.iter().map(row).collect();
    let heads = ["FINGERPRINT", "COUNT", "DEFINITION", "STEP", "CALL", "PARTICIPANT", "OLDEST", "NEWEST", "ERROR"];
    lay_out(&heads, &rows, 0)
}

/// What belongs to a dead letter: its step, and the step's history.
pub(super) struct Background {
    pub(super) step: Step,
    pub(super) events: Vec<Event>,
    /// When the saga began.
    pub(super) began: Timestamp,
}

/// One dead letter, with every attempt and the decisions that can be made about it.
pub(super) fn dead_letter(letter: &DeadLetter, background: Option<&Background>, now: Timestamp) -> String {
    let id = plain(&letter.id);
    let what = match &letter.step {
        Some(step) => format!("the {} of {}", plain(&letter.direction), plain(step)),
        None => "the saga, which cannot be read,".to_owned(),
    };
    let mut text = format!("{BOLD}{id}{BOLD:#}: {what} was given up {}\n", relative(&letter.opened_at, now));
    let _ = writeln!(text, "{}{}{:#}", RED, plain(&letter.error), RED);
    let _ = writeln!(text, "{DIM}effect{DIM:#} {}", claim_in_words(letter.claim));
    let _ = writeln!(text, "{DIM}saga{DIM:#} {} {DIM}key{DIM:#} {}", plain(&letter.saga), plain(&letter.key));
    if let Some(call) = &letter.call {
        let _ = writeln!(text, "{DIM}call{DIM:#} {}", planned_call(call));
        if !call.body.is_null() {
            let _ = writeln!(text, "{DIM}body{DIM:#} {}", plain(&call.body.to_string()));
        }
    }
    if let Some(Background { step, events, began }) = background {
        // The participant knows the effect by this key: it is what to ask about.
        let called = step.idempotency_key.as_deref().map(plain).unwrap_or_default();
        let _ = writeln!(text, "{DIM}idempotency key of the action{DIM:#} {called}\n\nwhat was tried:");
        for one in events {
            let _ = writeln!(text, "{}", event(one, *began));
        }
    }
    match (&letter.closed_at, &letter.resolution) {
        (Some(at), resolution) => {
            let resolution = resolution.as_deref().map(plain).unwrap_or_default();
            let _ = writeln!(text, "settled {}: {resolution}", relative(at, now));
        }
        (None, _) if letter.decisions.is_empty() => {}
        (None, _) => {
            text.push_str("\nwhat you can do:\n");
            for (command, meaning) in decisions(letter) {
                let _ = writeln!(text, "  amends dead-letters {command} --reason \"…\"\n      {meaning}");
            }
        }
    }
    text
}

/// What an action would do.
pub(super) fn plan(plan: &Plan) -> String {
    let mut text = changes(&plan.changes);
    text.push_str(if plan.calls.is_empty() { "no call would be made\n" } else { "these calls would be made:\n" });
    for (number, call) in (1..).zip(&plan.calls) {
        let _ = writeln!(text, "{number:>4}  {}", planned_call(call));
        let _ = writeln!(text, "      {DIM}Idempotency-Key{DIM:#} {}", plain(&call.idempotency_key));
    }
    let (style, at_last) = (saga_style(plan.status), saga_style(plan.status_at_last));
    let _ = write!(text, "the saga would be {style}{}{style:#}", plan.status);
    if plan.status != plan.status_at_last {
        let _ = write!(text, ", and {at_last}{}{at_last:#} if every call goes well", plan.status_at_last);
    }
    text.push_str(":\n");
    for step in &plan.steps {
        let style = step_style(step.status);
        let _ = writeln!(text, "  {style}{:<12}{style:#}  {}", step.status.to_string(), plain(&step.name));
    }
    text.push_str("nothing was done\n");
    text
}

/// What an edit changes; nothing where it is none.
pub(super) fn changes(changes: &[Change]) -> String {
    let mut text = String::new();
    if !changes.is_empty() {
        text.push_str("what changes in the body:\n");
    }
    let shown = |value: &Value| plain(&value.to_string());
    for Change { pointer, old, new } in changes {
        let _ = writeln!(text, "  {}", if pointer.is_empty() { "(all of it)".to_owned() } else { plain(pointer) });
        if let Some(old) = old {
            let _ = writeln!(text, "    {RED}- {}{RED:#}", shown(old));
        }
        if let Some(new) = new {
            let _ = writeln!(text, "    {GREEN}+ {}{GREEN:#}", shown(new));
        }
    }
    text
}

fn planned_call(call: &PlannedCall) -> String {
    let PlannedCall { step, direction, method, participant, path, .. } = call;
    plain(&format!("{direction} of {step}: {method} {participant}:{path}"))
}

/// What the server would accept about an open dead letter, and what it means.
fn decisions(letter: &DeadLetter) -> Vec<(String, &'static str)> {
    let id = plain(&letter.id);
    let is_undoing = letter.direction == "compensation";
    let offer = |decision: &Decision| match decision {
        Decision::Retry => (format!("retry {id}"), "the call is made again, with the same key and a fresh budget"),
        Decision::Done => (format!("resolve {id} --effect done"), "its effect is there: the saga goes on from that"),
        Decision::Undone if is_undoing => {
            (format!("resolve {id} --effect undone"), "its effect was undone elsewhere, or was never there")
        }
        Decision::Undone => {
            (format!("resolve {id} --effect undone"), "its effect is not there: what came before is undone")
        }
        Decision::Skip if is_undoing => {
            (format!("skip {id}"), "its effect stays, and the saga goes on without undoing it")
        }
        Decision::Skip => (format!("skip {id}"), "the step is left as it is, and the saga goes on without it"),
        Decision::Edit => {
            (format!("edit {id} --body '…'"), "the call is made again with another body, and so under another key")
        }
        Decision::TurnAround => {
            (format!("turn-around {id}"), "what the saga did is undone, this step too if it may have happened")
        }
    };
    letter.decisions.iter().map(offer).collect()
}

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

/// The audit log.
pub(super) fn audit(entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "nothing was done by hand\n".to_owned();
    }
    let row = |entry: &AuditEntry| {
        vec![
            Cell::from(entry.number.map_or_else(|| "-".to_owned(), |number| number.to_string())),
            Cell::from(&entry.at),
            Cell::from(&entry.actor),
            Cell::from(&entry.action),
            Cell::from(entry.saga.as_deref().or(entry.subject.as_deref()).unwrap_or_default()),
            Cell::from(entry.step.as_deref().unwrap_or_default()),
            Cell::from(entry.reason.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<Cell>> = entries.iter().map(row).collect();
    lay_out(&["NUMBER", "AT", "WHO", "WHAT", "TO", "STEP", "WHY"], &rows, 0)
}

/// A list of tokens.
pub(super) fn tokens(tokens: &[Token], now: Timestamp) -> String {
    if tokens.is_empty() {
        return "no tokens\n".to_owned();
    }
    let row = |token: &Token| {
        let has_expired = |at: &String| at.parse::<Timestamp>().is_ok_and(|at| at <= now);
        let state = match (&token.revoked_at, &token.expires_at) {
            (Some(at), _) => (format!("revoked {}", relative(at, now)), DIM),
            (None, Some(at)) if has_expired(at) => (format!("expired {}", relative(at, now)), DIM),
            (None, Some(at)) => (format!("valid, ends {}", relative(at, now)), AnsiColor::Green.on_default()),
            (None, None) => ("valid".to_owned(), AnsiColor::Green.on_default()),
        };
        vec![
            Cell::from(&token.id),
            Cell::from(&token.name),
            Cell::from(&token.role),
            Cell::styled(state.0, state.1),
            Cell::from(relative(&token.created_at, now)),
        ]
    };
    let rows: Vec<Vec<Cell>> = tokens.iter().map(row).collect();
    lay_out(&["ID", "NAME", "ROLE", "STATE", "MADE"], &rows, 0)
}

/// One event of a saga that began at `began`, as a line.
pub(super) fn event(event: &Event, began: Timestamp) -> String {
    let after = event.at.parse::<Timestamp>().map(|at| seconds(began, at)).unwrap_or_default();
    let style = event_style(&event.kind);
    let step = plain(event.step.as_deref().unwrap_or_default());
    let line = format!(
        "{DIM}{after:>10}{DIM:#}  {style}{:<21}{style:#}  {step:<20}  {}",
        plain(&event.kind),
        plain(&gist(event))
    );
    line.trim_end().to_owned()
}

/// The part of an event's detail that says most.
fn gist(event: &Event) -> String {
    let detail = &event.detail;
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    let operator = detail.get("operator");
    let said =
        operator.and_then(|operator| Some((operator.get("actor")?.as_str()?, operator.get("reason")?.as_str()?)));
    let failure = detail.get("failure").and_then(|failure| failure.get("message")).and_then(Value::as_str);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(
        detail
            .get("attempt")
            .and_then(Value::as_u64)
            .filter(|attempt| *attempt > 1)
            .map(|attempt| format!("attempt {attempt}")),
    );
    parts.extend(failure.map(str::to_owned));
    parts.extend(text("reason").map(str::to_owned));
    parts.extend(
        said.map(|(actor, reason)| if reason.is_empty() { actor.to_owned() } else { format!("{actor}: {reason}") }),
    );
    parts.extend(text("retry_at").map(|at| format!("again at {at}")));
    parts.extend(text("until").map(|at| format!("until {at}")));
    parts.join("; ")
}

/// How a saga ended, or how it stands, in one line.
pub(super) fn outcome(saga: &Saga, now: Timestamp) -> String {
    let style = saga_style(saga.status);
    let why = saga.reason.as_ref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("{style}{}{style:#}{}{why}", saga.status, since(saga, now))
}

fn claim(claim: Claim) -> &'static str {
    match claim {
        Claim::Done => "done",
        Claim::Undone => "undone",
        Claim::Unknown => "unknown",
    }
}

fn claim_in_words(claim: Claim) -> &'static str {
    match claim {
        Claim::Done => "it is there",
        Claim::Undone => "it is not there",
        Claim::Unknown => "nobody knows: ask the participant",
    }
}

fn saga_style(status: SagaStatus) -> Style {
    match status {
        SagaStatus::Running => AnsiColor::Cyan.on_default(),
        SagaStatus::Compensating | SagaStatus::Compensated => AnsiColor::Yellow.on_default(),
        SagaStatus::Completed => AnsiColor::Green.on_default(),
        SagaStatus::Stuck => AnsiColor::Red.on_default().bold(),
    }
}

fn step_style(status: StepStatus) -> Style {
    match status {
        StepStatus::Pending | StepStatus::Skipped => DIM,
        StepStatus::Running | StepStatus::Waiting | StepStatus::Sleeping => AnsiColor::Cyan.on_default(),
        StepStatus::Unknown => AnsiColor::Magenta.on_default(),
        StepStatus::Done => AnsiColor::Green.on_default(),
        StepStatus::Refused | StepStatus::Compensating | StepStatus::Compensated => AnsiColor::Yellow.on_default(),
        StepStatus::Dead => AnsiColor::Red.on_default().bold(),
    }
}

/// Kinds of events are the server's to name: one that is not known here has no colour.
fn event_style(kind: &str) -> Style {
    match kind {
        "completed" | "action-done" | "wait-completed" => AnsiColor::Green.on_default(),
        "dead-lettered" => AnsiColor::Red.on_default().bold(),
        "action-unknown" => AnsiColor::Magenta.on_default(),
        "action-failed" | "action-refused" | "wait-failed" | "probe-failed" | "compensation-failed" => RED,
        "compensation-entered" | "compensation-queued" | "compensation-done" | "compensated" => {
            AnsiColor::Yellow.on_default()
        }
        _ => Style::new(),
    }
}

/// A time as people say it: `3m 12s ago`, `in 5s`.
fn relative(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(time) if time > now => format!("in {}", span(now, time)),
        Ok(time) => format!("{} ago", span(time, now)),
        // `never` and whatever else is no time says itself what it means.
        Err(_) => plain(at),
    }
}

/// How long it is from one time to another, in its two largest units.
fn span(from: Timestamp, to: Timestamp) -> String {
    let milliseconds = u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or_default();
    if milliseconds < 1_000 {
        return format!("{milliseconds}ms");
    }
    let seconds = milliseconds / 1_000;
    let units = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let from_largest = units.iter().skip_while(|(_, count)| *count == 0).take(2).filter(|(_, count)| *count > 0);
    from_largest.map(|(unit, count)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

/// Seconds after the beginning, as they stand before a line of `watch`.
fn seconds(began: Timestamp, at: Timestamp) -> String {
    let milliseconds = u64::try_from(at.as_millisecond() - began.as_millisecond()).unwrap_or_default();
    format!("+{}.{:03}s", milliseconds / 1_000, milliseconds % 1_000)
}
