//! What people may decide about a dead letter, and what they may not.

use super::decide::Draft;
use super::{Claim, Death, Direction, Event, Operator, Phase, Refusal, Settlement};
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
    let death = death.clone();
    check(draft, step, &death, settlement)?;
    let name = &draft.definition.steps[step].name;
    let (actor, why) = (&operator.actor, &operator.reason);
    let reason = match settlement {
        Settlement::Undone if death.direction != Direction::Compensation => {
            Some(format!("{actor} says that step {name} had no effect: {why}"))
        }
        Settlement::TurnAround => Some(format!("turned around by {actor} at step {name}: {why}")),
        Settlement::Undone
        | Settlement::Retry
        | Settlement::Edit { .. }
        | Settlement::Done { .. }
        | Settlement::Skip => None,
    };
    draft.emit(Event::DeadLetterSettled { step, letter, settlement: settlement.clone(), operator: operator.clone() });
    if let Some(reason) = reason {
        draft.turn_back(reason, None);
    }
    Ok(())
}

/// Refuses what would break a promise, and says what to do instead.
fn check(draft: &Draft<'_>, step: StepIndex, death: &Death, settlement: &Settlement) -> Result<(), Refusal> {
    let direction = death.direction;
    let kind = draft.definition.steps[step].kind;
    let is_forward = draft.saga.phase == Phase::Forward;
    let why = match (settlement, direction) {
        (Settlement::Retry | Settlement::Edit { .. }, Direction::Action) if !is_forward => {
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
        (Settlement::Edit { .. }, _) => return check_edit(draft, step, death),
        (Settlement::TurnAround, _) if !is_forward => "the saga is being undone already",
        (Settlement::TurnAround, _) if !draft.saga.can_turn_back(draft.definition) => {
            "the saga is past its point of no return and can only go forward: retry the step, resolve it, or skip it"
        }
        _ => return Ok(()),
    };
    Err(Refusal::Conflict(why.into()))
}

/// An edited request goes under another key, so nothing keeps it from taking effect beside the one before it. That is safe only
/// where the one before it has no effect and can have none any more.
fn check_edit(draft: &Draft<'_>, step: StepIndex, death: &Death) -> Result<(), Refusal> {
    let action = draft.definition.steps[step].call().map(|work| &work.action);
    let why = match (death.direction, death.claim) {
        (Direction::Compensation, _) => {
            "only an action's request can be edited: retry the compensation, or undo the step by hand and resolve it"
        }
        (Direction::Action | Direction::Probe, Claim::Unknown | Claim::Done) => {
            "whether the step happened is not known, and under another key it could happen twice: find that out first, \
             and resolve it"
        }
        (Direction::Action | Direction::Probe, Claim::Undone) if draft.saga.steps[step].may_arrive => {
            "an earlier attempt was not answered and its request may still arrive, so under another key the step could \
             happen twice: retry it as it was, resolve it, or skip it"
        }
        (Direction::Action | Direction::Probe, Claim::Undone) if is_sent_and_not_believed(draft, step) => {
            "the step's message may be delivered again at any time, so under another key the step could happen twice: \
             retry it as it was, resolve it, or skip it"
        }
        (Direction::Action | Direction::Probe, Claim::Undone) if action.is_none_or(|action| action.body.is_none()) => {
            "the step's request has no body that could be edited"
        }
        (Direction::Action | Direction::Probe, Claim::Undone) => return Ok(()),
    };
    Err(Refusal::Conflict(why.into()))
}

/// Whether the step was sent by message, of which a *no* says nothing for good. It is believed where nothing could be undone: nobody
/// would ever know more.
fn is_sent_and_not_believed(draft: &Draft<'_>, step: StepIndex) -> bool {
    let written = &draft.definition.steps[step];
    let is_message = written.call().is_some_and(|work| work.action.is_message());
    is_message && draft.saga.steps[step].attempts > 0 && written.compensation().is_some()
}

/// Whether the saga could turn back if this step had had no effect.
fn may_turn_back(draft: &Draft<'_>, step: StepIndex) -> bool {
    let mut supposed = draft.saga.clone();
    supposed.steps[step].state = super::StepState::Refused;
    supposed.can_turn_back(draft.definition)
}
