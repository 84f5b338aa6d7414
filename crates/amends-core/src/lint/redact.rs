//! Whether what is redacted is there.

use super::Problem;
use super::graph::unknown_step;
use crate::parse::Draft;

/// Judges every pointer into the output of a step.
pub(super) fn judge(draft: &Draft, problems: &mut Vec<Problem>) {
    for pointer in &draft.redact {
        let step = pointer.value.step().filter(|step| draft.steps.iter().all(|known| known.name.value != *step));
        problems.extend(step.map(|step| unknown_step(draft, step, pointer.span.clone())));
    }
}
