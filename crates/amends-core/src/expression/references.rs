//! Walks the syntax tree of an expression: what it reads, and whether all it uses is part of the language.

use super::engine::{FILTERS, TESTS, syntax_error, within};
use super::{ExpressionError, Reference, Use};
use crate::lint::nearest;
use minijinja::machinery::ast::{CallArg, Expr};
use minijinja::machinery::{Span, parse_expr};
use std::ops::Range;

const ROOTS: &[&str] = &["input", "output", "response", "saga", "steps"];

/// What the expression reads, in the order written.
///
/// The ranges are within `source`.
pub(super) fn check(source: &str) -> Result<Vec<Use>, ExpressionError> {
    let tree = parse_expr(source).map_err(|error| syntax_error(&error, source))?;
    let mut walk = Walk { source, uses: Vec::new() };
    walk.expression(&tree)?;
    Ok(walk.uses)
}

/// The names on the way from a variable to what the expression reads, where it does nothing but read it:
/// `input.order.id`, `steps['charge'].output`.
pub(super) fn plain(source: &str) -> Option<Vec<String>> {
    names(&parse_expr(source).ok()?)
}

fn names(expression: &Expr<'_>) -> Option<Vec<String>> {
    let (parent, name) = match expression {
        Expr::Var(root) => return Some(vec![root.id.to_owned()]),
        Expr::GetAttr(access) => (&access.expr, access.name),
        Expr::GetItem(access) => (&access.expr, text_constant(&access.subscript_expr)?),
        _ => return None,
    };
    let mut path = names(parent)?;
    path.push(name.to_owned());
    Some(path)
}

struct Walk<'s> {
    source: &'s str,
    uses: Vec<Use>,
}

impl Walk<'_> {
    fn expression(&mut self, expression: &Expr<'_>) -> Result<(), ExpressionError> {
        match expression {
            Expr::Const(_) => Ok(()),
            Expr::Var(variable) => self.root(variable.id, variable.span()),
            Expr::GetAttr(access) => self.access(expression, &access.expr, Some(access.name)),
            Expr::GetItem(access) => {
                self.access(expression, &access.expr, text_constant(&access.subscript_expr))?;
                self.expression(&access.subscript_expr)
            }
            Expr::Slice(slice) => {
                self.expression(&slice.expr)?;
                self.optional([&slice.start, &slice.stop, &slice.step])
            }
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => self.all([&operation.left, &operation.right]),
            Expr::Compare(chain) => {
                self.expression(&chain.expr)?;
                self.all(chain.ops.iter().map(|operation| &operation.expr))
            }
            Expr::IfExpr(choice) => {
                self.all([&choice.true_expr, &choice.test_expr])?;
                self.optional([&choice.false_expr])
            }
            Expr::Filter(filter) => {
                self.optional([&filter.expr])?;
                self.known("filter", filter.name, FILTERS, filter.span())?;
                self.arguments(&filter.args)
            }
            Expr::Test(test) => {
                self.expression(&test.expr)?;
                self.known("test", test.name, TESTS, test.span())?;
                self.arguments(&test.args)
            }
            Expr::Call(call) => Err(self.error(
                call.span(),
                "expressions cannot call functions or methods".into(),
                "use a filter, such as `{{ input.lines | length }}`".into(),
            )),
            Expr::List(list) => self.all(&list.items),
            Expr::Tuple(tuple) => self.all(&tuple.items),
            Expr::Map(map) => self.all(map.keys.iter().chain(&map.values)),
        }
    }

    /// `parent.name` or `parent['name']`. `name` is none where it is computed.
    fn access(&mut self, whole: &Expr<'_>, parent: &Expr<'_>, name: Option<&str>) -> Result<(), ExpressionError> {
        if let Some((step, span)) = step_access(parent) {
            return match name {
                Some("output") => {
                    self.found(Reference::StepOutput(step.to_owned()), from(span, whole.span()));
                    Ok(())
                }
                Some(_) | None => Err(self.only_output(step, span)),
            };
        }
        if let Some((step, span)) = step_access(whole) {
            return Err(self.only_output(step, span));
        }
        let Expr::Var(root) = parent else { return self.expression(parent) };
        match (root.id, name) {
            ("saga", Some("id" | "key")) => self.found(Reference::SagaField, whole.span()),
            ("response", Some("status" | "body")) => self.found(Reference::Response, whole.span()),
            ("saga" | "response" | "steps", _) => return self.root(root.id, whole.span()),
            (_, _) => return self.expression(parent),
        }
        Ok(())
    }

    /// A variable that stands alone.
    fn root(&mut self, name: &str, span: Span) -> Result<(), ExpressionError> {
        let (message, remedy) = match name {
            "input" => {
                self.found(Reference::Input, span);
                return Ok(());
            }
            "output" => {
                self.found(Reference::OwnOutput, span);
                return Ok(());
            }
            "saga" => ("`saga` has the fields `id` and `key` and nothing else", "write `saga.id` or `saga.key`".into()),
            "response" => (
                "`response` has the fields `status` and `body` and nothing else",
                "write `response.status` or `response.body`".into(),
            ),
            "steps" => (
                "the step must be named in the expression, so that what it reads is known before a saga runs",
                "write `steps['name'].output` with the step's name".into(),
            ),
            unknown => {
                return Err(self.error(
                    span,
                    format!("there is no variable `{unknown}`"),
                    match nearest(unknown, ROOTS.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "there are `input`, `steps['name'].output`, `saga.id` and `saga.key`; `output` in a \
                                 compensation, and `response` in a probe; text needs quotes"
                            .into(),
                    },
                ));
            }
        };
        Err(self.error(span, message.into(), remedy))
    }

    fn only_output(&self, step: &str, span: Span) -> ExpressionError {
        self.error(
            span,
            format!("of the step `{step}` an expression can read `output` and nothing else"),
            format!("write `steps['{step}'].output`"),
        )
    }

    fn known(&self, what: &str, name: &str, known: &[&str], span: Span) -> Result<(), ExpressionError> {
        if known.contains(&name) {
            return Ok(());
        }
        let remedy = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", known.join(", ")),
        };
        Err(self.error(span, format!("there is no {what} `{name}`"), remedy))
    }

    fn all<'e, 'a: 'e>(&mut self, items: impl IntoIterator<Item = &'e Expr<'a>>) -> Result<(), ExpressionError> {
        items.into_iter().try_for_each(|item| self.expression(item))
    }

    fn optional<'e, 'a: 'e>(
        &mut self,
        items: impl IntoIterator<Item = &'e Option<Expr<'a>>>,
    ) -> Result<(), ExpressionError> {
        items.into_iter().flatten().try_for_each(|item| self.expression(item))
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) -> Result<(), ExpressionError> {
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(item) | CallArg::Kwarg(_, item) | CallArg::PosSplat(item) | CallArg::KwargSplat(item) => {
                self.expression(item)
            }
        })
    }

    fn found(&mut self, reference: Reference, span: Span) {
        let range = self.range(span);
        self.uses.push(Use { reference, range });
    }

    fn error(&self, span: Span, message: String, remedy: String) -> ExpressionError {
        ExpressionError { message, remedy, range: self.range(span) }
    }

    /// The engine's span as a range of this source. The engine counts in 32 bits and we in the length of an
    /// expression, so only a span that is not in the source at all falls back to the whole.
    fn range(&self, span: Span) -> Range<usize> {
        within(self.source, span.start_offset as usize..span.end_offset as usize)
    }
}

/// `steps.name` and `steps['name']`, with the name.
fn step_access<'e>(expression: &'e Expr<'_>) -> Option<(&'e str, Span)> {
    let (parent, name) = match expression {
        Expr::GetAttr(access) => (&access.expr, access.name),
        Expr::GetItem(access) => (&access.expr, text_constant(&access.subscript_expr)?),
        _ => return None,
    };
    match parent {
        Expr::Var(root) if root.id == "steps" => Some((name, from(root.span(), expression.span()))),
        _ => None,
    }
}

/// From the beginning of one span to the end of another: the engine's span of `a.b.c` begins at `.b`. Lines and columns
/// are left as they are: nothing here reads them.
fn from(start: Span, end: Span) -> Span {
    Span { start_offset: start.start_offset, ..end }
}

fn text_constant<'e>(expression: &'e Expr<'_>) -> Option<&'e str> {
    match expression {
        Expr::Const(constant) => constant.value.as_str(),
        _ => None,
    }
}
