//! What each template reads, and whether it can be had there.

use super::graph::{Graph, unknown_step};
use super::{Problem, codes};
use crate::expression::{Reference, Use};
use crate::parse::{Draft, DraftStep, DraftWork, Role};
use std::ops::Range;

/// Judges every template. Without a graph it is not judged whether the steps that are read come before.
pub(super) fn judge(draft: &Draft, graph: Option<&Graph>, problems: &mut Vec<Problem>) {
    for site in &draft.sites {
        for place in &site.uses {
            if let Some(problem) = judge_use(draft, graph, site.role, place) {
                problems.push(problem);
            }
        }
    }
    constant_key(draft, problems);
    for (index, step) in draft.steps.iter().enumerate() {
        compensation_needs_output(draft, index, step, problems);
        probe_without_output(draft, index, step, problems);
    }
}

fn judge_use(draft: &Draft, graph: Option<&Graph>, role: Role, place: &Use) -> Option<Problem> {
    let out_of_scope = |message: &str, remedy: &str| {
        Some(Problem {
            code: codes::OUT_OF_SCOPE,
            span: place.range.clone(),
            message: message.into(),
            remedy: remedy.into(),
            related: Vec::new(),
        })
    };
    let step = match role {
        Role::Key | Role::Dedupe => {
            return match &place.reference {
                Reference::Input => None,
                Reference::SagaField | Reference::StepOutput(_) | Reference::OwnOutput | Reference::Response => {
                    out_of_scope(
                        "this is rendered before the saga exists, when there is nothing but its input",
                        "use a field of `input`",
                    )
                }
            };
        }
        Role::Action(step) | Role::Compensation(step) | Role::Question(step) | Role::Judgement(step) => step,
    };
    match (&place.reference, role) {
        (Reference::Input | Reference::SagaField, _) => None,
        (Reference::Response, Role::Judgement(_)) | (Reference::OwnOutput, Role::Compensation(_)) => None,
        (Reference::Response, Role::Question(_)) => out_of_scope(
            "the probe's answer is not there yet when the probe is sent",
            "`response` can be used in `happened` and `output`",
        ),
        (Reference::Response, _) => out_of_scope(
            "`response` is the answer to a probe and can only be used there",
            "to use what a step answered, write `steps['name'].output`",
        ),
        (Reference::OwnOutput, Role::Question(_) | Role::Judgement(_)) => out_of_scope(
            "a probe is sent because the step's output is not known",
            "use `response` in `happened` and `output`",
        ),
        (Reference::OwnOutput, _) => out_of_scope(
            "`output` is the output of the step that is undone and can only be used in a compensation",
            "to use what an earlier step answered, write `steps['name'].output`",
        ),
        (Reference::StepOutput(name), _) => judge_step_output(draft, graph, role, step, (name, &place.range)),
    }
}

fn judge_step_output(
    draft: &Draft,
    graph: Option<&Graph>,
    role: Role,
    step: usize,
    (name, span): (&str, &Range<usize>),
) -> Option<Problem> {
    let Some(read) = draft.steps.iter().position(|other| other.name.value == name) else {
        return Some(unknown_step(draft, name, span.clone()));
    };
    if matches!(draft.steps[read].work, Some(DraftWork::Sleep { .. })) {
        return Some(Problem {
            code: codes::SLEEP_HAS_NO_OUTPUT,
            span: span.clone(),
            message: format!("`{name}` sleeps: its output is always null"),
            remedy: "read the output of another step".into(),
            related: Vec::new(),
        });
    }
    let compensates = matches!(role, Role::Compensation(_));
    if read == step {
        return (!compensates).then(|| Problem {
            code: codes::STEP_NOT_BEFORE,
            span: span.clone(),
            message: format!("`{name}` cannot read its own output: it has none before it has run"),
            remedy: "use the input, or the output of an earlier step".into(),
            related: Vec::new(),
        });
    }
    if graph.is_none_or(|graph| graph.is_before(read, step)) {
        return None;
    }
    let reader = &draft.steps[step].name.value;
    Some(Problem {
        code: codes::STEP_NOT_BEFORE,
        span: span.clone(),
        message: format!("`{name}` may not have run when `{reader}` reads its output"),
        remedy: format!("let `{reader}` come after `{name}`"),
        related: vec![(draft.steps[read].name.span.clone(), "the step that is read".into())],
    })
}

fn constant_key(draft: &Draft, problems: &mut Vec<Problem>) {
    let Some(key) = &draft.key else { return };
    if key.value.references().next().is_none() {
        problems.push(Problem {
            code: codes::CONSTANT_KEY,
            span: key.span.clone(),
            message: "the business key is the same for every saga, so there can only ever be one".into(),
            remedy: "use a field of `input` that names the work, such as an order id".into(),
            related: Vec::new(),
        });
    }
}

/// A compensation that reads the output of its own action. When the answer was lost there is none, and that is when
/// compensations are needed most.
fn compensation_needs_output(draft: &Draft, index: usize, step: &DraftStep, problems: &mut Vec<Problem>) {
    let told_by_probe = probe_output(step) == Some(true);
    let own = |place: &&Use| match &place.reference {
        Reference::OwnOutput => true,
        Reference::StepOutput(name) => *name == step.name.value,
        Reference::Input | Reference::SagaField | Reference::Response => false,
    };
    let uses = draft.sites.iter().filter(|site| site.role == Role::Compensation(index)).flat_map(|site| &site.uses);
    if let (false, Some(place)) = (told_by_probe, uses.clone().find(own)) {
        problems.push(Problem {
            code: codes::COMPENSATION_NEEDS_OUTPUT,
            span: place.range.clone(),
            message: format!(
                "this compensation needs the output of `{}`, which is null when the action's answer was lost",
                step.name.value
            ),
            remedy: "name the effect by something from the input, such as an id that the caller chose; or add a \
                     `probe` with an `output`"
                .into(),
            related: Vec::new(),
        });
    }
}

/// A probe that finds out that an action happened, but not what it answered, although somebody reads that.
fn probe_without_output(draft: &Draft, index: usize, step: &DraftStep, problems: &mut Vec<Problem>) {
    let Some(probe) = step.call().and_then(|call| call.probe.as_ref()) else { return };
    if probe_output(step) != Some(false) {
        return;
    }
    let elsewhere =
        draft.sites.iter().filter(|site| site.role != Role::Compensation(index)).flat_map(|site| &site.uses);
    let mut readers =
        elsewhere.filter(|place| matches!(&place.reference, Reference::StepOutput(name) if *name == step.name.value));
    if let Some(place) = readers.next() {
        problems.push(Problem {
            code: codes::PROBE_WITHOUT_OUTPUT,
            span: probe.span.clone(),
            message: format!(
                "when this probe finds that `{}` happened, the output stays null, but it is read later",
                step.name.value
            ),
            remedy: "add `output:` to the probe and take the values from `response.body`".into(),
            related: vec![(place.range.clone(), "read here".into())],
        });
    }
}

/// Whether the step's probe says what the output is; none if there is no probe that could be read.
fn probe_output(step: &DraftStep) -> Option<bool> {
    let probe = step.call()?.probe.as_ref()?.value.as_ref()?;
    Some(probe.output.is_some())
}
