//! Templates inside of a document: reading them, and finding the place of a piece of them.

use super::draft::{Role, Site};
use super::reader::Reader;
use super::tree::{Entry, Node, Value};
use crate::expression::{EXPRESSIONS, Expression, ExpressionError, Template, Tree, Use};
use crate::lint::{Problem, codes};
use std::ops::Range;

impl Reader<'_> {
    /// The template that is a key's value.
    pub(super) fn template(&mut self, entry: &Entry, role: Role) -> Option<Template> {
        let text = self.text(entry)?;
        let template = self.readable(Template::parse(text), text, &entry.value)?;
        self.found(role, template.uses(), text, &entry.value);
        self.count(template.expressions(), &entry.value);
        Some(template)
    }

    /// The expression that is a key's value.
    pub(super) fn expression(&mut self, entry: &Entry, role: Role) -> Option<Expression> {
        let text = self.text(entry)?;
        let expression = self.readable(Expression::parse(text), text, &entry.value)?;
        self.found(role, expression.uses(), text, &entry.value);
        self.count(1, &entry.value);
        Some(expression)
    }

    /// A value whose strings may hold templates.
    pub(super) fn tree(&mut self, node: &Node, role: Role) -> Option<Tree> {
        Some(match &node.value {
            Value::Null => Tree::Constant(serde_json::Value::Null),
            Value::Bool(truth) => Tree::Constant((*truth).into()),
            Value::Number(number) => Tree::Constant(number.clone().into()),
            Value::Text(text) => {
                let tree = self.readable(Tree::from_text(text), text, node)?;
                match &tree {
                    Tree::Expression(expression) => {
                        self.found(role, expression.uses(), text, node);
                        self.count(1, node);
                    }
                    Tree::Text(template) => {
                        self.found(role, template.uses(), text, node);
                        self.count(template.expressions(), node);
                    }
                    Tree::Constant(_) | Tree::List(_) | Tree::Map(_) => {}
                }
                tree
            }
            Value::List(items) => {
                // All of them are read before the first failure counts, so that all problems are reported.
                let items: Vec<Option<Tree>> = items.iter().map(|item| self.tree(item, role)).collect();
                Tree::List(items.into_iter().collect::<Option<_>>()?)
            }
            Value::Map(entries) => {
                self.refuse_duplicates(entries);
                let entries: Vec<Option<(String, Tree)>> =
                    entries.iter().map(|entry| Some((entry.key.clone(), self.tree(&entry.value, role)?))).collect();
                Tree::Map(entries.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    /// Reports what cannot be read in `text`, which is the text of `node` or the end of it.
    pub(super) fn readable<T>(&mut self, read: Result<T, ExpressionError>, text: &str, node: &Node) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                let span = self.places(node, text).find(&error.range);
                self.report(Problem {
                    code: codes::BAD_EXPRESSION,
                    span,
                    message: error.message,
                    remedy: error.remedy,
                    related: Vec::new(),
                });
                None
            }
        }
    }

    /// Remembers what a template reads.
    pub(super) fn found(&mut self, role: Role, uses: &[Use], text: &str, node: &Node) {
        let places = self.places(node, text);
        let uses = uses
            .iter()
            .map(|place| Use { reference: place.reference.clone(), range: places.find(&place.range) })
            .collect();
        self.sites.push(Site { role, uses });
    }

    /// Counts expressions, and reports the one that is too many.
    pub(super) fn count(&mut self, expressions: usize, node: &Node) {
        let before = self.expressions;
        self.expressions += expressions;
        if before <= EXPRESSIONS && self.expressions > EXPRESSIONS {
            let span = self.token(node);
            self.report(Problem {
                code: codes::TOO_MANY_EXPRESSIONS,
                span,
                message: format!("a definition has at most {EXPRESSIONS} expressions"),
                remedy: "pass larger pieces of the input on, such as `{{ input.lines }}`".into(),
                related: Vec::new(),
            });
        }
    }

    /// Finds places in `text`, which is the text of `node` or the end of it.
    pub(super) fn places<'t>(&self, node: &'t Node, text: &'t str) -> Places<'t>
    where
        Self: 't,
    {
        let written = &self.source[node.span.clone()];
        let Value::Text(all) = &node.value else {
            return Places { text, whole: self.token(node), way: Way::Whole };
        };
        let skipped = all.len() - text.len();
        let way = if written == all {
            Way::Direct { offset: node.span.start + skipped }
        } else if written.get(1..written.len() - 1) == Some(all) {
            Way::Direct { offset: node.span.start + 1 + skipped }
        } else if written.len() <= SEARCHED_BYTES {
            Way::Search { all, skipped, written: written.to_owned(), offset: node.span.start }
        } else {
            Way::Whole
        };
        Places { text, whole: self.token(node), way }
    }
}

/// Finds the places of pieces of a text in the source. Quotes, escapes and indentation may stand between the two.
pub(super) struct Places<'t> {
    text: &'t str,
    whole: Range<usize>,
    way: Way<'t>,
}

enum Way<'t> {
    /// The text stands in the source as it is.
    Direct { offset: usize },
    /// The piece's own characters mostly stand in the source as they are, so the same occurrence is looked for.
    Search { all: &'t str, skipped: usize, written: String, offset: usize },
    /// The whole value is the place.
    Whole,
}

/// A longer text with escapes in it is not searched for places: that would cost its length for each of them.
const SEARCHED_BYTES: usize = 4096;

impl Places<'_> {
    /// The place of a range of the text.
    pub(super) fn find(&self, range: &Range<usize>) -> Range<usize> {
        let found = match (&self.way, self.text.get(range.clone())) {
            (_, None | Some("")) | (Way::Whole, _) => None,
            (Way::Direct { offset }, Some(_)) => Some(range.start + offset..range.end + offset),
            (Way::Search { all, skipped, written, offset }, Some(wanted)) => {
                let nth = all.match_indices(wanted).position(|(at, _)| at == range.start + skipped);
                let place = nth.and_then(|nth| written.match_indices(wanted).nth(nth));
                place.map(|(at, _)| offset + at..offset + at + wanted.len())
            }
        };
        found.unwrap_or_else(|| self.whole.clone())
    }
}
