//! The `{{ … }}` in definitions: read once when a definition is checked, rendered for every call.
//!
//! Rendering is a pure function of the [`Scope`]: the language has no clock, no randomness, no functions and no
//! statements, and maps are written in the order of their keys, so rendering again gives the same request. What is
//! undefined is an error and never an empty string: a request with a hole in it must not be sent. What an expression
//! costs is bounded by its length, by the engine's fuel and by [`OUTPUT_BYTES`].
//!
//! Reading finds what a template refers to ([`Template::references`]), so a definition that reads the output of a
//! step that has not run yet is refused before the first saga starts.

mod engine;
mod path;
mod references;
mod scan;
mod value;

use engine::Program;
use serde_json::Value;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use value::Budget;

pub use engine::{FILTERS, TESTS};
pub(crate) use path::dot_segment;

/// What one rendering may produce, in bytes.
pub const OUTPUT_BYTES: usize = 1024 * 1024;
/// The source of one expression, in bytes.
pub const EXPRESSION_BYTES: usize = 1024;
/// The words and signs of one expression. Its syntax tree is at most so deep, so this bounds the stack, too.
pub const EXPRESSION_TOKENS: usize = 128;
/// The expressions of one definition. Each may cost what the engine allows for one, so their number is bounded, too.
pub const EXPRESSIONS: usize = 2_000;
/// A rendered path with its query, in bytes.
pub const PATH_BYTES: usize = 8 * 1024;

/// What the expressions of one rendering can see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `saga.id`.
    pub saga_id: String,
    /// `saga.key`: the business key.
    pub saga_key: String,
    /// `input`.
    pub input: Arc<Value>,
    /// `steps['name'].output`, for each step that is done.
    pub outputs: Vec<(String, Arc<Value>)>,
    /// `output`: in a compensation, the output of the step that is undone; null where its answer was lost.
    pub own_output: Option<Arc<Value>>,
    /// `response.status` and `response.body`: in a probe, the answer to be judged.
    pub response: Option<(u16, Arc<Value>)>,
}

/// One thing that a template reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `saga.id` or `saga.key`.
    SagaField,
    /// `input`, or a part of it.
    Input,
    /// `steps['name'].output`, or a part of it.
    StepOutput(String),
    /// `output`, or a part of it.
    OwnOutput,
    /// `response.status`, or `response.body` or a part of it.
    Response,
}

/// A reference and where it stands: a range of bytes in the source of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) reference: Reference,
    pub(crate) range: Range<usize>,
}

/// A template or an expression that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
    /// Where: a range of bytes in the source that was given.
    pub range: Range<usize>,
}

/// An expression that has no value in this scope, or one that cannot be used where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` cannot be rendered: {message}")]
pub struct RenderError {
    /// The expression as written, with its braces; the whole template where no single expression is to blame.
    pub expression: String,
    /// What is wrong with it, as one sentence without a full stop.
    pub message: String,
}

/// Text with any number of `{{ … }}` in it.
pub struct Template {
    source: String,
    parts: Vec<Part>,
    uses: Vec<Use>,
}

/// A stretch of a [`Template`].
enum Part {
    Text(String),
    Expression(Program),
}

/// One expression, alone between its braces: its value keeps its type.
pub struct Expression {
    source: String,
    program: Program,
    uses: Vec<Use>,
}

/// A JSON value whose strings may hold templates.
#[derive(Debug)]
pub enum Tree {
    /// A value without templates.
    Constant(Value),
    /// A string that is exactly one `{{ … }}`: it becomes the value, with its JSON type.
    Expression(Expression),
    /// Any other string with templates in it: it stays text.
    Text(Template),
    /// A list.
    List(Vec<Tree>),
    /// An object. Its keys are no templates.
    Map(Vec<(String, Tree)>),
}

impl Template {
    /// The template of nothing.
    #[must_use]
    pub fn empty() -> Template {
        Template { source: String::new(), parts: Vec::new(), uses: Vec::new() }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// The first thing in `source` that cannot be read.
    pub fn parse(source: &str) -> Result<Template, ExpressionError> {
        let mut parts = Vec::new();
        let mut uses = Vec::new();
        for piece in scan::split(source)? {
            match piece {
                scan::Piece::Text(range) => parts.push(Part::Text(source[range].to_owned())),
                scan::Piece::Expression(range) => {
                    let (program, found) = engine::compile(source, range)?;
                    uses.extend(found);
                    parts.push(Part::Expression(program));
                }
            }
        }
        Ok(Template { source: source.to_owned(), parts, uses })
    }

    /// The text that was read.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the template reads, in the order written; a thing that is read twice is there twice.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.uses.iter().map(|place| &place.reference)
    }

    /// Like [`Template::references`], with the places.
    pub(crate) fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// How many expressions the template has.
    pub(crate) fn expressions(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Expression(_))).count()
    }

    /// The stretches of the source that are text, as ranges.
    pub(crate) fn fixed_text(&self) -> Vec<Range<usize>> {
        let pieces = scan::split(&self.source).unwrap_or_default();
        let text = pieces.into_iter().filter_map(|piece| match piece {
            scan::Piece::Text(range) => Some(range),
            scan::Piece::Expression(_) => None,
        });
        text.collect()
    }

    /// Renders the template as text. Lists and maps become compact JSON.
    ///
    /// # Errors
    /// An expression is undefined or null, fails, or the text grows past [`OUTPUT_BYTES`].
    pub fn render_text(&self, scope: &Scope) -> Result<String, RenderError> {
        self.render_within(scope, &mut Budget::new(OUTPUT_BYTES))
    }

    fn render_within(&self, scope: &Scope, budget: &mut Budget) -> Result<String, RenderError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Expression(program) => {
                    let value = program.run(scope, budget)?;
                    text.push_str(&value::text(&value).map_err(|message| program.error(message))?);
                    if text.len() > OUTPUT_BYTES {
                        return Err(program.error(format!("the result is larger than {OUTPUT_BYTES} bytes")));
                    }
                }
            }
        }
        Ok(text)
    }

    /// Renders the template as the path and query of a request. Each value is percent-encoded, so whatever a caller
    /// puts into the input, the request goes to the endpoint that the definition names.
    ///
    /// # Errors
    /// As [`Template::render_text`]; also when a value is a list or a map, when it is empty in the path, when a
    /// segment comes out as `.` or `..`, and when the path is longer than [`PATH_BYTES`].
    pub fn render_path(&self, scope: &Scope) -> Result<String, RenderError> {
        path::render(self, scope)
    }
}

impl Expression {
    /// Reads a string that is exactly one `{{ … }}`.
    ///
    /// # Errors
    /// `source` is anything else, or what stands between the braces cannot be read.
    pub fn parse(source: &str) -> Result<Expression, ExpressionError> {
        let range = scan::only_expression(source)?.ok_or_else(|| ExpressionError {
            message: "this must be one expression".into(),
            remedy: "write the whole string as `{{ … }}`, with nothing before or after it".into(),
            range: 0..source.len(),
        })?;
        let (program, uses) = engine::compile(source, range)?;
        Ok(Expression { source: source.to_owned(), program, uses })
    }

    /// The text that was read, with its braces.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the expression reads and where, in the order written; a thing that is read twice is there twice.
    pub(crate) fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// The expression's value, with its JSON type.
    ///
    /// # Errors
    /// The value is undefined, is not JSON, is too large, or computing it fails.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, RenderError> {
        self.program.run(scope, &mut Budget::new(OUTPUT_BYTES))
    }

    /// Whether the expression is true.
    ///
    /// # Errors
    /// As [`Expression::evaluate`]; also when the value is no boolean: nothing else is taken for true or false.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, RenderError> {
        match self.evaluate(scope)? {
            Value::Bool(answer) => Ok(answer),
            other => Err(self.program.error(format!("it must be true or false, and is {}", value::describe(&other)))),
        }
    }
}

impl Tree {
    /// Reads a JSON value whose strings may hold templates.
    ///
    /// # Errors
    /// The first template that cannot be read; the error's range is within that string.
    pub fn parse(value: &Value) -> Result<Tree, ExpressionError> {
        Ok(match value {
            Value::String(text) => Tree::from_text(text)?,
            Value::Array(items) => Tree::List(items.iter().map(Tree::parse).collect::<Result<_, _>>()?),
            Value::Object(entries) => Tree::Map(
                entries.iter().map(|(key, item)| Ok((key.clone(), Tree::parse(item)?))).collect::<Result<_, _>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Tree::Constant(value.clone()),
        })
    }

    /// Reads one string of a tree.
    pub(crate) fn from_text(text: &str) -> Result<Tree, ExpressionError> {
        if scan::only_expression(text)?.is_some() {
            return Ok(Tree::Expression(Expression::parse(text)?));
        }
        let template = Template::parse(text)?;
        let fixed = template.parts.iter().all(|part| matches!(part, Part::Text(_)));
        Ok(if fixed { Tree::Constant(Value::String(text.to_owned())) } else { Tree::Text(template) })
    }

    /// Renders the tree as JSON.
    ///
    /// # Errors
    /// The first expression that cannot be rendered, or that makes the tree larger than [`OUTPUT_BYTES`].
    pub fn render(&self, scope: &Scope) -> Result<Value, RenderError> {
        self.render_within(scope, &mut Budget::new(OUTPUT_BYTES))
    }

    fn render_within(&self, scope: &Scope, budget: &mut Budget) -> Result<Value, RenderError> {
        Ok(match self {
            Tree::Constant(value) => value.clone(),
            Tree::Expression(expression) => expression.program.run(scope, budget)?,
            Tree::Text(template) => Value::String(template.render_within(scope, budget)?),
            Tree::List(items) => {
                Value::Array(items.iter().map(|item| item.render_within(scope, budget)).collect::<Result<_, _>>()?)
            }
            Tree::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), item.render_within(scope, budget)?)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}
