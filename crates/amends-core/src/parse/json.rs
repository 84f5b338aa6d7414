//! JSON into a tree with positions.
//!
//! `serde_json` says first whether the text is JSON at all, so the reader here has no errors to explain: whatever it
//! does not understand it leaves to YAML, of which JSON is (nearly) a part and which explains its errors itself.

use super::document;
use super::scalar::{self, Unfit};
use super::tree::{Entry, Node, Value};
use crate::limits;
use crate::lint::Problem;
use serde::de::IgnoredAny;

/// What came of reading a text as JSON.
pub(super) enum Attempt {
    /// It is JSON.
    Read(Node),
    /// It is something else, or nested too deep for `serde_json`.
    NotJson,
}

pub(super) fn read(source: &str, problems: &mut Vec<Problem>) -> Attempt {
    if serde_json::from_str::<IgnoredAny>(source).is_err() {
        return Attempt::NotJson;
    }
    let mut reader = Reader { source, at: 0, problems };
    reader.value(0).map_or(Attempt::NotJson, Attempt::Read)
}

struct Reader<'s> {
    source: &'s str,
    at: usize,
    problems: &'s mut Vec<Problem>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Node> {
        self.blanks();
        let start = self.at;
        if depth > limits::JSON_DEPTH {
            document::too_deep(start, self.problems);
            return self.skip();
        }
        let value = match self.source.as_bytes().get(start)? {
            b'{' => self.map(depth)?,
            b'[' => self.list(depth)?,
            b'"' => Value::Text(self.text()?),
            _ => self.word()?,
        };
        Some(Node { span: start..self.at, value })
    }

    /// Passes over a value without looking into it: `serde_json` does that in a loop, so no depth exhausts the stack.
    fn skip(&mut self) -> Option<Node> {
        let start = self.at;
        let mut values = serde_json::Deserializer::from_str(&self.source[start..]).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(Node { span: start..self.at, value: Value::Null })
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Value::List(items));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        let mut entries = Vec::new();
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(Value::Map(entries));
        }
        loop {
            self.blanks();
            let start = self.at;
            let key = self.text()?;
            let key_span = start..self.at;
            self.take(b':')?;
            entries.push(Entry { key, key_span, value: self.value(depth + 1)? });
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Value::Map(entries));
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let rest = &self.source[self.at..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })? + 2;
        self.at += end;
        serde_json::from_str(&rest[..end]).ok()
    }

    /// `null`, `true`, `false` or a number: all are written the same in YAML, and so they mean the same.
    fn word(&mut self) -> Option<Value> {
        let start = self.at;
        let rest = &self.source[start..];
        let end = rest
            .find(|c: char| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '+' | '-' | '.'))
            .unwrap_or(rest.len());
        self.at += end;
        match scalar::resolve(&rest[..end]) {
            Ok(value) => Some(value),
            Err(why @ (Unfit::TooLong | Unfit::NotFinite)) => {
                document::unfit(&why, start..self.at, self.problems);
                Some(Value::Null)
            }
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        let found = self.source.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found.then_some(())
    }

    fn blanks(&mut self) {
        let rest = &self.source[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }
}
