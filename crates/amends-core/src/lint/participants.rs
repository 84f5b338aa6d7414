//! Whether the participants that are named exist in the configuration.

use super::{Problem, codes, nearest};
use crate::parse::Draft;

pub(super) fn judge(draft: &Draft, known: &[String], problems: &mut Vec<Problem>) {
    for named in draft.participants.iter().filter(|named| !known.contains(&named.value)) {
        problems.push(Problem {
            code: codes::UNKNOWN_PARTICIPANT,
            span: named.span.clone(),
            message: format!("no participant `{}` is configured", named.value),
            remedy: match nearest(&named.value, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add `[participants.{}]` to the server's configuration", named.value),
            },
            related: Vec::new(),
        });
    }
}
