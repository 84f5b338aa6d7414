//! Text into a tree, whichever of the two notations it is in.

use super::tree::{Node, Value};
use super::{json, yaml};
use crate::limits;
use crate::lint::{Problem, codes};

/// Reads the one document in `source`. None means that there is a problem that nothing can be read around.
pub(super) fn read(source: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    if source.len() > limits::DEFINITION_BYTES {
        problems.push(Problem {
            code: codes::TOO_LARGE,
            span: 0..source.lines().next().unwrap_or_default().len(),
            message: format!(
                "the definition is {} bytes long; at most {} are read",
                source.len(),
                limits::DEFINITION_BYTES
            ),
            remedy: "split the saga, or move large constants into the input".into(),
            related: Vec::new(),
        });
        return None;
    }
    // Nearly all JSON is YAML, but not all of it: surrogate pairs in escapes and tabs before a token are not.
    let tree = match json::read(source, problems) {
        json::Attempt::Read(tree) => tree,
        json::Attempt::NotJson => yaml::read(source, problems)?,
    };
    if matches!(tree.value, Value::Null) {
        problems.push(Problem {
            code: codes::EMPTY,
            span: tree.span,
            message: "the definition is empty".into(),
            remedy: "begin with `saga: name`, a `key` and the `steps`".into(),
            related: Vec::new(),
        });
        return None;
    }
    Some(tree)
}

/// Reports a value that stands deeper than any input or output may be nested.
pub(super) fn too_deep(at: usize, problems: &mut Vec<Problem>) {
    problems.push(Problem {
        code: codes::TOO_DEEP,
        span: at..at + 1,
        message: format!("the definition is nested more than {} deep", limits::JSON_DEPTH),
        remedy: "flatten this value".into(),
        related: Vec::new(),
    });
}

/// Reports a number that cannot be kept as it was written.
pub(super) fn unfit(why: &super::scalar::Unfit, span: std::ops::Range<usize>, problems: &mut Vec<Problem>) {
    let message = match why {
        super::scalar::Unfit::TooLong => "this whole number does not fit in 64 bits",
        super::scalar::Unfit::NotFinite => "this is not a finite number, and JSON has no other",
    };
    problems.push(Problem {
        code: codes::BAD_NUMBER,
        span,
        message: message.into(),
        remedy: "put it in quotes to send it as text".into(),
        related: Vec::new(),
    });
}
