//! Every fault at every call of a few definitions: each action and each compensation is refused, loses its answer
//! before and after the effect, cannot be sent, and dies with its orchestrator. One helper plays them all, and says
//! how often the fault was met where it was meant to be.

use super::spec;
use super::world::{Move, World};
use crate::definition::{Definition, Effects, Kind, StepIndex, Work};
use crate::machine::{Direction, Phase, StepState};

const DEFINITIONS: &[&str] = &[
    // The shop's order: the last step is retried until it succeeds.
    "reserve charge(probe) ship confirm(retriable)",
    "a b(after=a) c(after=a) d(after=b+c)",
    "a b(after=a) c(after=a) d(after=b) e(after=c+d) f(after=e)",
    "a b(bare) c(after=a+b) p(pivot) d(retriable) e(retriable,after=p) f(retriable,after=d+e)",
    "a w(wait) b s(sleep=1s) c(retriable)",
    "deadline=30s a(once) b(once,probe) c(gone) p(pivot,once)",
    "a(tries=1) b(tries=1,probe) c(tries=1)",
];

/// What goes wrong with one call, once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Refused,
    NotSent,
    LostBeforeTheEffect,
    LostAfterTheEffect,
    CrashBeforeTheEffect,
    CrashAfterTheEffect,
}

const FAULTS: [Fault; 6] = [
    Fault::Refused,
    Fault::NotSent,
    Fault::LostBeforeTheEffect,
    Fault::LostAfterTheEffect,
    Fault::CrashBeforeTheEffect,
    Fault::CrashAfterTheEffect,
];

/// What happened.
struct Played {
    world: World,
    /// How often the fault was met.
    met: usize,
    /// How many moves it took.
    moves: usize,
}

/// Plays a saga to its end. `trigger` is a step that is refused, so that the saga turns back; `fault` is one call
/// that goes wrong; `crash_after` is a number of moves after which the orchestrator dies.
fn play(
    line: &str,
    trigger: Option<StepIndex>,
    fault: Option<(StepIndex, Direction, Fault)>,
    crash_after: Option<usize>,
) -> Played {
    let mut world = World::begin(line);
    let (mut met, mut triggered) = (0, false);
    for moves in 0.. {
        assert!(moves < 200, "{line}: it does not come to an end: {:#?}", world.stage.saga);
        if world.stage.saga.is_finished() {
            return Played { world, met, moves };
        }
        if crash_after == Some(moves) {
            world.crash(|_| 5);
        } else if let Some(step) = trigger.filter(|step| !triggered && is_at(&world, *step, Direction::Action)) {
            triggered = true;
            fail(&mut world, step);
        } else if let Some((step, direction, fault)) =
            fault.filter(|(step, direction, _)| met == 0 && is_at(&world, *step, *direction))
        {
            met += 1;
            inject(&mut world, step, direction, fault);
        } else {
            world.heal_once(moves);
        }
    }
    unreachable!("it returns when the saga is finished")
}

/// Whether this call is in flight; a wait is taken for an action.
fn is_at(world: &World, step: StepIndex, direction: Direction) -> bool {
    let waits = matches!(world.stage.saga.steps[step].state, StepState::Waiting { .. });
    world.stage.is_flying(step, direction) || (waits && direction == Direction::Action)
}

fn fail(world: &mut World, step: StepIndex) {
    if matches!(world.stage.saga.steps[step].state, StepState::Waiting { .. }) {
        world.make(Move::End { pick: 0, well: false });
    } else {
        inject(world, step, Direction::Action, Fault::Refused);
    }
}

/// Lets the call end badly. The numbers are those that [`World`] knows the outcome by.
fn inject(world: &mut World, step: StepIndex, direction: Direction, fault: Fault) {
    let pick = world.stage.flying.iter().position(|call| (call.step, call.direction) == (step, direction));
    let pick = u8::try_from(pick.expect("the call is in flight")).expect("there are few calls");
    let happens = matches!(fault, Fault::LostAfterTheEffect | Fault::CrashAfterTheEffect);
    let coin = if happens { 0 } else { 5 };
    let outcome = match (fault, direction) {
        (Fault::Refused, _) => 234,
        (Fault::NotSent, Direction::Action) => 205,
        (Fault::NotSent, Direction::Compensation | Direction::Probe) => 195,
        (Fault::LostBeforeTheEffect | Fault::LostAfterTheEffect, _) => 151,
        (Fault::CrashBeforeTheEffect | Fault::CrashAfterTheEffect, _) => {
            return world.crash(|_| coin);
        }
    };
    world.make(Move::Answer { pick, outcome, coin });
}

fn calls(definition: &Definition) -> Vec<StepIndex> {
    (0..definition.steps.len()).filter(|step| definition.steps[*step].call().is_some()).collect()
}

/// The steps whose failure turns the saga back.
fn triggers(definition: &Definition) -> Vec<StepIndex> {
    let turns = |step: &StepIndex| {
        definition.steps[*step].kind != Kind::Retriable && !matches!(definition.steps[*step].work, Work::Sleep { .. })
    };
    (0..definition.steps.len()).filter(turns).collect()
}

fn assert_ended(line: &str, played: &Played, completed: bool, what: &str) {
    let phase = &played.world.stage.saga.phase;
    let as_meant =
        if completed { matches!(phase, Phase::Completed { .. }) } else { matches!(phase, Phase::Compensated { .. }) };
    assert!(as_meant, "{line}: {what}: it ended as {phase:?}");
}

#[test]
fn all_goes_well() {
    for line in DEFINITIONS {
        assert_ended(line, &play(line, None, None, None), true, "all goes well");
    }
}

/// Whether a fault at an action is the end of the way forward. A step that parks is settled by a person who knows.
fn turns_back(definition: &Definition, step: StepIndex, fault: Fault) -> bool {
    let work = definition.steps[step].call().expect("it is a call");
    let (once, probe, single) = (work.effects == Effects::AtMostOnce, work.probe.is_some(), work.retry.attempts == 1);
    match fault {
        Fault::Refused => definition.steps[step].kind != Kind::Retriable,
        Fault::NotSent => single,
        Fault::LostBeforeTheEffect if once => probe,
        Fault::LostBeforeTheEffect => single,
        Fault::LostAfterTheEffect => single && !once && !probe,
        Fault::CrashBeforeTheEffect => once && probe,
        Fault::CrashAfterTheEffect => false,
    }
}

#[test]
fn every_fault_at_every_action() {
    let mut met = 0;
    for line in DEFINITIONS {
        let definition = spec::definition(line);
        for step in calls(&definition) {
            for fault in FAULTS {
                let what = format!("{fault:?} at the action of {}", definition.steps[step].name);
                let played = play(line, None, Some((step, Direction::Action, fault)), None);
                assert_eq!(played.met, 1, "{line}: {what} was not met");
                assert_ended(line, &played, !turns_back(&definition, step, fault), &what);
                met += played.met;
            }
        }
    }
    assert_eq!(met, FAULTS.len() * 31, "each of the actions met each of the faults");
}

#[test]
fn every_fault_at_every_compensation() {
    let mut met = 0;
    for line in DEFINITIONS {
        let definition = spec::definition(line);
        for trigger in triggers(&definition) {
            let undone = compensated(&play(line, Some(trigger), None, None));
            for step in calls(&definition) {
                for fault in FAULTS {
                    let what = format!(
                        "{fault:?} at the compensation of {}, after {} failed",
                        definition.steps[step].name, definition.steps[trigger].name
                    );
                    let played = play(line, Some(trigger), Some((step, Direction::Compensation, fault)), None);
                    assert_eq!(played.met, usize::from(undone.contains(&step)), "{line}: {what}");
                    assert_ended(line, &played, false, &what);
                    met += played.met;
                }
            }
        }
    }
    assert_eq!(met, FAULTS.len() * 41, "each of the compensations met each of the faults");
}

fn compensated(played: &Played) -> Vec<StepIndex> {
    let steps = played.world.stage.saga.steps.iter().enumerate();
    steps.filter(|(_, step)| step.state == StepState::Compensated).map(|(step, _)| step).collect()
}

/// A crash between any two moves changes nothing about the end; but where a step was in flight that may not be taken
/// for happened, nor sent again without a person, it is the person who decides.
#[test]
fn a_crash_at_every_moment() {
    let mut crashes = 0;
    for line in DEFINITIONS {
        let definition = spec::definition(line);
        for trigger in std::iter::once(None).chain(triggers(&definition).into_iter().map(Some)) {
            let moves = play(line, trigger, None, None).moves;
            for moment in 0..moves {
                let played = play(line, trigger, None, Some(moment));
                assert!(played.moves > moment, "{line}: it was over before the crash");
                let decides = |step: StepIndex| definition.steps[step].kind == Kind::Pivot;
                if !line.contains("once") && !trigger.is_some_and(decides) {
                    assert_ended(line, &played, trigger.is_none(), &format!("a crash after {moment} moves"));
                }
                crashes += 1;
            }
        }
    }
    assert!(crashes > 150, "only {crashes} crashes");
}
