//! Reading calls: actions, compensations and probes.

use super::draft::{Located, Role};
use super::fields::{Fields, Shape, quoted};
use super::reader::Reader;
use super::retry;
use super::tree::{Entry, Value};
use crate::definition::{Call, Compensation, Method, Probe};
use crate::expression::{Template, dot_segment};
use crate::lint::{Problem, codes};
use crate::retry::RetryPolicy;
use std::ops::Range;

const ACTION: Shape =
    Shape { what: "an action", keys: &["get", "post", "put", "patch", "delete", "send", "timeout", "body"] };
const COMPENSATION: Shape = Shape {
    what: "a compensation",
    keys: &["get", "post", "put", "patch", "delete", "send", "timeout", "body", "retry", "not_found"],
};
const PROBE: Shape = Shape { what: "a probe", keys: &["get", "timeout", "happened", "output", "retry"] };

const METHODS: &[(&str, Method)] = &[
    ("get", Method::Get),
    ("post", Method::Post),
    ("put", Method::Put),
    ("patch", Method::Patch),
    ("delete", Method::Delete),
    ("send", Method::Send),
];

/// What one attempt may take where the definition says nothing, in milliseconds.
const TIMEOUT_MS: u64 = 30_000;
/// The same of a message, which may lie in its queue for a while.
const MESSAGE_TIMEOUT_MS: u64 = 600_000;

const WRITE_TARGET: &str = "write it as `participant:/path`";

/// An action, and the place of its timeout if that is written.
pub(super) struct Action {
    pub(super) call: Option<Call>,
    pub(super) timeout_span: Option<Range<usize>>,
}

pub(super) fn action(reader: &mut Reader<'_>, entry: &Entry, step: usize) -> Option<Action> {
    let fields = reader.fields(&entry.value, &ACTION)?;
    let call = call(reader, entry, &fields, Role::Action(step));
    let timeout_span = fields.get("timeout").map(|timeout| reader.token(&timeout.value));
    Some(Action { call, timeout_span })
}

pub(super) fn compensation(reader: &mut Reader<'_>, entry: &Entry, step: usize) -> Option<Compensation> {
    let fields = reader.fields(&entry.value, &COMPENSATION)?;
    let call = call(reader, entry, &fields, Role::Compensation(step));
    let retry = match fields.get("retry") {
        Some(field) => retry::read(reader, field, RetryPolicy::COMPENSATION),
        None => Some(RetryPolicy::COMPENSATION),
    };
    let not_found_is_done = match fields.get("not_found") {
        None => Some(false),
        Some(field) if fields.get("send").is_some() => {
            reader.report(Problem {
                code: codes::MISPLACED_KEY,
                span: field.key_span.clone(),
                message: "a message is not answered with a 404, so it has no `not_found`".into(),
                remedy: "take it away: whoever finds nothing to undo answers that it is done".into(),
                related: Vec::new(),
            });
            None
        }
        Some(field) => match &field.value.value {
            Value::Text(word) if word == "done" => Some(true),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                let span = reader.token(&field.value);
                reader.report(Problem {
                    code: codes::BAD_VALUE,
                    span,
                    message: "`not_found` can only be `done`".into(),
                    remedy:
                        "write `not_found: done` if a 404 proves that there is nothing left to undo, or leave it out"
                            .into(),
                    related: Vec::new(),
                });
                None
            }
        },
    };
    Some(Compensation { call: call?, retry: retry?, not_found_is_done: not_found_is_done? })
}

pub(super) fn probe(reader: &mut Reader<'_>, entry: &Entry, step: usize) -> Option<Probe> {
    let fields = reader.fields(&entry.value, &PROBE)?;
    let call = call(reader, entry, &fields, Role::Question(step));
    let happened = match fields.get("happened") {
        Some(field) => reader.expression(field, Role::Judgement(step)),
        None => {
            reader.missing(
                &entry.key_span,
                "the probe does not say how its answer is judged",
                "add `happened: \"{{ … }}\"`, true if the action took effect",
            );
            None
        }
    };
    let output = match fields.get("output") {
        Some(field) => Some(reader.tree(&field.value, Role::Judgement(step))?),
        None => None,
    };
    let retry = match fields.get("retry") {
        Some(field) => retry::read(reader, field, RetryPolicy::PROBE),
        None => Some(RetryPolicy::PROBE),
    };
    Some(Probe { call: call?, happened: happened?, output, retry: retry? })
}

fn call(reader: &mut Reader<'_>, owner: &Entry, fields: &Fields<'_>, role: Role) -> Option<Call> {
    let written: Vec<(&Entry, Method)> =
        METHODS.iter().filter_map(|(key, method)| Some((fields.get(key)?, *method))).collect();
    let timeout = match fields.get("timeout") {
        Some(field) => reader.duration(field).map(|timeout| timeout.value),
        None if fields.get("send").is_some() => Some(MESSAGE_TIMEOUT_MS),
        None => Some(TIMEOUT_MS),
    };
    let body = match fields.get("body") {
        Some(field) => reader.tree(&field.value, role).map(Some),
        None => Some(None),
    };
    let (target, method) = match written.as_slice() {
        [one] => *one,
        [] => {
            let remedy = match role {
                Role::Question(_) => "a probe asks with `get: \"participant:/path\"`",
                Role::Action(_) | Role::Compensation(_) | Role::Judgement(_) | Role::Key | Role::Dedupe => {
                    "add one of `get`, `post`, `put`, `patch`, `delete` and `send`, such as `post: \"participant:/path\"`"
                }
            };
            reader.report(Problem {
                code: codes::BAD_CALL,
                span: owner.key_span.clone(),
                message: format!("`{}` does not say what to call", owner.key),
                remedy: remedy.into(),
                related: Vec::new(),
            });
            return None;
        }
        [first, second, ..] => {
            let names: Vec<&str> = written.iter().map(|(entry, _)| entry.key.as_str()).collect();
            reader.report(Problem {
                code: codes::BAD_CALL,
                span: second.0.key_span.clone(),
                message: format!("`{}` has more than one method: {}", owner.key, quoted(&names)),
                remedy: "keep one; a step makes one call".into(),
                related: vec![(first.0.key_span.clone(), "the first method".into())],
            });
            return None;
        }
    };
    if let (Method::Get, Some(field)) = (method, fields.get("body")) {
        reader.report(Problem {
            code: codes::BODY_ON_GET,
            span: field.key_span.clone(),
            message: "a GET with a body is not understood by every server and proxy".into(),
            remedy: "put the values into the query, or use another method".into(),
            related: Vec::new(),
        });
    }
    let (participant, path) = match method {
        Method::Send => (queue(reader, target)?, Template::empty()),
        Method::Get | Method::Post | Method::Put | Method::Patch | Method::Delete => {
            self::target(reader, target, role)?
        }
    };
    Some(Call { method, participant, path, body: body?, timeout_ms: timeout? })
}

/// Reads `participant:/path`.
fn target(reader: &mut Reader<'_>, entry: &Entry, role: Role) -> Option<(String, Template)> {
    let text = reader.text(entry)?;
    let token = reader.token(&entry.value);
    // A colon within an expression divides nothing.
    let fixed = text.split("{{").next().unwrap_or_default();
    let Some(colon) = fixed.find(':') else {
        bad_target(reader, token, format!("`{}` does not say which participant is called", entry.key), WRITE_TARGET);
        return None;
    };
    let (participant, path) = (&text[..colon], &text[colon + 1..]);
    if path.starts_with("//") {
        bad_target(
            reader,
            token,
            "a definition names a participant, not an address".into(),
            "write `participant:/path`; the participant's address belongs in the server's configuration",
        );
        return None;
    }
    let span = reader.places(&entry.value, text).find(&(0..colon));
    if reader.check_name(participant, &span, "a participant") {
        reader.participants.push(Located { value: participant.to_owned(), span });
    }
    if !path.starts_with('/') {
        bad_target(reader, token, "the path does not begin with `/`".into(), WRITE_TARGET);
        return None;
    }
    let template = reader.readable(Template::parse(path), path, &entry.value)?;
    reader.found(role, template.uses(), path, &entry.value);
    reader.count(template.expressions(), &entry.value);
    check_path(reader, entry, path, &template);
    Some((participant.to_owned(), template))
}

/// Reads `queue:name`.
fn queue(reader: &mut Reader<'_>, entry: &Entry) -> Option<String> {
    let text = reader.text(entry)?;
    let token = reader.token(&entry.value);
    let Some(queue) = text.strip_prefix("queue:") else {
        bad_target(reader, token, "`send` does not say which queue".into(), "write it as `queue:name`");
        return None;
    };
    let span = reader.places(&entry.value, text).find(&("queue:".len()..text.len()));
    if reader.check_name(queue, &span, "a queue") {
        reader.queues.push(Located { value: queue.to_owned(), span });
    }
    Some(queue.to_owned())
}

/// Reports what of the fixed text of a path cannot stand in a request line as it is.
fn check_path(reader: &mut Reader<'_>, entry: &Entry, path: &str, template: &Template) {
    for fixed in template.fixed_text() {
        let text = &path[fixed.clone()];
        for (at, character) in text.char_indices() {
            let at = fixed.start + at;
            let percent = character == '%' && !is_escape(&path[at..]);
            if character.is_ascii_graphic() && !r#""<>\^`{|}#"#.contains(character) && !percent {
                continue;
            }
            let span = reader.places(&entry.value, path).find(&(at..at + character.len_utf8()));
            let message = match character {
                '#' => "a request has no fragment".to_owned(),
                '%' => "this `%` is not followed by two hexadecimal digits".to_owned(),
                _ => format!("`{}` cannot stand in a path", character.escape_debug()),
            };
            let remedy = format!("write it percent-encoded: `{}`", encoded(character));
            bad_target(reader, span, message, &remedy);
            break;
        }
    }
    if let Some(segment) = dot_segment(&masked(path, template)) {
        let span = reader.places(&entry.value, path).find(&segment);
        let message = format!("the segment `{}` would lead to another endpoint", &path[segment]);
        bad_target(reader, span, message, "write the path without it");
    }
}

/// The path with a letter for each byte of an expression.
fn masked(path: &str, template: &Template) -> String {
    let mut masked = "x".repeat(path.len());
    for fixed in template.fixed_text() {
        masked.replace_range(fixed.clone(), &path[fixed]);
    }
    masked
}

fn is_escape(text: &str) -> bool {
    text.as_bytes().get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn encoded(character: char) -> String {
    let mut bytes = [0; 4];
    character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn bad_target(reader: &mut Reader<'_>, span: Range<usize>, message: String, remedy: &str) {
    reader.report(Problem { code: codes::BAD_TARGET, span, message, remedy: remedy.into(), related: Vec::new() });
}
