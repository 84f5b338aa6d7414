//! What can be undone and what may fail, and whether the order of the steps respects it.
//!
//! The point of no return is passed when the pivot has succeeded or a retriable step begins. So whatever may fail
//! must be sure to have succeeded before a retriable step begins, and whatever is to be undone in that case must be
//! sure to be done before the pivot begins. A sleep cannot fail and is free; a wait only fails by its timeout, which
//! past that point parks the saga and takes nothing back.

use super::graph::Graph;
use super::{Problem, codes};
use crate::definition::{Call, Effects, Kind, Method};
use crate::parse::{Draft, DraftStep, DraftWork, Undo};

/// Judges the steps one by one.
pub(super) fn judge_alone(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut pivots = draft.steps.iter().filter(|step| written_kind(step) == Some(Kind::Pivot));
    if let Some(first) = pivots.next() {
        for other in pivots {
            problems.push(Problem {
                code: codes::SEVERAL_PIVOTS,
                span: kind_span(other),
                message: format!("`{}` is a second pivot; a saga has one point of no return", other.name.value),
                remedy: "make the steps after the pivot `retriable`, and those before it `compensatable`".into(),
                related: vec![(kind_span(first), "the first pivot".into())],
            });
        }
    }
    for step in &draft.steps {
        never_runs(step, problems);
        without_probe(step, problems);
        message_at_most_once(step, problems);
    }
}

/// Judges each step by those that run before, beside and after it.
pub(super) fn judge_together(draft: &Draft, graph: &Graph, problems: &mut Vec<Problem>) {
    let pivots: Vec<usize> =
        (0..draft.steps.len()).filter(|step| written_kind(&draft.steps[*step]) == Some(Kind::Pivot)).collect();
    // With several pivots there is no telling which of them was meant.
    let pivot = match pivots.as_slice() {
        [pivot] => Some(*pivot),
        [] => None,
        [_, _, ..] => return,
    };
    let mut late = Vec::new();
    if let Some(pivot) = pivot {
        late = after_pivot(draft, graph, pivot, problems);
    }
    too_early(draft, graph, &late, problems);
    waits(draft, graph, pivot, problems);
    for step in 0..draft.steps.len() {
        cannot_be_undone(draft, graph, step, problems);
    }
}

fn message_at_most_once(step: &DraftStep, problems: &mut Vec<Problem>) {
    let Some(call) = step.call() else { return };
    if call.effects.value == Effects::AtMostOnce && call.action.as_ref().is_some_and(Call::is_message) {
        problems.push(Problem {
            code: codes::MESSAGE_AT_MOST_ONCE,
            span: call.effects.span.clone(),
            message: "a queue may deliver a message twice, so what is sent by one cannot be at most once".into(),
            remedy:
                "let whoever receives it tell by its idempotency key what was done already, and take `effects` away"
                    .into(),
            related: Vec::new(),
        });
    }
}

fn never_runs(step: &DraftStep, problems: &mut Vec<Problem>) {
    let (Some(kind), Some(call)) = (&step.kind, step.call()) else { return };
    let Undo::By(compensation) = &call.undo else { return };
    let message = match kind.value {
        Kind::Compensatable => return,
        Kind::Pivot => "this compensation never runs: once the pivot has succeeded, the saga only goes forward",
        Kind::Retriable => "this compensation never runs: a retriable step is repeated until it succeeds",
    };
    problems.push(Problem {
        code: codes::COMPENSATION_NEVER_RUNS,
        span: compensation.span.clone(),
        message: message.into(),
        remedy: "take it away, or make the step `compensatable`".into(),
        related: vec![(kind.span.clone(), format!("the step is {}", kind.value))],
    });
}

fn without_probe(step: &DraftStep, problems: &mut Vec<Problem>) {
    let Some(call) = step.call() else { return };
    if call.effects.value == Effects::AtMostOnce && call.probe.is_none() {
        problems.push(Problem {
            code: codes::AT_MOST_ONCE_WITHOUT_PROBE,
            span: call.effects.span.clone(),
            message: format!(
                "when an answer of `{}` is lost, nobody can find out whether it happened: the saga will wait for a person",
                step.name.value
            ),
            remedy: "add a `probe` that asks the participant, or let it honour the idempotency key".into(),
            related: Vec::new(),
        });
    }
}

/// Reports what may fail and is not sure to be done when the pivot begins. Returns those steps.
fn after_pivot(draft: &Draft, graph: &Graph, pivot: usize, problems: &mut Vec<Problem>) -> Vec<usize> {
    let late: Vec<usize> = (0..draft.steps.len())
        .filter(|step| may_fail(&draft.steps[*step]) && *step != pivot && !graph.is_before(*step, pivot))
        .collect();
    for step in &late {
        let step_draft = &draft.steps[*step];
        let (name, pivot_name) = (&step_draft.name.value, &draft.steps[pivot].name.value);
        let place = if graph.is_before(pivot, *step) { "after" } else { "beside" };
        problems.push(Problem {
            code: codes::COMPENSATABLE_AFTER_PIVOT,
            span: kind_span(step_draft),
            message: format!(
                "`{name}` may fail, but runs {place} the pivot `{pivot_name}`, when nothing can be undone"
            ),
            remedy: format!("let `{name}` run before `{pivot_name}`, or make it `kind: retriable`"),
            related: vec![(kind_span(&draft.steps[pivot]), "the pivot".into())],
        });
    }
    late
}

/// Reports retriable steps that may begin before all that may fail has succeeded. `reported` are the steps whose
/// place has been complained about already.
fn too_early(draft: &Draft, graph: &Graph, reported: &[usize], problems: &mut Vec<Problem>) {
    for step in 0..draft.steps.len() {
        if written_kind(&draft.steps[step]) != Some(Kind::Retriable) {
            continue;
        }
        let missing: Vec<usize> = (0..draft.steps.len())
            .filter(|other| !graph.is_before(*other, step) && !reported.contains(other))
            .filter(|other| may_fail(&draft.steps[*other]) || written_kind(&draft.steps[*other]) == Some(Kind::Pivot))
            .collect();
        if missing.is_empty() {
            continue;
        }
        let names: Vec<String> = missing.iter().map(|other| format!("`{}`", draft.steps[*other].name.value)).collect();
        let name = &draft.steps[step].name.value;
        problems.push(Problem {
            code: codes::RETRIABLE_TOO_EARLY,
            span: kind_span(&draft.steps[step]),
            message: format!(
                "`{name}` is retriable, so nothing is undone once it begins, but it may begin before {} has succeeded",
                names.join(", ")
            ),
            remedy: format!("add to the `after` of `{name}` what may still fail, or make `{name}` compensatable"),
            related: missing
                .iter()
                .map(|other| (draft.steps[*other].name.span.clone(), "this may still fail then".into()))
                .collect(),
        });
    }
}

fn waits(draft: &Draft, graph: &Graph, pivot: Option<usize>, problems: &mut Vec<Problem>) {
    for (index, step) in draft.steps.iter().enumerate() {
        if !matches!(step.work, Some(DraftWork::Wait { .. })) || step.kind.is_some() {
            continue;
        }
        let beside_pivot = pivot.is_some_and(|pivot| !graph.is_before(index, pivot));
        let beside_retriable = draft.steps.iter().enumerate().any(|(other, retriable)| {
            written_kind(retriable) == Some(Kind::Retriable) && !graph.is_before(index, other)
        });
        if beside_pivot || beside_retriable {
            problems.push(Problem {
                code: codes::WAIT_AFTER_PIVOT,
                span: step.name.span.clone(),
                message: format!(
                    "`{}` may still wait when nothing can be undone any more: its timeout will park the saga",
                    step.name.value
                ),
                remedy: "let it run before the pivot and the retriable steps, or say `kind: retriable` if a person is \
                         to look when it times out"
                    .into(),
                related: Vec::new(),
            });
        }
    }
}

fn cannot_be_undone(draft: &Draft, graph: &Graph, index: usize, problems: &mut Vec<Problem>) {
    let step = &draft.steps[index];
    let Some(call) = step.call() else { return };
    let changes = call.action.as_ref().is_some_and(|action| action.method != Method::Get);
    if !changes || !matches!(call.undo, Undo::Unsaid) || graph.kind(draft, index) != Kind::Compensatable {
        return;
    }
    let may_fail_later = (0..draft.steps.len()).filter(|other| *other != index && !graph.is_before(*other, index));
    let culprit = may_fail_later.map(|other| &draft.steps[other]).find(|other| {
        let waits = matches!(other.work, Some(DraftWork::Wait { .. }));
        may_fail(other) || waits || written_kind(other) == Some(Kind::Pivot)
    });
    let name = &step.name.value;
    let (message, related) = match culprit {
        Some(culprit) => (
            format!("when `{}` fails, nothing undoes what `{name}` has done", culprit.name.value),
            vec![(culprit.name.span.clone(), "this may fail".into())],
        ),
        // Where it is never sent twice, a lost answer is left to a person.
        None if call.effects.value == Effects::AtMostOnce => return,
        None => (format!("when the answer of `{name}` is lost, nothing undoes what it may have done"), Vec::new()),
    };
    problems.push(Problem {
        code: codes::CANNOT_BE_UNDONE,
        span: step.name.span.clone(),
        message,
        remedy: "add a `compensation`; write `compensation: none` if there is nothing to undo; or make it the \
                 `kind: pivot` and what follows `retriable`"
            .into(),
        related,
    });
}

/// Whether the step may fail in a way that the saga answers by compensating. Waits without a kind are judged on
/// their own.
fn may_fail(step: &DraftStep) -> bool {
    let kind = step.kind.as_ref().map(|kind| kind.value);
    match (&step.work, kind) {
        (Some(DraftWork::Call(_)) | None, None | Some(Kind::Compensatable)) => true,
        (Some(DraftWork::Wait { .. }), Some(Kind::Compensatable)) => true,
        (Some(DraftWork::Wait { .. }), None) => false,
        (Some(DraftWork::Sleep { .. }), _) | (_, Some(Kind::Pivot | Kind::Retriable)) => false,
    }
}

/// The kind that is written. That of a sleep is an error of its own.
fn written_kind(step: &DraftStep) -> Option<Kind> {
    match step.work {
        Some(DraftWork::Sleep { .. }) => None,
        Some(DraftWork::Call(_) | DraftWork::Wait { .. }) | None => step.kind.as_ref().map(|kind| kind.value),
    }
}

/// Where the step's kind is written; its name where it is not.
fn kind_span(step: &DraftStep) -> std::ops::Range<usize> {
    step.kind.as_ref().map_or_else(|| step.name.span.clone(), |kind| kind.span.clone())
}
