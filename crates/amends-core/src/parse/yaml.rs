//! YAML events into a tree with positions.
//!
//! Only what is a notation for JSON is taken. Anchors and aliases can make a small text enormous and a definition
//! hard to read in an incident; tags mean types that JSON does not have. Both are reported and left out, and reading
//! goes on.

use super::document;
use super::scalar;
use super::tree::{Entry, Node, Value};
use crate::limits;
use crate::lint::{Problem, codes};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::ops::Range;

pub(super) fn read(source: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut reader = Reader { source, offsets: Offsets::of(source), parser: Parser::new_from_str(source), problems };
    reader.document()
}

/// The parser counts characters, we count bytes.
struct Offsets(Option<Vec<usize>>);

impl Offsets {
    fn of(source: &str) -> Offsets {
        Offsets((!source.is_ascii()).then(|| source.char_indices().map(|(at, _)| at).collect()))
    }

    fn byte(&self, source: &str, character: usize) -> usize {
        match &self.0 {
            None => character.min(source.len()),
            Some(offsets) => offsets.get(character).copied().unwrap_or(source.len()),
        }
    }
}

struct Reader<'s> {
    source: &'s str,
    offsets: Offsets,
    parser: Parser<'s, StrInput<'s>>,
    problems: &'s mut Vec<Problem>,
}

impl<'s> Reader<'s> {
    fn document(&mut self) -> Option<Node> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd, _) => return Some(Node { span: 0..0, value: Value::Null }),
                (event, span) => break self.node(event, span, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Some(root),
                (Event::DocumentStart(_), span) => {
                    let start = span.start;
                    self.report(Problem {
                        code: codes::SEVERAL_DOCUMENTS,
                        span: start..self.end_of_word(start),
                        message: "there is a second document in this text".into(),
                        remedy: "put each definition into a file of its own".into(),
                        related: Vec::new(),
                    });
                    return None;
                }
                (_, _) => {}
            }
        }
    }

    fn next(&mut self) -> Option<(Event<'s>, Range<usize>)> {
        match self.parser.next_event()? {
            Ok((event, span)) => Some((event, self.range(span))),
            Err(error) => {
                self.syntax_error(&error);
                None
            }
        }
    }

    fn node(&mut self, event: Event<'s>, span: Range<usize>, depth: usize) -> Option<Node> {
        if depth > limits::JSON_DEPTH {
            document::too_deep(span.start, self.problems);
            return None;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(anchor, tag.is_some(), &span);
                Some(self.scalar(text.into_owned(), style, span))
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(anchor, tag.is_some(), &span);
                self.list(span, depth)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(anchor, tag.is_some(), &span);
                self.map(span, depth)
            }
            Event::Alias(_) => {
                self.report(Problem {
                    code: codes::ANCHOR,
                    span: span.clone(),
                    message: "definitions have no anchors and no aliases".into(),
                    remedy: "write the value out where it is used".into(),
                    related: Vec::new(),
                });
                Some(Node { span, value: Value::Null })
            }
            // The parser sends none of these where a value is due.
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => None,
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: Range<usize>) -> Node {
        let value = match style {
            ScalarStyle::Plain => scalar::resolve(&text).unwrap_or_else(|why| {
                document::unfit(&why, span.clone(), self.problems);
                Value::Null
            }),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
                Value::Text(text)
            }
        };
        Node { span, value }
    }

    fn list(&mut self, start: Range<usize>, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let last = items.last().map(|item: &Node| item.span.end);
                    return Some(Node { span: self.extent(&start, last, &end), value: Value::List(items) });
                }
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, start: Range<usize>, depth: usize) -> Option<Node> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, end) => {
                    let last = entries.last().map(|entry| entry.value.span.end.max(entry.key_span.end));
                    return Some(Node { span: self.extent(&start, last, &end), value: Value::Map(entries) });
                }
                (Event::Scalar(text, _, anchor, tag), span) => {
                    self.refuse(anchor, tag.is_some(), &span);
                    Some((text.into_owned(), span))
                }
                (event, span) => {
                    self.bad_key(&start, &event, &span);
                    self.node(event, span, depth + 1)?;
                    None
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if let Some((key, key_span)) = key {
                entries.push(Entry { key, key_span, value });
            }
        }
    }

    /// `{{ input.x }}` without quotes is, to YAML, a map whose key is a map.
    fn bad_key(&mut self, map: &Range<usize>, event: &Event<'_>, span: &Range<usize>) {
        let braces = self.source[map.start..].starts_with("{{");
        self.report(if braces && matches!(event, Event::MappingStart(..)) {
            let rest = &self.source[map.start..];
            let length = rest.find("}}").map_or(2, |end| end + 2);
            let line = rest.lines().next().unwrap_or_default();
            Problem {
                code: codes::UNQUOTED_EXPRESSION,
                span: map.start..map.start + length.min(line.len()),
                message: "an expression must be in quotes, or YAML takes its braces for a map".into(),
                remedy: "write `\"{{ … }}\"`".into(),
                related: Vec::new(),
            }
        } else {
            Problem {
                code: codes::BAD_KEY,
                span: span.start..self.end_of_word(span.start),
                message: "the key of a map must be text".into(),
                remedy: "write a word or a quoted string before the colon".into(),
                related: Vec::new(),
            }
        });
    }

    fn refuse(&mut self, anchor: usize, tagged: bool, span: &Range<usize>) {
        if anchor > 0 {
            self.report(Problem {
                code: codes::ANCHOR,
                span: self.mark_before(span, '&'),
                message: "definitions have no anchors and no aliases".into(),
                remedy: "write the value out where it is used".into(),
                related: Vec::new(),
            });
        }
        if tagged {
            self.report(Problem {
                code: codes::TAG,
                span: self.mark_before(span, '!'),
                message: "definitions have no tags: a value is what it looks like".into(),
                remedy: "take the tag away; put quotes around what is to be text".into(),
                related: Vec::new(),
            });
        }
    }

    /// The anchor or tag that belongs to the value at `span`: the parser counts it to the value or leaves it before.
    fn mark_before(&self, span: &Range<usize>, mark: char) -> Range<usize> {
        let found = if self.source[span.start..].starts_with([mark, '*']) {
            Some(span.start)
        } else {
            self.source[..span.start].rfind(mark)
        };
        found.map_or(span.clone(), |start| start..self.end_of_word(start))
    }

    fn end_of_word(&self, start: usize) -> usize {
        let rest = &self.source[start..];
        start + rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(rest.len())
    }

    /// The extent of a list or map. In block style its end is wherever the parser noticed it, mostly on the next line.
    fn extent(&self, start: &Range<usize>, last: Option<usize>, end: &Range<usize>) -> Range<usize> {
        let flow = self.source[start.start..].starts_with(['[', '{']);
        start.start..if flow { end.end } else { last.unwrap_or(start.end) }.max(start.start)
    }

    /// The parser's span in bytes, without the blanks and line ends that block scalars bring along.
    fn range(&self, span: Span) -> Range<usize> {
        let start = self.offsets.byte(self.source, span.start.index());
        let end = self.offsets.byte(self.source, span.end.index()).max(start);
        start..start + self.source[start..end].trim_end().len()
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = self.offsets.byte(self.source, error.marker().index());
        // The mark may be the end of the text: then the last thing that was written is shown.
        let start = if at < self.source.len() { at } else { self.source.trim_end().len() };
        let info = error.info();
        if info.contains("anchor") {
            return self.refuse(1, false, &(start..self.end_of_word(start)));
        }
        self.report(Problem {
            code: codes::SYNTAX,
            span: start..self.end_of_word(start).max(start),
            message: format!("this is neither YAML nor JSON: {info}"),
            remedy: if self.source[..start].lines().last().is_some_and(|line| line.starts_with('\t')) {
                "indent with spaces; YAML does not take tabs".into()
            } else if info.contains("escape") {
                "mend the escape, or use single quotes, in which a backslash is a backslash".into()
            } else if info.contains("quoted scalar") {
                "close the quotes, here or just before".into()
            } else {
                "mend the indentation, quotes or brackets here or just before".into()
            },
            related: Vec::new(),
        });
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}
