//! Reading a map with known keys.

use super::draft::Located;
use super::reader::Reader;
use super::tree::{Entry, Node, Value};
use crate::lint::{Problem, codes, nearest};
use crate::text::shortened;
use crate::time;
use std::collections::HashMap;
use std::ops::Range;

/// What a map may hold.
pub(super) struct Shape {
    /// The map in words, such as `a step`.
    pub(super) what: &'static str,
    /// The keys there are.
    pub(super) keys: &'static [&'static str],
}

/// A map whose keys have been checked.
pub(super) struct Fields<'t> {
    entries: &'t [Entry],
}

impl<'t> Fields<'t> {
    /// The first entry with this key.
    pub(super) fn get(&self, key: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Reader<'_> {
    /// The fields of a map; keys that do not belong there are reported. None if it is no map.
    pub(super) fn fields<'t>(&mut self, node: &'t Node, shape: &Shape) -> Option<Fields<'t>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(
                node,
                &format!("{} is a map", shape.what),
                &format!("give it keys: {}", quoted(shape.keys)),
            );
            return None;
        };
        self.refuse_duplicates(entries);
        for entry in entries.iter().filter(|entry| !shape.keys.contains(&entry.key.as_str())) {
            self.report(Problem {
                code: codes::UNKNOWN_KEY,
                span: entry.key_span.clone(),
                message: format!("{} has no key `{}`", shape.what, shortened(&entry.key)),
                remedy: match nearest(&entry.key, shape.keys.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", quoted(shape.keys)),
                },
                related: Vec::new(),
            });
        }
        Some(Fields { entries })
    }

    /// Reports each key that a map has more than once.
    pub(super) fn refuse_duplicates(&mut self, entries: &[Entry]) {
        for (first, second) in duplicates(entries) {
            self.report(Problem {
                code: codes::DUPLICATE_KEY,
                span: second.key_span.clone(),
                message: format!("the key `{}` is there twice", shortened(&second.key)),
                remedy: "keep one of the two".into(),
                related: vec![(first.key_span.clone(), "first given here".into())],
            });
        }
    }

    /// Reports that `key` is missing from the map that `owner` stands for.
    pub(super) fn missing(&mut self, owner: &Range<usize>, message: &str, remedy: &str) {
        self.report(Problem {
            code: codes::MISSING_KEY,
            span: owner.clone(),
            message: message.into(),
            remedy: remedy.into(),
            related: Vec::new(),
        });
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, node: &Node, message: &str, remedy: &str) {
        let span = self.token(node);
        self.report(Problem {
            code: codes::WRONG_TYPE,
            span,
            message: format!("{message}, and this is {}", node.describe()),
            remedy: remedy.into(),
            related: Vec::new(),
        });
    }

    /// The part of a value that a message points to: all of it if it stands on one line, else its first line.
    pub(super) fn token(&self, node: &Node) -> Range<usize> {
        let text = &self.source[node.span.clone()];
        node.span.start..node.span.start + text.lines().next().unwrap_or_default().trim_end().len()
    }

    /// The text of a value that must be text.
    pub(super) fn text<'t>(&mut self, entry: &'t Entry) -> Option<&'t str> {
        if let Value::Text(text) = &entry.value.value {
            return Some(text);
        }
        let remedy = "write text, in quotes if it looks like something else";
        if matches!(entry.value.value, Value::Null) {
            self.empty_value(entry, remedy);
        } else {
            self.wrong_type(&entry.value, &format!("`{}` is text", entry.key), remedy);
        }
        None
    }

    /// Reports a key without a value.
    pub(super) fn empty_value(&mut self, entry: &Entry, remedy: &str) {
        self.report(Problem {
            code: codes::WRONG_TYPE,
            span: entry.key_span.clone(),
            message: format!("`{}` has no value", entry.key),
            remedy: remedy.into(),
            related: Vec::new(),
        });
    }

    /// A duration that must be longer than nothing, in milliseconds.
    pub(super) fn duration(&mut self, entry: &Entry) -> Option<Located<u64>> {
        let span = self.token(&entry.value);
        let text = match &entry.value.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null => {
                self.empty_value(entry, "write a number with a unit, such as `30s`");
                return None;
            }
            Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(
                    &entry.value,
                    &format!("`{}` is a duration", entry.key),
                    "write a number with a unit, such as `30s`",
                );
                return None;
            }
        };
        let problem = match time::parse_duration(&text) {
            Ok(0) => Problem {
                code: codes::ZERO_DURATION,
                span,
                message: format!("`{}` is zero", entry.key),
                remedy: "give it some time, such as `30s`, or leave the key out".into(),
                related: Vec::new(),
            },
            Ok(value) => return Some(Located { value, span }),
            Err(message) => {
                let (message, remedy) = match message.split_once("; ") {
                    Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
                    None => (message, "write a shorter one".into()),
                };
                Problem { code: codes::BAD_DURATION, span, message, remedy, related: Vec::new() }
            }
        };
        self.report(problem);
        None
    }
}

/// The pairs of entries with the same key: the first one and each later one.
pub(super) fn duplicates(entries: &[Entry]) -> Vec<(&Entry, &Entry)> {
    let mut seen: HashMap<&str, &Entry> = HashMap::new();
    let mut pairs = Vec::new();
    for entry in entries {
        match seen.get(entry.key.as_str()) {
            Some(first) => pairs.push((*first, entry)),
            None => {
                seen.insert(&entry.key, entry);
            }
        }
    }
    pairs
}

/// Names as messages list them.
pub(super) fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
