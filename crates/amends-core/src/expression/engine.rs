//! Compiles and runs one expression on minijinja, with everything taken out that has no place in a definition.
//!
//! What may be written is an allow list that is checked on the syntax tree ([`FILTERS`], [`TESTS`]; no functions,
//! no methods), so a filter that a later version of the engine brings does not become part of our language by itself.

#[cfg(test)]
mod tests;

use super::references;
use super::value::{self, Budget, Node};
use super::{EXPRESSION_BYTES, EXPRESSION_TOKENS, ExpressionError, Reference, RenderError, Scope, Use};
use minijinja::machinery::tokenize;
use minijinja::value::Value as Jinja;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The filters there are (`x | …`).
#[rustfmt::skip]
pub const FILTERS: &[&str] = &[
    "abs", "batch", "bool", "capitalize", "chain", "count", "d", "default", "dictsort", "first", "float", "groupby",
    "int", "items", "join", "json", "last", "length", "lines", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort", "split", "string", "sum",
    "title", "trim", "unique", "upper", "zip",
];

/// The filters and tests of the engine that are taken out: `map('…')` and `select('…')` find them by name while they
/// run, so it is not enough to refuse them when an expression is read.
const REMOVED_FILTERS: &[&str] = &["attr", "e", "escape", "format", "indent", "pprint", "safe", "tojson", "urlencode"];
const REMOVED_TESTS: &[&str] = &["escaped", "filter", "safe", "sameas", "test"];

/// The tests there are (`x is …`).
#[rustfmt::skip]
pub const TESTS: &[&str] = &[
    "boolean", "defined", "divisibleby", "endingwith", "eq", "equalto", "even", "false", "float", "ge", "gt",
    "greaterthan", "in", "int", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none",
    "number", "odd", "sequence", "startingwith", "string", "true", "undefined", "upper",
];

/// The engine's budget for one expression: about this many steps, or 64 times as many bytes.
const FUEL: u64 = 100_000;

/// An expression, ready to run.
pub(super) struct Program {
    /// As written, without its braces and the spaces around it.
    source: String,
    compiled: minijinja::Expression<'static, 'static>,
    /// Where the value is, if all that the expression does is read one. Most do, and need no engine for it.
    plain: Option<Vec<String>>,
    /// What has to be in the context: nothing else is put there.
    reads: Vec<Reference>,
}

/// Compiles what stands at `range` in `template`, between the braces.
pub(super) fn compile(template: &str, range: Range<usize>) -> Result<(Program, Vec<Use>), ExpressionError> {
    let inner = &template[range.clone()];
    let source = inner.trim();
    let offset = range.start + (inner.len() - inner.trim_start().len());
    let whole = range.start - 2..range.end + 2;
    if source.is_empty() {
        return Err(ExpressionError {
            message: "this expression is empty".into(),
            remedy: "write what it stands for, such as `{{ input.order_id }}`".into(),
            range: whole,
        });
    }
    // After the first thing that is no token there is no other; the parser will say what it is.
    let mut tokens = tokenize(source, true, Default::default()).take_while(Result::is_ok);
    if source.len() > EXPRESSION_BYTES || tokens.nth(EXPRESSION_TOKENS).is_some() {
        return Err(ExpressionError {
            message: format!(
                "this expression is longer than {EXPRESSION_BYTES} bytes or {EXPRESSION_TOKENS} words and signs"
            ),
            remedy: "split it, or let a participant compute it".into(),
            range: whole,
        });
    }
    let mut uses = references::check(source).map_err(|error| shifted(error, offset))?;
    let compiled = environment()
        .compile_expression_owned(source.to_owned())
        .map_err(|error| shifted(syntax_error(&error, source), offset))?;
    let mut reads: Vec<Reference> = uses.iter().map(|place| place.reference.clone()).collect();
    reads.sort();
    reads.dedup();
    for place in &mut uses {
        place.range = place.range.start + offset..place.range.end + offset;
    }
    let plain = references::plain(source);
    Ok((Program { source: source.to_owned(), compiled, plain, reads }, uses))
}

/// An error of the engine's parser in our words; its range is within the expression.
pub(super) fn syntax_error(error: &Error, source: &str) -> ExpressionError {
    ExpressionError {
        message: format!("this expression cannot be read: {}", error.detail().unwrap_or("it is not well formed")),
        remedy: "mend the expression; the language is described in docs/definitions.md".into(),
        range: within(source, error.range().unwrap_or_default()),
    }
}

/// The engine's place of something in `source`, if that is one; else, all of it.
pub(super) fn within(source: &str, range: Range<usize>) -> Range<usize> {
    if source.get(range.clone()).is_some_and(|there| !there.is_empty()) { range } else { 0..source.len() }
}

fn shifted(error: ExpressionError, offset: usize) -> ExpressionError {
    ExpressionError { range: error.range.start + offset..error.range.end + offset, ..error }
}

impl Program {
    /// The expression's value in this scope, as JSON; its size is taken from the budget.
    pub(super) fn run(&self, scope: &Scope, budget: &mut Budget) -> Result<Value, RenderError> {
        // What is not there, the engine explains.
        if let Some(found) = self.plain.as_deref().and_then(|path| scope.find(path)) {
            budget.take(value::size(&found, budget.left())).map_err(|message| self.error(message))?;
            return Ok(found.into_owned());
        }
        self.compute(scope, budget)
    }

    /// The same by the engine, which can do more than read.
    fn compute(&self, scope: &Scope, budget: &mut Budget) -> Result<Value, RenderError> {
        let result = self.compiled.eval(self.context(scope)).map_err(|error| self.error(explain(&error)))?;
        value::to_json(&result, budget).map_err(|message| self.error(message))
    }

    /// Says that this expression cannot be rendered, and why.
    pub(super) fn error(&self, message: String) -> RenderError {
        RenderError { expression: format!("{{{{ {} }}}}", self.source), message }
    }

    /// The variables that this expression reads, and no others: a scope holds everything a saga has learnt so far,
    /// and most expressions look at one field of it.
    fn context(&self, scope: &Scope) -> Jinja {
        let mut roots = BTreeMap::new();
        let mut steps = BTreeMap::new();
        for reference in &self.reads {
            match reference {
                Reference::Input => {
                    roots.insert("input", Node::of(&scope.input));
                }
                Reference::SagaField => {
                    let fields = [("id", scope.saga_id.as_str()), ("key", scope.saga_key.as_str())];
                    roots.insert("saga", Jinja::from_pairs(fields));
                }
                Reference::StepOutput(name) => {
                    if let Some((_, output)) = scope.outputs.iter().find(|(step, _)| step == name) {
                        steps.insert(name.as_str(), Jinja::from_pairs([("output", Node::of(output))]));
                    }
                }
                Reference::OwnOutput => {
                    if let Some(output) = &scope.own_output {
                        roots.insert("output", Node::of(output));
                    }
                }
                Reference::Response => {
                    if let Some((status, body)) = &scope.response {
                        let fields = [("status", Jinja::from(*status)), ("body", Node::of(body))];
                        roots.insert("response", Jinja::from_pairs(fields));
                    }
                }
            }
        }
        if self.reads.iter().any(|reference| matches!(reference, Reference::StepOutput(_))) {
            roots.insert("steps", Jinja::from(steps));
        }
        Jinja::from(roots)
    }
}

impl Scope {
    /// What the names on this path lead to, through maps alone.
    fn find(&self, path: &[String]) -> Option<Cow<'_, Value>> {
        let (root, rest): (&Value, &[String]) = match path {
            [root, rest @ ..] if root == "input" => (&self.input, rest),
            [root, rest @ ..] if root == "output" => (self.own_output.as_deref()?, rest),
            [root, field] if root == "saga" => {
                let text = if field == "id" { &self.saga_id } else { &self.saga_key };
                return Some(Cow::Owned(Value::String(text.clone())));
            }
            [root, name, _output, rest @ ..] if root == "steps" => {
                (&self.outputs.iter().find(|(step, _)| step == name)?.1, rest)
            }
            _ => return None,
        };
        rest.iter().try_fold(root, |value, name| value.as_object()?.get(name)).map(Cow::Borrowed)
    }
}

/// An error of the running engine in our words.
fn explain(error: &Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "it takes too much work".into(),
        ErrorKind::UndefinedError => {
            error.detail().map_or_else(|| "it reads something that is undefined".into(), str::to_owned)
        }
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    }
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        for name in ["range", "dict", "debug", "namespace"] {
            environment.remove_global(name);
        }
        for name in REMOVED_FILTERS {
            environment.remove_filter(name);
        }
        for name in REMOVED_TESTS {
            environment.remove_test(name);
        }
        environment.add_filter("default", default);
        environment.add_filter("d", default);
        environment.add_filter("json", json);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // In debug mode an error names the variable that is undefined.
        environment.set_debug(true);
        environment
    })
}

/// `default`, but null counts as missing, too: in JSON that is how what is missing is mostly written.
fn default(value: &Jinja, other: Option<Jinja>) -> Jinja {
    if value.is_undefined() || value.is_none() { other.unwrap_or_else(|| Jinja::from("")) } else { value.clone() }
}

/// `json`: the value as compact JSON text.
fn json(value: &Jinja) -> Result<String, Error> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let tree = value::to_json(value, &mut Budget::new(super::OUTPUT_BYTES)).map_err(invalid)?;
    Ok(tree.to_string())
}

/// The engine must be shareable: compiled definitions are read by many sagas at once.
const _: fn() = || {
    fn shareable<T: Send + Sync>() {}
    shareable::<Arc<Program>>();
};
