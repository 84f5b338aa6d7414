//! What people may decide about a dead letter, and what they may not.

use super::decide::Draft;
use super::{Direction, Event, Operator, Phase, Refusal, Settlement};
use crate::definition::{Kind, StepIndex};

/// Carries out a person's decision about the dead letter with the number `letter`.
pub(super) fn settle(
    draft: &mut Draft<'_>,
    letter: u64,
    settlement: &Settlement,
    operator: &Operator,
) -> Result<(), Refusal> {
    draft.expect_unfinished()?;
    let found = draft.saga.dead().find(|(_, death)| death.letter == letter);
    let Some((step, death)) = found else {
        return Err(Refusal::Conflict("the dead letter was settled already: the saga has moved on".into()));
    };
    let direction = death.direction;
    check(draft, step, direction, settlement)?;
    let turns_back = *settlement == Settlement::Undone && direction != Direction::Compensation;
    draft.emit(Event::DeadLetterSettled { step, letter, settlement: settlement.clone(), operator: operator.clone() });
    if turns_back {
        let name = &draft.definition.steps[step].name;
        let reason = format!("{} says that step {name} had no effect: {}", operator.actor, operator.reason);
        draft.turn_back(reason, None);
    }
    Ok(())
}

/// Refuses what would break a promise, and says what to do instead.
fn check(draft: &Draft<'_>, step: StepIndex, direction: Direction, settlement: &Settlement) -> Result<(), Refusal> {
    let kind = draft.definition.steps[step].kind;
    let is_forward = draft.saga.phase == Phase::Forward;
    let why = match (settlement, direction) {
        (Settlement::Retry, Direction::Action) if !is_forward => {
            "the saga is being undone, so no action is sent any more: find out whether it happened and resolve it"
        }
        (Settlement::Retry | Settlement::Done { .. }, Direction::Compensation)
            if draft.definition.steps[step].compensation().is_none() =>
        {
            "the definition has no compensation for this step: undo it by hand and resolve it, or skip it"
        }
        (Settlement::Undone, Direction::Action | Direction::Probe) if is_forward && kind == Kind::Retriable => {
            "the saga can only go forward, so a step that did not happen is to be retried, or skipped"
        }
        (Settlement::Undone, Direction::Action | Direction::Probe) if is_forward && !may_turn_back(draft, step) => {
            "the saga is past its point of no return, so a step that did not happen is to be retried, or skipped"
        }
        (Settlement::Done { .. }, Direction::Compensation) => {
            "an effect that is still there is to be undone: retry the compensation, or skip it to leave the effect"
        }
        _ => return Ok(()),
    };
    Err(Refusal::Conflict(why.into()))
}

/// Whether the saga could turn back if this step had had no effect.
fn may_turn_back(draft: &Draft<'_>, step: StepIndex) -> bool {
    let mut supposed = draft.saga.clone();
    supposed.steps[step].state = super::StepState::Refused;
    supposed.can_turn_back(draft.definition)
}
