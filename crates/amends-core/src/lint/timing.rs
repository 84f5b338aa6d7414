//! Whether the times that a definition gives can be true together.
//!
//! The deadline turns a saga around only before the point of no return, so only what runs before it is compared.

use super::graph::Graph;
use super::{Problem, codes};
use crate::definition::Kind;
use crate::parse::{Draft, DraftStep, DraftWork};
use crate::time::format_duration;

pub(super) fn judge(draft: &Draft, graph: &Graph, problems: &mut Vec<Problem>) {
    let Some(deadline) = draft.deadline.as_ref().map(|deadline| deadline.value) else { return };
    for (index, step) in draft.steps.iter().enumerate() {
        let under_deadline = !graph.is_past_return(draft, index) && graph.kind(draft, index) != Kind::Retriable;
        if under_deadline {
            timeout_over_deadline(step, deadline, problems);
        }
    }
    sleeps_over_deadline(draft, graph, deadline, problems);
    deadline_over_pivot(draft, graph, problems);
}

fn timeout_over_deadline(step: &DraftStep, deadline: u64, problems: &mut Vec<Problem>) {
    let (timeout, span) = match &step.work {
        Some(DraftWork::Call(call)) => match (&call.action, &call.timeout_span) {
            (Some(action), Some(span)) => (action.timeout_ms, span),
            (_, _) => return,
        },
        Some(DraftWork::Wait { timeout: Some(timeout) }) => (timeout.value, &timeout.span),
        Some(DraftWork::Wait { timeout: None } | DraftWork::Sleep { .. }) | None => return,
    };
    if timeout > deadline {
        problems.push(Problem {
            code: codes::TIMEOUT_OVER_DEADLINE,
            span: span.clone(),
            message: format!(
                "`{}` may take {}, but the saga turns around after {}",
                step.name.value,
                format_duration(timeout),
                format_duration(deadline)
            ),
            remedy: "shorten the timeout, or lengthen the deadline".into(),
            related: Vec::new(),
        });
    }
}

fn sleeps_over_deadline(draft: &Draft, graph: &Graph, deadline: u64, problems: &mut Vec<Problem>) {
    // What a step waits for before the point of no return is before it, too, so no sleep counts that is past it.
    let slept = graph.longest(|index| match &draft.steps[index].work {
        Some(DraftWork::Sleep { duration: Some(duration) }) => duration.value,
        Some(DraftWork::Sleep { .. } | DraftWork::Call(_) | DraftWork::Wait { .. }) | None => 0,
    });
    for (index, step) in draft.steps.iter().enumerate() {
        let Some(DraftWork::Sleep { duration: Some(duration) }) = &step.work else { continue };
        let before = slept[index].saturating_sub(duration.value);
        // Only the sleep that goes past the deadline is reported, not all that come after it.
        if slept[index] < deadline || before >= deadline || graph.is_past_return(draft, index) {
            continue;
        }
        problems.push(Problem {
            code: codes::SLEEPS_OVER_DEADLINE,
            span: duration.span.clone(),
            message: format!(
                "the saga sleeps for {} up to here, but it turns around after {}: it can never complete",
                format_duration(slept[index]),
                format_duration(deadline)
            ),
            remedy: "sleep less, or lengthen the deadline".into(),
            related: Vec::new(),
        });
    }
}

/// A deadline that passes while the pivot runs cannot turn the saga around: whether the pivot happened is not known
/// yet, and it cannot be undone.
fn deadline_over_pivot(draft: &Draft, graph: &Graph, problems: &mut Vec<Problem>) {
    let Some(deadline) = &draft.deadline else { return };
    let pivot = draft.steps.iter().position(|step| step.kind.as_ref().is_some_and(|kind| kind.value == Kind::Pivot));
    let Some(pivot) = pivot else { return };
    let longest = graph.longest(|index| worst_ms(&draft.steps[index]))[pivot];
    if longest <= deadline.value {
        return;
    }
    let step = &draft.steps[pivot];
    let span = step.kind.as_ref().map_or_else(|| step.name.span.clone(), |kind| kind.span.clone());
    problems.push(Problem {
        code: codes::DEADLINE_OVER_PIVOT,
        span: deadline.span.clone(),
        message: format!(
            "the deadline, {}, can pass while the pivot `{}` runs, which may take until {} after the start; it does \
             not turn the saga around then",
            format_duration(deadline.value),
            step.name.value,
            format_duration(longest)
        ),
        remedy: "shorten `retry.total` and the timeouts up to the pivot, or lengthen the deadline; past the pivot a \
                 deadline means nothing"
            .into(),
        related: vec![(span, "the pivot".into())],
    });
}

/// The longest that a step may take by its own limits, in milliseconds. The last attempt may begin just before the
/// total has passed.
fn worst_ms(step: &DraftStep) -> u64 {
    match &step.work {
        Some(DraftWork::Call(call)) => {
            let action = match (&call.action, &call.retry) {
                (Some(action), Some(retry)) => retry.total_ms.saturating_add(action.timeout_ms),
                (_, _) => 0,
            };
            let probe = call.probe.as_ref().and_then(|probe| probe.value.as_ref());
            let probe = probe.map_or(0, |probe| probe.retry.total_ms.saturating_add(probe.call.timeout_ms));
            action.saturating_add(probe)
        }
        Some(DraftWork::Wait { timeout }) => timeout.as_ref().map_or(0, |timeout| timeout.value),
        Some(DraftWork::Sleep { duration }) => duration.as_ref().map_or(0, |duration| duration.value),
        None => 0,
    }
}
