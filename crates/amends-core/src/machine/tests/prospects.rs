//! What would follow if every call went well.

use super::script::play;
use super::stage::{Stage, operator};
use crate::machine::{Command, Direction, Moment, Prospect, Refusal, Settlement, Status, decide, foresee};

fn settle(stage: &Stage, settlement: Settlement) -> Command {
    let letter = stage.saga.dead().next().expect("there is a dead letter").1.letter;
    Command::Settle { letter, settlement, operator: operator(), seen: None }
}

fn of(stage: &Stage, command: &Command) -> Result<Prospect, Refusal> {
    foresee(&stage.definition, &stage.saga, command, Moment { now: stage.now, chance: 1 })
}

/// The calls in order, the status at once and the status at last.
fn told(stage: &Stage, prospect: &Prospect) -> String {
    let calls = prospect.calls.iter().map(|call| {
        let mark = if call.direction == Direction::Compensation { '<' } else { '!' };
        format!("{}{mark}{}", stage.definition.steps[call.step].name, call.attempt)
    });
    let calls: Vec<String> = calls.collect();
    format!("{} | {}, {}", calls.join(" "), prospect.at_once.status().as_str(), prospect.at_last.status().as_str())
}

#[test]
fn the_way_back_is_foreseen_to_its_end_and_the_way_forward_to_its_next_calls() {
    #[rustfmt::skip]
    let rows = [
        ("a b c(once)", "a=200 b=200 c=lost", Settlement::TurnAround, "c<1 b<1 a<1 | compensating, compensated"),
        ("a b c(once)", "a=200 b=200 c=lost", Settlement::Undone, "b<1 a<1 | compensating, compensated"),
        ("a b(unsaid) c(once)", "a=200 b=200 c=lost", Settlement::TurnAround, "c<1 | compensating, stuck"),
        ("a b(once) c d", "a=200 b=lost", Settlement::Skip, "c!1 | running, running"),
        ("a b(retriable) c(retriable)", "a=200 b=422", Settlement::Retry, "b!2 | running, running"),
        ("a b(once)", "a=200 b=lost pause", Settlement::TurnAround, " | compensating, compensating"),
        ("a b", "a=200 b=422 a=403", Settlement::Retry, "a<2 | compensating, compensated"),
        ("a b", "a=200 b=422 a=403", Settlement::Skip, " | compensated, compensated"),
        ("m(sent) b(once)", "m=done b=lost", Settlement::TurnAround, "b<1 m<1 | compensating, compensated"),
        ("m(sent) n(sent) c(once)", "m=done n=done c=lost", Settlement::Undone, "n<1 m<1 | compensating, compensated"),
        ("m(sent,patient) n(sent,after=) c(after=m+n)", "m=done n=done c=422 m<1=later n<1=refused", Settlement::Retry, "n<2 m<2 | compensating, compensated"),
        ("m(sent,retriable)", "m=refused", Settlement::Retry, "m!2 | running, running"),
    ];
    for (spec, script, settlement, expected) in rows {
        let (stage, _) = play(spec, script);
        let prospect = of(&stage, &settle(&stage, settlement)).expect("it is accepted");
        assert_eq!(told(&stage, &prospect), expected, "{spec} {script}");
    }
}

#[test]
fn what_is_refused_is_refused_for_the_same_reason() {
    let (stage, _) = play("a p(pivot)", "a=200 p=lost p=lost");
    for command in [settle(&stage, Settlement::TurnAround), Command::Cancel(operator())] {
        let moment = Moment { now: stage.now, chance: 1 };
        let refused = decide(&stage.definition, &stage.saga, &command, moment).map(|_| ());
        assert!(refused.is_err());
        assert_eq!(of(&stage, &command).map(|_| ()), refused);
    }
}

#[test]
fn a_cancel_is_foreseen_as_it_would_be_carried_out() {
    let (stage, _) = play("a b(wait)", "a=200");
    let prospect = of(&stage, &Command::Cancel(operator())).expect("it can be cancelled");
    assert_eq!(told(&stage, &prospect), "a<1 | compensating, compensated");
    assert_eq!(stage.saga.status(), Status::Running, "nothing was done");
}
