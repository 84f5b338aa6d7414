//! Renders a template as the path and query of a request, so that no value can change which endpoint is called.

use super::value::{self, Budget};
use super::{OUTPUT_BYTES, PATH_BYTES, Part, RenderError, Scope, Template};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::ops::Range;

/// Everything but the unreserved characters of RFC 3986, section 2.3: safe in a segment and in a query alike.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn render(template: &Template, scope: &Scope) -> Result<String, RenderError> {
    let mut budget = Budget::new(OUTPUT_BYTES);
    let mut path = String::new();
    for part in &template.parts {
        match part {
            Part::Text(fixed) => path.push_str(fixed),
            Part::Expression(program) => {
                let in_query = path.contains('?');
                let value = program.run(scope, &mut budget)?;
                let text = component(&value, in_query).map_err(|message| program.error(message))?;
                path.extend(utf8_percent_encode(&text, ENCODED));
            }
        }
        if path.len() > PATH_BYTES {
            return Err(error(template, format!("the path is longer than {PATH_BYTES} bytes")));
        }
    }
    if let Some(segment) = dot_segment(&path) {
        return Err(error(
            template,
            format!(
                "the segment `{}` would lead to another endpoint; a value must not come out as `.` or `..`",
                &path[segment]
            ),
        ));
    }
    Ok(path)
}

/// The text of one value. An empty segment is refused because it, too, names another endpoint: `/orders/` is not an
/// order.
fn component(value: &Value, in_query: bool) -> Result<String, String> {
    match value {
        Value::Array(_) | Value::Object(_) => {
            Err(format!("it is {}, and a path takes only text, numbers and booleans", value::describe(value)))
        }
        Value::String(text) if text.is_empty() && !in_query => {
            Err("it is empty, and a path with an empty segment would lead to another endpoint".into())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value::text(value),
    }
}

/// The place of the first segment of the path that URL parsers resolve as a step: `.` or `..`, also with `%2e`.
pub(crate) fn dot_segment(path: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for segment in path.split('?').next().unwrap_or(path).split('/') {
        let end = start + segment.len();
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        if plain == "." || plain == ".." {
            return Some(start..end);
        }
        start = end + 1;
    }
    None
}

fn error(template: &Template, message: String) -> RenderError {
    RenderError { expression: template.source.clone(), message }
}
