//! The tree into a draft: the top level of a definition.

use super::draft::{Draft, DraftStep, Located, Role, Site};
use super::fields::{Shape, duplicates};
use super::tree::{Entry, Node, Value};
use crate::definition::Dedupe;
use crate::expression::Template;
use crate::limits;
use crate::lint::{Problem, codes};
use crate::parse::{redact, retry};
use crate::retry::RetryPolicy;
use crate::text::{hexadecimal, shortened};
use sha2::{Digest, Sha256};

const DEFINITION: Shape = Shape {
    what: "a definition",
    keys: &["saga", "description", "key", "deadline", "dedupe", "redact", "retry", "steps"],
};
const DEDUPE: Shape = Shape { what: "`dedupe`", keys: &["by", "within"] };

/// What is being read, and what has been found so far.
pub(super) struct Reader<'s> {
    pub(super) source: &'s str,
    pub(super) problems: &'s mut Vec<Problem>,
    pub(super) sites: Vec<Site>,
    pub(super) participants: Vec<Located<String>>,
    /// Every queue that is named, as often as it is named.
    pub(super) queues: Vec<Located<String>>,
    pub(super) expressions: usize,
}

/// Reads a whole definition.
pub(super) fn read(source: &str, tree: &Node, problems: &mut Vec<Problem>) -> Option<Draft> {
    let mut reader =
        Reader { source, problems, sites: Vec::new(), participants: Vec::new(), queues: Vec::new(), expressions: 0 };
    let fields = reader.fields(tree, &DEFINITION)?;
    let start = tree.span.start..tree.span.start + tree.span.len().min(1);
    let name = match fields.get("saga") {
        Some(entry) => reader.name(entry),
        None => {
            reader.missing(&start, "the definition has no name", "begin with `saga: name`");
            None
        }
    };
    let key = match fields.get("key") {
        Some(entry) => reader.key(entry),
        None => {
            reader.missing(
                &start,
                "the definition has no business key",
                "add `key: \"{{ input.… }}\"` with whatever names the work, such as an order id",
            );
            None
        }
    };
    if let Some(entry) = fields.get("description") {
        reader.text(entry);
    }
    let deadline = fields.get("deadline").and_then(|entry| reader.duration(entry));
    let dedupe = fields.get("dedupe").and_then(|entry| reader.dedupe(entry));
    let redact = fields.get("redact").map(|entry| redact::read(&mut reader, entry)).unwrap_or_default();
    let retry = match fields.get("retry") {
        Some(entry) => retry::read(&mut reader, entry, RetryPolicy::ACTION).unwrap_or(RetryPolicy::ACTION),
        None => RetryPolicy::ACTION,
    };
    let steps = match fields.get("steps") {
        Some(entry) => reader.steps(entry, retry),
        None => {
            reader.missing(&start, "the definition has no steps", "add `steps:` with at least one step");
            Vec::new()
        }
    };
    let (sites, participants, queues) = (reader.sites, reader.participants, reader.queues);
    Some(Draft { name, version: version(tree), key, deadline, dedupe, redact, steps, sites, participants, queues })
}

/// SHA-256 of the canonical document, in lower-case hexadecimal.
fn version(tree: &Node) -> String {
    hexadecimal(&Sha256::digest(tree.canonical().as_bytes()))
}

impl Reader<'_> {
    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn name(&mut self, entry: &Entry) -> Option<String> {
        let text = self.text(entry)?;
        self.check_name(text, &self.token(&entry.value), "a saga").then(|| text.to_owned())
    }

    /// Whether `name` is a name; reports it if not. Names stand in URLs, headers, keys and metrics.
    pub(super) fn check_name(&mut self, name: &str, span: &std::ops::Range<usize>, what: &str) -> bool {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = name.len() <= limits::NAME_BYTES
            && name.bytes().next().is_some_and(letter)
            && name.bytes().all(|byte| letter(byte) || byte == b'-' || byte == b'_');
        if !valid {
            self.report(Problem {
                code: codes::BAD_NAME,
                span: span.clone(),
                message: format!("`{}` cannot be the name of {what}", shortened(name)),
                remedy: format!(
                    "use 1 to {} lower-case letters, digits, `-` and `_`, the first a letter or a digit",
                    limits::NAME_BYTES
                ),
                related: Vec::new(),
            });
        }
        valid
    }

    fn key(&mut self, entry: &Entry) -> Option<Located<Template>> {
        let value = self.template(entry, Role::Key)?;
        Some(Located { value, span: self.token(&entry.value) })
    }

    fn dedupe(&mut self, entry: &Entry) -> Option<Dedupe> {
        let fields = self.fields(&entry.value, &DEDUPE)?;
        let by = match fields.get("by") {
            Some(by) => self.template(by, Role::Dedupe),
            None => {
                self.missing(&entry.key_span, "`dedupe` does not say what makes two starts the same", "add `by`");
                None
            }
        };
        let within = match fields.get("within") {
            Some(within) => self.duration(within),
            None => {
                self.missing(&entry.key_span, "`dedupe` does not say how long it looks back", "add `within: 2s`");
                None
            }
        };
        Some(Dedupe { by: by?, within_ms: within?.value })
    }

    fn steps(&mut self, entry: &Entry, retry: RetryPolicy) -> Vec<DraftStep> {
        let entries = match &entry.value.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                self.wrong_type(&entry.value, "`steps` is a map from names to steps", "write `name:` before each step");
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.report(Problem {
                code: codes::NO_STEPS,
                span: entry.key_span.clone(),
                message: "a saga has at least one step".into(),
                remedy: "add a step".into(),
                related: Vec::new(),
            });
        }
        if let Some(extra) = entries.get(limits::STEPS) {
            self.report(Problem {
                code: codes::TOO_MANY_STEPS,
                span: extra.key_span.clone(),
                message: format!("a saga has at most {} steps, and this has {}", limits::STEPS, entries.len()),
                remedy: "split it into several sagas".into(),
                related: Vec::new(),
            });
        }
        for (first, second) in duplicates(entries) {
            self.report(Problem {
                code: codes::DUPLICATE_STEP,
                span: second.key_span.clone(),
                message: format!("there are two steps of the name `{}`", shortened(&second.key)),
                remedy: "rename one of them; the second would silently replace the first".into(),
                related: vec![(first.key_span.clone(), "the first step of this name".into())],
            });
        }
        let readable = entries.iter().take(limits::STEPS).enumerate();
        readable.map(|(index, step)| super::step::read(self, index, step, retry)).collect()
    }
}
