//! Finds the expressions in a string, before anything reads what stands in them.

#[cfg(test)]
mod tests;

use super::ExpressionError;
use std::ops::Range;

/// A stretch of a template's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it stands.
    Text(Range<usize>),
    /// What stands between `{{` and `}}`.
    Expression(Range<usize>),
}

/// Splits a template's source. Text without expressions is one piece; an empty source is none.
pub(super) fn split(source: &str) -> Result<Vec<Piece>, ExpressionError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(brace) = find_opening(source, at)? {
        if brace > at {
            pieces.push(Piece::Text(at..brace));
        }
        let inner = expression_from(source, brace)?;
        at = inner.end + 2;
        pieces.push(Piece::Expression(inner));
    }
    if at < source.len() {
        pieces.push(Piece::Text(at..source.len()));
    }
    Ok(pieces)
}

/// The inside of the braces, if the source is exactly one expression.
pub(super) fn only_expression(source: &str) -> Result<Option<Range<usize>>, ExpressionError> {
    if !source.starts_with("{{") {
        return Ok(None);
    }
    let inner = expression_from(source, 0)?;
    Ok((inner.end + 2 == source.len()).then_some(inner))
}

/// The place of the next `{{`. Statements and comments would pass for text, so they are refused here.
fn find_opening(source: &str, from: usize) -> Result<Option<usize>, ExpressionError> {
    let mut at = from;
    while let Some(found) = source[at..].find('{') {
        let brace = at + found;
        match source.as_bytes().get(brace + 1) {
            Some(b'{') => return Ok(Some(brace)),
            Some(mark @ (b'%' | b'#')) => {
                let (what, mark) = if *mark == b'%' { ("statements", "{%") } else { ("comments", "{#") };
                return Err(ExpressionError {
                    message: format!("`{mark}` is not understood: templates have expressions, but no {what}"),
                    remedy: format!("use a conditional expression, or write `{{{{ '{mark}' }}}}` for the text itself"),
                    range: brace..brace + 2,
                });
            }
            Some(_) | None => at = brace + 1,
        }
    }
    Ok(None)
}

/// The inside of the expression whose `{{` stands at `open`. Quotes and brackets are followed, so a `}}` within a
/// string or one that closes two maps does not end it.
fn expression_from(source: &str, open: usize) -> Result<Range<usize>, ExpressionError> {
    let start = open + 2;
    if source[start..].starts_with(['-', '+']) {
        return Err(ExpressionError {
            message: "there is no whitespace control in expressions".into(),
            remedy: "write `{{ … }}`; put a space before the minus if it is meant as a sign".into(),
            range: open..start + 1,
        });
    }
    let bytes = source.as_bytes();
    let mut closers = Vec::new();
    let mut quote = None;
    let mut at = start;
    while at < bytes.len() {
        let byte = bytes[at];
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(mark), _) if mark == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => closers.push(b')'),
            (None, b'[') => closers.push(b']'),
            (None, b'{') => closers.push(b'}'),
            (None, _) if closers.last() == Some(&byte) => {
                closers.pop();
            }
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Ok(start..at),
            (None, _) => {}
        }
        at += 1;
    }
    Err(ExpressionError {
        message: "this `{{` is never closed".into(),
        remedy: match quote {
            Some(mark) => format!("close the string with {} and the expression with `}}}}`", char::from(mark)),
            None => "close the expression with `}}`, or write `{{ '{{' }}` for the text itself".into(),
        },
        range: open..start,
    })
}
