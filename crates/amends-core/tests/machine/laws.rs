//! What holds whatever happens: random definitions, random commands, and participants who keep a truthful ledger,
//! honour keys and leave tombstones.

use amends_core::answer::Answer;
use amends_core::definition::{Definition, Kind, StepIndex};
use amends_core::lint;
use amends_core::machine::{
    Command, Decision, Direction, Event, Moment, Operator, Phase, PlannedCall, Saga, Settlement, Start, StepState,
    begin, decide, fold,
};
use amends_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

use crate::play::{read_answer, yaml};

/// After everything has healed, no saga takes more strides than this to finish.
const STRIDES: usize = 400;

/// Up to seven steps: compensatable ones, a pivot, retriable ones. `after` is drawn among the earlier compensatable
/// steps; the pivot and the retriable steps are chained behind all of them.
fn definitions() -> impl Strategy<Value = String> {
    let option = prop::sample::select(vec!["x", "x", "once", "probe", "once,probe", "none", "bare", "wait", "sleep"]);
    let early = prop::collection::vec((option, any::<u8>()), 0..5);
    let late = prop::sample::select(vec!["x", "once", "probe", "once,probe", "wait"]);
    let pivot = prop::option::of(prop::sample::select(vec!["x", "once", "probe", "once,probe"]));
    (early, pivot, prop::collection::vec(late, 0..3), any::<bool>()).prop_map(|(early, pivot, late, limited)| {
        let mut words = Vec::new();
        for (index, (option, after)) in early.iter().enumerate() {
            let names: Vec<_> = (0..index).filter(|other| after >> other & 1 == 1).map(|at| format!("c{at}")).collect();
            words.push(format!("c{index}({option},after={})", names.join("+")));
        }
        let all: Vec<_> = (0..early.len()).map(|at| format!("c{at}")).collect();
        let all = all.join("+");
        words.extend(pivot.map(|option| format!("p(pivot,{option},after={all})")));
        let behind = if pivot.is_some() { "p".to_owned() } else { all };
        words.extend(late.iter().enumerate().map(|(at, option)| format!("r{at}(retriable,{option},after={behind})")));
        if words.is_empty() {
            words.push("c0".into());
        }
        if limited { format!("deadline=60s {}", words.join(" ")) } else { words.join(" ") }
    })
}

/// What a participant knows about one step.
#[derive(Clone, Default)]
struct Ledger {
    effect: bool,
    tombstone: bool,
    /// A person left the step as it is.
    skipped: bool,
}

struct World {
    definition: Definition,
    saga: Saga,
    now: Timestamp,
    history: Vec<(Timestamp, Event)>,
    flying: Vec<PlannedCall>,
    ledger: Vec<Ledger>,
}

impl World {
    fn new(source: &str) -> World {
        let definition = lint::compile(&yaml(source)).unwrap_or_else(|found| panic!("{source}: {found:#?}"));
        let input = Arc::new(json!({ "id": "1" }));
        let start = Start { id: Uuid::nil(), key: "1".into(), input, traceparent: None };
        let now = Timestamp(1_000);
        let first = begin(&definition, start, Moment { now, chance: 1 });
        let history = first.events.into_iter().map(|event| (now, event)).collect();
        let ledger = vec![Ledger::default(); definition.steps.len()];
        World { definition, saga: first.saga, now, history, flying: first.calls, ledger }
    }

    /// Gives a command, and checks what must hold after each. Returns whether it was accepted.
    fn command(&mut self, command: &Command) -> bool {
        let chance = (self.history.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let was_finished = self.saga.is_finished();
        let Ok(decision) = decide(&self.definition, &self.saga, command, Moment { now: self.now, chance }) else {
            return false;
        };
        if was_finished {
            assert!(matches!(command, Command::Tick | Command::Recover), "{command:?} was accepted at the end");
            assert!(decision.events.is_empty() && decision.calls.is_empty());
        }
        self.check_decision(command, &decision);
        self.history.extend(decision.events.iter().map(|event| (self.now, event.clone())));
        let history = self.history.iter().map(|(at, event)| (*at, event));
        assert_eq!(fold(&self.definition, self.saga.id, history).as_ref(), Ok(&decision.saga));
        self.saga = decision.saga;
        self.flying.extend(decision.calls);
        self.check_wakes();
        true
    }

    fn check_decision(&self, command: &Command, decision: &Decision) {
        for call in &decision.calls {
            let follows = match call.direction {
                Direction::Compensation => matches!(command, Command::Received { step, .. } if *step == call.step),
                Direction::Action => decision.events.iter().any(
                    |event| matches!(event, Event::ActionStarted { step, attempt, .. } if (*step, *attempt) == (call.step, call.attempt)),
                ),
                Direction::Probe => decision.events.iter().any(
                    |event| matches!(event, Event::ProbeStarted { step, attempt } if (*step, *attempt) == (call.step, call.attempt)),
                ),
            };
            assert!(follows, "{call:?} follows from nothing in {:?}", decision.events);
        }
        let mut all = self.history.iter().map(|(_, event)| event).chain(&decision.events);
        all.find(|event| matches!(event, Event::CompensationEntered { .. }));
        assert!(!all.any(|event| matches!(event, Event::ActionStarted { .. })), "an action on the way back");
    }

    /// The wake-up invariant.
    fn check_wakes(&self) {
        let saga = &self.saga;
        let queued = saga.steps.iter().any(|step| matches!(step.state, StepState::Compensating(_)));
        let is_awake = saga.is_finished() || saga.held || saga.is_calling() || queued || saga.dead().next().is_some();
        assert!(is_awake || saga.wake_at(&self.definition).is_some(), "nobody will wake {saga:#?}");
    }

    /// A call reaches its participant, who answers truthfully; `dice` says how.
    fn arrive(&mut self, place: usize, dice: u8) {
        let call = self.flying.remove(place);
        let answer = self.serve(call.step, call.direction, dice);
        let (step, direction, attempt) = (call.step, call.direction, call.attempt);
        self.command(&Command::Answered { step, direction, attempt, answer });
    }

    fn serve(&mut self, step: StepIndex, direction: Direction, dice: u8) -> Answer {
        let ledger = &mut self.ledger[step];
        let coin = dice & 0x80 != 0;
        let word = match (direction, dice % 8) {
            (_, 4) => "unsent",
            (Direction::Probe, 5) => "503",
            (Direction::Probe, _) if ledger.effect => "yes",
            (Direction::Probe, _) => "no",
            (Direction::Action, 5) => {
                ledger.effect |= coin && !ledger.tombstone;
                "lost"
            }
            (Direction::Action, 6) if !ledger.tombstone => {
                ledger.effect = true;
                "409/200"
            }
            (Direction::Action, 7) if !ledger.effect => "404",
            (Direction::Action, _) if ledger.tombstone => "409",
            (Direction::Action, _) => {
                ledger.effect = true;
                "200"
            }
            (Direction::Compensation, 7) => "401",
            (Direction::Compensation, dice) => {
                if dice != 5 || coin {
                    (ledger.effect, ledger.tombstone) = (false, true);
                }
                if dice == 5 { "503" } else { "200" }
            }
        };
        read_answer(word)
    }

    /// The orchestrator dies: what was in flight arrives or does not, and nobody hears of it.
    fn crash(&mut self, dice: u8) {
        for (place, call) in std::mem::take(&mut self.flying).into_iter().enumerate() {
            if dice >> (place % 8) & 1 == 1 {
                self.serve(call.step, call.direction, 0);
            }
        }
        self.command(&Command::Recover);
    }

    /// Delivers a message that is due and not being worked on. Returns whether there was one.
    fn deliver(&mut self) -> bool {
        let is_flying = |step| self.flying.iter().any(|call| call.step == step);
        let found = self.saga.steps.iter().enumerate().find(|(step, found)| {
            matches!(&found.state, StepState::Compensating(undoing) if undoing.at <= self.now) && !is_flying(*step)
        });
        let Some((step, _)) = found else { return false };
        self.command(&Command::Received { step, receives: 1 })
    }

    /// Lets time pass until something is due.
    fn pass(&mut self) {
        let queued = self.saga.steps.iter().filter_map(|step| match &step.state {
            StepState::Compensating(undoing) => Some(undoing.at),
            _ => None,
        });
        let next = queued.chain(self.saga.wake_at(&self.definition)).min();
        self.now = self.now.max(next.unwrap_or(self.now));
        self.command(&Command::Tick);
    }

    /// A person looks at the first dead letter, finds out the truth, and says it.
    fn settle(&mut self, dice: u8) {
        let Some((step, death)) = self.saga.dead().next() else { return };
        let (letter, direction) = (death.letter, death.direction);
        let truth = match (direction, self.ledger[step].effect) {
            (Direction::Action | Direction::Probe, true) => Settlement::Done { output: Arc::new(Value::Null) },
            (Direction::Compensation, _) | (_, false) => Settlement::Undone,
        };
        let choice = [Settlement::Retry, truth, Settlement::Skip][usize::from(dice % 3)].clone();
        let (is_skip, is_undone) = (choice == Settlement::Skip, choice == Settlement::Undone);
        let accepted = self.command(&Command::Settle { letter, settlement: choice, operator: operator() });
        self.ledger[step].skipped |= accepted && is_skip;
        if accepted && is_undone {
            (self.ledger[step].effect, self.ledger[step].tombstone) = (false, true);
        }
    }

    fn chaos(&mut self, choice: u8, dice: u8) {
        let step = usize::from(dice) % self.saga.steps.len();
        match choice % 16 {
            0..=5 if !self.flying.is_empty() => self.arrive(usize::from(choice) % self.flying.len(), dice),
            0..=7 => drop(self.deliver()),
            8 | 9 => self.pass(),
            10 => self.crash(dice),
            11 => drop(self.command(&Command::Complete { step, output: Arc::new(Value::Null) })),
            12 if dice < 64 => drop(self.command(&Command::Cancel(operator()))),
            12 => drop(self.command(&Command::Fail { step, reason: "no".into() })),
            13 => drop(self.command(&Command::Pause(operator()))),
            14 => drop(self.command(&Command::Resume(operator()))),
            _ => self.settle(dice),
        }
    }

    /// Everybody answers, and a person retries what was given up, or says the truth where that is refused.
    fn heal(&mut self) {
        self.command(&Command::Resume(operator()));
        for _ in 0..STRIDES {
            if self.saga.is_finished() {
                return;
            }
            let letter = self.saga.dead().next().map(|(_, death)| death.letter);
            let waiting = self.saga.steps.iter().position(|step| matches!(step.state, StepState::Waiting { .. }));
            if !self.flying.is_empty() {
                self.arrive(0, 0);
            } else if let Some(letter) = letter {
                self.settle(0);
                if self.saga.dead().any(|(_, death)| death.letter == letter) {
                    self.settle(1);
                }
            } else if let Some(step) = waiting {
                self.command(&Command::Complete { step, output: Arc::new(Value::Null) });
            } else if !self.deliver() {
                self.pass();
            }
        }
        panic!("it does not finish: {:#?}", self.saga);
    }

    fn check_end(&mut self) {
        for (ledger, step) in self.ledger.iter().zip(&self.definition.steps) {
            if step.call().is_none() || ledger.skipped {
                continue;
            }
            match self.saga.phase {
                Phase::Completed { .. } => assert!(ledger.effect, "{} is missing", step.name),
                Phase::Compensated { .. } => {
                    let remains = ledger.effect && step.leaves_something();
                    assert!(!remains, "{} ({}) remains: {:#?}", step.name, step.kind, self.history);
                    assert!(!(ledger.effect && step.kind != Kind::Compensatable), "{} happened", step.name);
                }
                Phase::Forward | Phase::Compensating { .. } => panic!("it is not finished"),
            }
        }
        assert!(!self.command(&Command::Pause(operator())) && !self.command(&Command::Cancel(operator())));
    }
}

fn operator() -> Operator {
    Operator { actor: "ann".into(), reason: "a test".into() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_saga_ends_well(
        source in definitions(),
        choices in prop::collection::vec((any::<u8>(), any::<u8>()), 0..60),
    ) {
        let mut world = World::new(&source);
        choices.iter().for_each(|(choice, dice)| world.chaos(*choice, *dice));
        world.heal();
        world.check_end();
    }
}
