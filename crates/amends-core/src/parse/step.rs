//! Reading steps.

use super::call;
use super::draft::{DraftCall, DraftStep, DraftWork, Located, Undo};
use super::fields::{Fields, Shape, quoted};
use super::reader::Reader;
use super::retry;
use super::tree::{Entry, Value};
use crate::definition::{Effects, Kind};
use crate::lint::{Problem, codes, nearest};
use crate::retry::RetryPolicy;
use crate::text::shortened;

const STEP: Shape = Shape {
    what: "a step",
    keys: &["description", "kind", "after", "action", "compensation", "probe", "effects", "retry", "wait", "sleep"],
};
const WAIT: Shape = Shape { what: "`wait`", keys: &["timeout"] };

const KINDS: &[(&str, Kind)] =
    &[("compensatable", Kind::Compensatable), ("pivot", Kind::Pivot), ("retriable", Kind::Retriable)];
const EFFECTS: &[(&str, Effects)] = &[("idempotent", Effects::Idempotent), ("at-most-once", Effects::AtMostOnce)];

/// Reads one step. `saga_retry` is the definition's own policy for actions.
pub(super) fn read(reader: &mut Reader<'_>, index: usize, entry: &Entry, saga_retry: RetryPolicy) -> DraftStep {
    reader.check_name(&entry.key, &entry.key_span, "a step");
    let name = Located { value: entry.key.clone(), span: entry.key_span.clone() };
    if matches!(entry.value.value, Value::Null) {
        bad_step(reader, entry, "does nothing");
        return DraftStep { name, kind: None, after: None, work: None };
    }
    let Some(fields) = reader.fields(&entry.value, &STEP) else {
        return DraftStep { name, kind: None, after: None, work: None };
    };
    if let Some(field) = fields.get("description") {
        reader.text(field);
    }
    let kind = fields.get("kind").and_then(|field| word(reader, field, KINDS));
    let after = fields.get("after").map(|field| after(reader, field));
    let work = match (fields.get("action"), fields.get("wait"), fields.get("sleep")) {
        (Some(action), None, None) => {
            let base = match kind {
                Some(Located { value: Kind::Retriable, .. }) => RetryPolicy::RETRIABLE,
                Some(Located { value: Kind::Compensatable | Kind::Pivot, .. }) | None => saga_retry,
            };
            Some(DraftWork::Call(Box::new(read_call(reader, index, action, &fields, base))))
        }
        (None, Some(wait), None) => {
            refuse_call_keys(reader, &fields, "a step that waits");
            Some(DraftWork::Wait { timeout: self::wait(reader, wait) })
        }
        (None, None, Some(sleep)) => {
            refuse_call_keys(reader, &fields, "a step that sleeps");
            if let Some(kind) = fields.get("kind") {
                misplaced(reader, kind, "a step that sleeps has no kind: it cannot fail and has nothing to undo");
            }
            Some(DraftWork::Sleep { duration: reader.duration(sleep) })
        }
        (None, None, None) => {
            bad_step(reader, entry, "does nothing");
            None
        }
        (Some(_), _, _) | (_, Some(_), _) => {
            bad_step(reader, entry, "does several things");
            None
        }
    };
    DraftStep { name, kind, after, work }
}

fn read_call(
    reader: &mut Reader<'_>,
    index: usize,
    action: &Entry,
    fields: &Fields<'_>,
    base: RetryPolicy,
) -> DraftCall {
    let read = call::action(reader, action, index);
    let (call, timeout_span) = read.map_or((None, None), |read| (read.call, read.timeout_span));
    let effects = fields.get("effects").map(|field| (field, word(reader, field, EFFECTS)));
    let retry = match fields.get("retry") {
        Some(field) => retry::read(reader, field, base),
        None => Some(base),
    };
    let probe = fields
        .get("probe")
        .map(|field| Located { value: call::probe(reader, field, index), span: field.key_span.clone() });
    let undo = match fields.get("compensation") {
        None => Undo::Unsaid,
        Some(field) => match &field.value.value {
            Value::Text(word) if word == "none" => Undo::Nothing,
            Value::Null => {
                reader.empty_value(field, "write a call, or `none` if there is nothing to undo");
                Undo::Nothing
            }
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => Undo::By(Located {
                value: call::compensation(reader, field, index).map(Box::new),
                span: field.key_span.clone(),
            }),
        },
    };
    DraftCall {
        action: call,
        timeout_span,
        effects: match effects {
            Some((_, Some(effects))) => effects,
            Some((field, None)) => Located { value: Effects::Idempotent, span: field.key_span.clone() },
            None => Located { value: Effects::Idempotent, span: action.key_span.clone() },
        },
        retry,
        probe,
        undo,
    }
}

fn wait(reader: &mut Reader<'_>, entry: &Entry) -> Option<Located<u64>> {
    match &entry.value.value {
        Value::Null => {}
        Value::Map(_) => {
            let fields = reader.fields(&entry.value, &WAIT)?;
            if let Some(timeout) = fields.get("timeout") {
                return reader.duration(timeout);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => return reader.duration(entry),
    }
    reader.report(Problem {
        code: codes::WAIT_WITHOUT_TIMEOUT,
        span: entry.key_span.clone(),
        message: "this step waits without a timeout, and a saga must not wait for ever".into(),
        remedy: "say how long, such as `wait: 24h`".into(),
        related: Vec::new(),
    });
    None
}

/// Reads `after`: a list of names, or a single one.
fn after(reader: &mut Reader<'_>, entry: &Entry) -> Vec<Located<String>> {
    let items = match &entry.value.value {
        Value::List(items) => items.as_slice(),
        Value::Null => {
            reader.empty_value(entry, "write `after: []` for a step that waits for none, or leave it out");
            &[]
        }
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => std::slice::from_ref(&entry.value),
    };
    let mut names = Vec::new();
    for item in items {
        match &item.value {
            Value::Text(name) => names.push(Located { value: name.clone(), span: reader.token(item) }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                reader.wrong_type(item, "`after` names steps", "write a step's name, or a list of names");
            }
        }
    }
    names
}

/// Reads one of a few words.
fn word<T: Copy>(reader: &mut Reader<'_>, entry: &Entry, words: &[(&str, T)]) -> Option<Located<T>> {
    let text = reader.text(entry)?;
    let span = reader.token(&entry.value);
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(Located { value: *value, span });
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    reader.report(Problem {
        code: codes::BAD_VALUE,
        span,
        message: format!("`{}` cannot be `{}`", entry.key, shortened(text)),
        remedy: match nearest(text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", quoted(&names)),
        },
        related: Vec::new(),
    });
    None
}

fn refuse_call_keys(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) {
    for key in ["compensation", "probe", "effects", "retry"] {
        if let Some(entry) = fields.get(key) {
            misplaced(reader, entry, &format!("{what} calls nobody, so it has no `{key}`"));
        }
    }
}

fn misplaced(reader: &mut Reader<'_>, entry: &Entry, message: &str) {
    reader.report(Problem {
        code: codes::MISPLACED_KEY,
        span: entry.key_span.clone(),
        message: message.into(),
        remedy: "take it away, or give it to the step that it was meant for".into(),
        related: Vec::new(),
    });
}

fn bad_step(reader: &mut Reader<'_>, entry: &Entry, what: &str) {
    reader.report(Problem {
        code: codes::BAD_STEP,
        span: entry.key_span.clone(),
        message: format!("the step `{}` {what}", shortened(&entry.key)),
        remedy: "give it exactly one of `action`, `wait` and `sleep`".into(),
        related: Vec::new(),
    });
}
