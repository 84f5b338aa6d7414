//! Reads a definition like a compiler: where, what is wrong, how to mend it.
//!
//! [`check`] reports as many independent problems at once as it can. An *error* is something that cannot run or
//! cannot keep the promise that every effect is either wanted or undone; a *warning* is something that runs, and
//! that its author will regret in an incident. A definition with warnings is a definition.
//!
//! The checks look at the definition alone: no clock, no network and no configuration, except for the names of the
//! participants, which the caller may hand in.

pub mod codes;
mod graph;
mod kinds;
mod participants;
mod redact;
mod render;
mod scopes;
mod timing;

use crate::definition::Definition;
use crate::parse::{self, Draft};
use codes::Code;
use graph::Graph;
use serde::Serialize;
use std::ops::Range;

pub use codes::Severity;
pub use render::render;

/// The most problems that are reported at once: after so many it is better to mend some and look again.
pub const MAX_DIAGNOSTICS: usize = 100;

/// One problem in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the definition can be used all the same.
    pub severity: Severity,
    /// What kind of problem it is: a stable name out of [`codes::ALL`].
    pub code: &'static str,
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
    /// The offending token: a range of bytes in the source.
    #[serde(skip)]
    pub span: Range<usize>,
    /// The token's line, from 1.
    pub line: usize,
    /// The token's column in characters, from 1.
    pub column: usize,
    /// Other places that have to do with it, and what they are.
    #[serde(skip)]
    pub related: Vec<(Range<usize>, String)>,
}

/// What [`check`] found.
#[derive(Debug)]
pub struct Checked {
    /// The definition, unless there is an error.
    pub definition: Option<Definition>,
    /// All problems, in the order of their places; at most [`MAX_DIAGNOSTICS`].
    pub diagnostics: Vec<Diagnostic>,
}

/// A problem before its line and column are known.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: &'static Code,
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) remedy: String,
    pub(crate) related: Vec<(Range<usize>, String)>,
}

/// What a configuration has an address for.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The names of participants.
    pub participants: Vec<String>,
    /// The names of queues.
    pub queues: Vec<String>,
}

/// Reads and judges a definition in YAML or JSON. With `known` a participant or a queue that is not configured is an error.
#[must_use]
pub fn check(source: &str, known: Option<&Known>) -> Checked {
    let (draft, mut problems) = parse::read(source);
    if let Some(draft) = &draft {
        judge(draft, known, &mut problems);
    }
    let failed = problems.iter().any(|problem| problem.code.severity == Severity::Error);
    let definition = draft.filter(|_| !failed).and_then(|draft| {
        let graph = Graph::of(&draft, &mut Vec::new())?;
        build(draft, &graph)
    });
    Checked { definition, diagnostics: diagnose(source, problems) }
}

/// Reads a definition in YAML or JSON; warnings do not count.
///
/// # Errors
/// All errors that [`check`] reports.
pub fn compile(source: &str) -> Result<Definition, Vec<Diagnostic>> {
    let checked = check(source, None);
    checked
        .definition
        .ok_or_else(|| checked.diagnostics.into_iter().filter(|problem| problem.severity == Severity::Error).collect())
}

/// The candidate that `name` was probably meant to be: a mistyped letter in three is forgiven.
#[must_use]
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // The distance costs the product of the lengths, and nothing that long was meant to be a name.
    if name.len() > 2 * crate::limits::NAME_BYTES {
        return None;
    }
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

fn judge(draft: &Draft, known: Option<&Known>, problems: &mut Vec<Problem>) {
    if let Some(known) = known {
        participants::judge(draft, known, problems);
    }
    redact::judge(draft, problems);
    let graph = Graph::of(draft, problems);
    scopes::judge(draft, graph.as_ref(), problems);
    kinds::judge_alone(draft, problems);
    if let Some(graph) = &graph {
        kinds::judge_together(draft, graph, problems);
        timing::judge(draft, graph, problems);
    }
}

/// A draft without errors as a definition. None would mean that an error went unreported; the tests on generated
/// definitions hold that it does not happen.
fn build(draft: Draft, graph: &Graph) -> Option<Definition> {
    let kinds: Vec<_> = (0..draft.steps.len()).map(|step| graph.kind(&draft, step)).collect();
    let steps = draft.steps.into_iter().zip(kinds).enumerate();
    Some(Definition {
        name: draft.name?,
        version: draft.version,
        key: draft.key?.value,
        deadline_ms: draft.deadline.map(|deadline| deadline.value),
        dedupe: draft.dedupe,
        redact: draft.redact.into_iter().map(|pointer| pointer.value).collect(),
        steps: steps
            .map(|(index, (step, kind))| {
                Some(crate::definition::Step {
                    name: step.name.value,
                    kind,
                    after: graph.after(index),
                    before: graph.before(index),
                    work: step.work?.finish()?,
                })
            })
            .collect::<Option<Vec<_>>>()?,
    })
}

/// Puts the problems in the order of their places and finds lines and columns in one pass over the source.
pub(crate) fn diagnose(source: &str, mut problems: Vec<Problem>) -> Vec<Diagnostic> {
    let place = |problem: &Problem| (problem.span.start, problem.span.end, problem.code.name);
    problems.sort_by_key(place);
    problems.dedup_by(|a, b| a.code == b.code && a.span == b.span && a.message == b.message);
    // The errors must not be lost among the warnings.
    problems.sort_by_key(|problem| problem.code.severity);
    problems.truncate(MAX_DIAGNOSTICS);
    problems.sort_by_key(place);
    let (mut at, mut line, mut line_start) = (0, 1, 0);
    let mut diagnostics = Vec::with_capacity(problems.len());
    for problem in problems {
        let start = floor_char(source, problem.span.start);
        for (index, _) in source[at..start].match_indices('\n') {
            line += 1;
            line_start = at + index + 1;
        }
        at = start;
        diagnostics.push(Diagnostic {
            severity: problem.code.severity,
            code: problem.code.name,
            message: problem.message,
            remedy: problem.remedy,
            span: start..floor_char(source, problem.span.end).max(start),
            line,
            column: source[line_start..start].chars().count() + 1,
            related: problem.related,
        });
    }
    diagnostics
}

fn floor_char(source: &str, index: usize) -> usize {
    (0..=index.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}
