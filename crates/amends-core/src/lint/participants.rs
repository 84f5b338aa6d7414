//! Whether the participants and queues that are named exist in the configuration.

use super::{Code, Known, Problem, codes, nearest};
use crate::parse::{Draft, Located};

pub(super) fn judge(draft: &Draft, known: &Known, problems: &mut Vec<Problem>) {
    let participants = (codes::UNKNOWN_PARTICIPANT, "participant");
    problems.extend(unknown(&draft.participants, &known.participants, participants));
    problems.extend(unknown(&draft.queues, &known.queues, (codes::UNKNOWN_QUEUE, "queue")));
}

/// A problem for each name that is not known.
fn unknown<'a>(
    named: &'a [Located<String>],
    known: &'a [String],
    (code, what): (&'static Code, &'a str),
) -> impl Iterator<Item = Problem> + 'a {
    named.iter().filter(|named| !known.contains(&named.value)).map(move |named| Problem {
        code,
        span: named.span.clone(),
        message: format!("no {what} `{}` is configured", named.value),
        remedy: match nearest(&named.value, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add `[{what}s.{}]` to the server's configuration", named.value),
        },
        related: Vec::new(),
    })
}
