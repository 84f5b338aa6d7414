//! The engine in a world with a virtual clock.

mod world;

use super::{Input, Output, Reply};
use crate::{EngineError, Order};
use amends_core::definition::Definition;
use amends_core::machine::{Direction, Event, Operator, Settlement, Status, StepStatus};
use amends_store::{Message, Received, Rest, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use world::{Effect, Reaction, World};

const CHAIN: &str = r#"
saga: chain
key: "{{ input.id }}"
retry: { attempts: 3, initial: 10ms, max: 100ms }
steps:
  first:
    action: { post: "one:/do" }
    compensation: { post: "one:/undo", retry: { attempts: 3, initial: 10ms } }
  second:
    action: { post: "two:/do" }
    compensation: { post: "two:/undo", retry: { attempts: 3, initial: 10ms } }
  third:
    action: { post: "three:/do" }
    compensation: { post: "three:/undo", retry: { attempts: 3, initial: 10ms } }
  last:
    kind: retriable
    action: { post: "four:/do" }
"#;

fn operator() -> Operator {
    Operator { actor: "ada".into(), reason: "because".into() }
}

fn chain(world: &mut World) -> Arc<Definition> {
    world.define(CHAIN)
}

/// The third step of each is refused, so that two compensations follow.
fn turn_back(world: &mut World, definition: &Arc<Definition>, sagas: u64) -> Vec<uuid::Uuid> {
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
        ("third", Direction::Action) => Reaction::Refuse(400),
        _ => Reaction::Obey,
    });
    (0..sagas).map(|number| world.start(number, definition, &number.to_string())).collect()
}

/// A saga whose second step is not undone: it waits for a person.
fn stuck() -> (World, uuid::Uuid) {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
        ("third", Direction::Action) => Reaction::Refuse(400),
        ("second", Direction::Compensation) => Reaction::Refuse(403),
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    world.run_for(10_000);
    (world, id)
}

fn status(world: &World, id: uuid::Uuid) -> Status {
    world.saga(id).expect("the saga is stored").saga.status()
}

#[test]
fn a_saga_is_accepted_performed_and_completed() {
    let mut world = World::new();
    let definition = chain(&mut world);
    assert!(world.has_definition(&definition.version));
    let id = world.start(1, &definition, "k");
    world.run_for(1_000);
    assert_eq!(status(&world, id), Status::Completed);
    assert!(matches!(&world.replies[&1], Ok(Reply::Accepted(saga)) if saga.id == id));
    assert_eq!(world.announced.last(), Some(&Event::Completed));
    assert!(world.effects.values().all(|effect| *effect == Effect { done: 1, undone: 0, tombstone: false }));
    assert_eq!(world.orchestrator.gauges().live_sagas, 0, "a finished saga costs no memory");
}

#[test]
fn the_same_key_is_the_same_saga() {
    let mut world = World::new();
    let definition = chain(&mut world);
    let id = world.start(1, &definition, "k");
    world.start(2, &definition, "k");
    world.run_for(1_000);
    world.start(3, &definition, "k");
    world.run_for(1_000);
    for reply in [2, 3] {
        assert!(matches!(world.replies[&reply], Ok(Reply::Existing(existing)) if existing == id));
    }
    assert_eq!(world.sagas().len(), 1);
    assert_eq!(world.calls.len(), 4);
}

/// Kills the process before and after each thing it does, starts another one, and looks at what is left when all
/// is over. Returns how many places there were to die.
fn die_everywhere(name: &str, script: fn(&super::OutgoingCall) -> Reaction, ends: Status) -> usize {
    for dies_at in 1.. {
        let mut world = World::new();
        let definition = chain(&mut world);
        world.script = Box::new(script);
        world.dies_at = Some(dies_at);
        let id = world.start(1, &definition, "k");
        world.run_for(2_000);
        let died = world.carried_out >= dies_at;
        if !died {
            return dies_at;
        }
        world.restart();
        // Nothing here takes longer than a message's visibility, retries included.
        let is_over = |world: &World| world.saga(id).is_none_or(|saga| super::is_settled(&saga.saga));
        for _ in 0..300 {
            world.run_for(500);
            if is_over(&world) {
                break;
            }
        }
        let Some(saga) = world.saga(id) else {
            assert!(!world.replies.contains_key(&1), "{name}, {dies_at}: an accepted saga is never lost");
            continue;
        };
        assert_eq!(saga.saga.status(), ends, "{name}, {dies_at}: {:?}", saga.saga);
        assert_eq!(world.orphans(), 0, "{name}, {dies_at}");
        for (key, effect) in &world.effects {
            let expected = if ends == Status::Completed { 1 } else { 0 };
            assert_eq!(effect.done - effect.undone, expected, "{name}, {dies_at}: {key} {effect:?}");
        }
    }
    unreachable!("the process dies at last after the last thing that it does")
}

#[test]
fn a_process_may_die_anywhere() {
    let places = die_everywhere("all goes well", |_| Reaction::Obey, Status::Completed);
    assert!(places > 20, "there were only {places} places to die");
    die_everywhere(
        "the third step is refused",
        |call| {
            let is_third = call.step_name == "third" && call.direction == Direction::Action;
            if is_third { Reaction::Refuse(422) } else { Reaction::Obey }
        },
        Status::Compensated,
    );
    die_everywhere(
        "the second answer is lost every time",
        |call| {
            let is_second = call.step_name == "second" && call.direction == Direction::Action;
            if is_second { Reaction::LoseAnswer } else { Reaction::Obey }
        },
        Status::Compensated,
    );
    die_everywhere(
        "compensations fail at first",
        |call| match call.direction {
            Direction::Compensation if call.attempt == 1 => Reaction::LoseAnswer,
            Direction::Action if call.step_name == "third" => Reaction::Refuse(409),
            Direction::Action | Direction::Compensation | Direction::Probe => Reaction::Obey,
        },
        Status::Compensated,
    );
}

#[test]
fn a_sleeping_or_waiting_saga_is_a_row_and_no_memory() {
    let mut world = World::new();
    let definition = world.define(
        "saga: rest\nkey: '{{ input.id }}'\nsteps:\n  nap: { sleep: 1h }\n  approval: { wait: { timeout: 24h } }\n  \
         act: { kind: retriable, action: { post: 'one:/do' } }\n",
    );
    let id = world.start(1, &definition, "k");
    world.run_for(1_000);
    assert_eq!(world.orchestrator.gauges().live_sagas, 0);
    let asleep = world.saga(id).expect("stored");
    assert_eq!(asleep.saga.steps[0].status(), StepStatus::Sleeping);
    world.run_for(3_600_000);
    assert_eq!(world.saga(id).expect("stored").saga.steps[1].status(), StepStatus::Waiting);
    assert_eq!(world.orchestrator.gauges().live_sagas, 0);

    world.order(
        2,
        id,
        Order::Complete { step: "approval".into(), output: Arc::new("yes".into()), operator: operator() },
    );
    world.order(
        3,
        id,
        Order::Complete { step: "approval".into(), output: Arc::new("again".into()), operator: operator() },
    );
    world.run_for(1_000);
    assert!(matches!(&world.replies[&2], Ok(Reply::Saga(_))));
    assert!(matches!(&world.replies[&3], Err(EngineError::Conflict(_))));
    assert_eq!(status(&world, id), Status::Completed);
    world.order(4, id, Order::Cancel(operator()));
    world.order(5, uuid::Uuid::from_u128(99), Order::Cancel(operator()));
    world.run_for(1_000);
    assert!(matches!(&world.replies[&4], Err(EngineError::Conflict(why)) if why.contains("finished")));
    assert!(matches!(&world.replies[&5], Err(EngineError::UnknownSaga(_))));
}

#[test]
fn a_slow_participant_holds_up_nobody_else() {
    let mut world = World::with(|settings| {
        settings.participants.get_mut("two").expect("it is there").in_flight = 2;
    });
    let slow = chain(&mut world);
    let quick = world.define(&CHAIN.replace("saga: chain", "saga: quick").replace("two:", "four:"));
    world.script =
        Box::new(|call| if call.request.participant == "two" { Reaction::Slow(60_000) } else { Reaction::Obey });
    let stuck_behind: Vec<_> = (0..10).map(|number| world.start(number, &slow, &format!("s{number}"))).collect();
    let unhindered: Vec<_> = (10..20).map(|number| world.start(number, &quick, &format!("q{number}"))).collect();
    world.run_for(1_000);
    assert!(unhindered.iter().all(|id| status(&world, *id) == Status::Completed));
    assert_eq!(
        world.calls_to("second", Direction::Action).iter().filter(|c| c.request.participant == "two").count(),
        2
    );
    assert_eq!(world.orchestrator.gauges().participants["two"].calls_waiting, 8);

    // Those that wait for a place are cancelled: they are never sent, and what came before them is undone at once.
    world.order(100, stuck_behind[9], Order::Cancel(operator()));
    world.run_for(1_000);
    let cancelled = world.saga(stuck_behind[9]).expect("stored").saga;
    assert_eq!((cancelled.status(), cancelled.steps[1].status()), (Status::Compensated, StepStatus::Refused));
    assert_eq!(world.orchestrator.gauges().participants["two"].calls_waiting, 7);
    world.run_for(600_000);
    assert!(stuck_behind[..9].iter().all(|id| status(&world, *id) == Status::Completed));
}

#[test]
fn a_held_saga_begins_nothing_and_goes_on_when_it_is_let_go() {
    for held_at_ms in [0, 3, 8, 20] {
        let mut world = World::new();
        let definition = chain(&mut world);
        world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
            ("third", Direction::Action) => Reaction::Refuse(400),
            _ => Reaction::Obey,
        });
        let id = world.start(1, &definition, "k");
        world.run_for(held_at_ms);
        world.order(2, id, Order::Pause(operator()));
        world.run_for(10);
        let calls = world.calls.len();
        world.run_for(3_600_000);
        assert!(world.calls.len() <= calls + 1, "only what was in flight ends: {held_at_ms}");
        assert_eq!((status(&world, id), world.orphans()), (world.sagas()[0].row.status, 0));
        world.order(3, id, Order::Resume(operator()));
        world.run_for(60_000);
        assert_eq!(status(&world, id), Status::Compensated, "{held_at_ms}");
    }
}

#[test]
fn a_compensation_in_flight_is_recorded_though_the_saga_is_held() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
        ("third", Direction::Action) => Reaction::Refuse(400),
        ("second", Direction::Compensation) => Reaction::Slow(1_000),
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    world.run_for(200);
    assert_eq!(world.calls_to("second", Direction::Compensation).len(), 1, "it is in flight");
    world.order(2, id, Order::Pause(operator()));
    world.run_for(10_000);
    assert_eq!(world.saga(id).expect("stored").saga.steps[1].status(), StepStatus::Compensated);
    world.order(3, id, Order::Resume(operator()));
    world.run_for(10_000);
    assert_eq!((status(&world, id), world.calls_to("second", Direction::Compensation).len()), (Status::Compensated, 1));
}

#[test]
fn holding_a_saga_costs_it_no_attempt() {
    let mut world = World::with(|settings| settings.participants.get_mut("two").expect("it is there").in_flight = 1);
    let definition = world.define(&CHAIN.replace("attempts: 3, initial: 10ms, max: 100ms", "attempts: 1"));
    world.script = Box::new(|call| if call.step_name == "second" { Reaction::Slow(5_000) } else { Reaction::Obey });
    let first = world.start(1, &definition, "k");
    let second = world.start(2, &definition, "l");
    world.run_for(1_000);
    world.order(3, second, Order::Pause(operator()));
    world.run_for(60_000);
    assert_eq!((status(&world, first), status(&world, second)), (Status::Completed, Status::Running));
    world.order(4, second, Order::Resume(operator()));
    world.run_for(60_000);
    assert_eq!(status(&world, second), Status::Completed);
}

#[test]
fn what_is_given_up_waits_for_a_person_who_can_settle_it() {
    for (settlement, ends) in [
        (Settlement::Retry, Some(Status::Compensated)),
        (Settlement::Undone, Some(Status::Compensated)),
        (Settlement::Skip, Some(Status::Compensated)),
        (Settlement::Done { output: Arc::default() }, None),
    ] {
        let (mut world, id) = stuck();
        let stuck = world.saga(id).expect("stored").saga;
        assert_eq!((stuck.status(), world.orchestrator.gauges().live_sagas), (Status::Stuck, 0));
        let (_, death) = stuck.dead().next().expect("a stuck saga has a dead step");
        world.script = Box::new(|_| Reaction::Obey);
        let order = Order::Settle { letter: death.letter, settlement, operator: operator(), seen: None };
        world.order(2, id, order.clone());
        world.run_for(10_000);
        world.order(3, id, order);
        world.run_for(10_000);
        assert!(world.replies[&3].is_err(), "a dead letter is settled once");
        match ends {
            Some(ends) => assert_eq!((status(&world, id), world.orphans()), (ends, 0)),
            None => assert!(matches!(&world.replies[&2], Err(EngineError::Conflict(_)))),
        }
    }
}

#[test]
fn a_store_that_fails_for_a_while_loses_nothing() {
    let mut world = World::new();
    let definition = chain(&mut world);
    let id = world.start(1, &definition, "k");
    world.run_for(8);
    world.store_fails = 3;
    world.start(2, &definition, "other");
    world.run_for(10_000);
    assert_eq!(status(&world, id), Status::Completed);
    assert!(matches!(&world.replies[&2], Err(EngineError::Store(_))), "a start that was not written is refused");
    assert_eq!((world.sagas().len(), world.store_fails), (1, 0));
}

#[test]
fn while_the_store_takes_nothing_starts_are_refused_at_once() {
    let mut world = World::new();
    let definition = chain(&mut world);
    let id = world.start(1, &definition, "k");
    world.run_for(8);
    world.store_fails = 10;
    world.run_for(300);
    for number in 2..5 {
        world.start(number, &definition, &number.to_string());
        world.run_for(0);
        assert!(matches!(&world.replies[&number], Err(EngineError::Store(_))), "{number}");
    }
    assert!(world.orchestrator.gauges().store_outage.is_some());
    world.run_for(10_000);
    assert_eq!((status(&world, id), world.sagas().len()), (Status::Completed, 1));
    assert_eq!(world.orchestrator.gauges().store_outage, None);
    let later = world.start(9, &definition, "later");
    world.run_for(1_000);
    assert_eq!(status(&world, later), Status::Completed);
}

#[test]
fn a_start_that_found_the_store_full_does_not_keep_the_next_one_out() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.store_fails = 1;
    world.start(1, &definition, "k");
    world.run_for(10);
    assert!(matches!(&world.replies[&1], Err(EngineError::Store(_))));
    world.run_for(1_000);
    let id = world.start(2, &definition, "k");
    world.run_for(1_000);
    assert_eq!(status(&world, id), Status::Completed);
}

const HERD: &str = r#"
saga: herd
key: "{{ input.id }}"
steps:
  first:
    action: { post: "one:/do" }
    compensation: { post: "one:/undo" }
  second: { action: { post: "two:/do" }, compensation: none }
"#;

#[test]
fn sagas_that_wait_for_one_participant_leave_room_for_the_others() {
    let mut world = World::with(|settings| settings.live_sagas = 40);
    let definition = world.define(HERD);
    let healthy = chain(&mut world);
    world.script = Box::new(|call| match (call.request.path.as_str(), call.step_name.as_str()) {
        ("/undo", _) => Reaction::Unreachable,
        (_, "second") if call.attempt == 1 && call.request.participant == "two" => Reaction::Refuse(400),
        _ => Reaction::Obey,
    });
    for number in 0..200 {
        world.start(number, &definition, &number.to_string());
        world.run_for(200);
        assert!(matches!(&world.replies[&number], Ok(Reply::Accepted(_))), "{number}: {:?}", world.replies[&number]);
    }
    assert!(world.orchestrator.gauges().live_sagas <= 40);
    world.script = Box::new(|_| Reaction::Obey);
    let id = world.start(900, &healthy, "k");
    world.run_for(1_000);
    assert_eq!(status(&world, id), Status::Completed);
    world.run_for(300_000);
    assert!(world.sagas().iter().all(|saga| saga.row.status != Status::Compensating));
}

#[test]
fn a_long_outage_uses_up_nobodys_patience() {
    let mut world = World::new();
    let definition = world.define(HERD);
    world.script = Box::new(|call| match (call.direction, call.step_name.as_str()) {
        (Direction::Compensation, _) => Reaction::Unreachable,
        (_, "second") => Reaction::Refuse(400),
        _ => Reaction::Obey,
    });
    for number in 0..500 {
        world.start(number, &definition, &number.to_string());
    }
    world.run_for(3 * 3_600_000);
    assert!(world.open_letters().is_empty(), "the breaker let few through, and none has spent its attempts");
    world.script = Box::new(|_| Reaction::Obey);
    world.run_for(600_000);
    assert!(world.sagas().iter().all(|saga| saga.row.status == Status::Compensated));
}

#[test]
fn whoever_waits_no_longer_is_forgotten() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|_| Reaction::Slow(1_000));
    let id = world.start(1, &definition, "k");
    world.run_for(10);
    world.wait_for(2, id);
    world.wait_for(3, id);
    world.forget(2, id);
    world.run_for(10_000);
    assert!(world.replies.contains_key(&3) && !world.replies.contains_key(&2));
}

#[test]
fn a_saga_that_is_set_aside_while_it_is_undone_goes_on_where_it_was() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
        ("third", Direction::Action) => Reaction::Refuse(400),
        (_, Direction::Compensation) => Reaction::Slow(100_000),
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    world.run_for(1_000);
    let definitions = world.forget_definitions();
    world.script = Box::new(|_| Reaction::Obey);
    world.restart();
    world.run_for(2 * 3_600_000);
    assert_eq!((world.open_letters().len(), world.sagas()[0].row.status), (1, Status::Stuck));
    world.remember_definitions(definitions);
    let letter = world.open_letters()[0];
    world.order(2, id, Order::Settle { letter, settlement: Settlement::Retry, operator: operator(), seen: None });
    world.run_for(120_000);
    assert_eq!((status(&world, id), world.open_letters().len()), (Status::Compensated, 0));
    // The attempt that was lost with the first process counts: it may have undone the effect.
    let attempts: Vec<_> = world.calls_to("second", Direction::Compensation).iter().map(|call| call.attempt).collect();
    assert!(attempts.len() == 2 && attempts[1] > attempts[0], "{attempts:?}");
}

/// The store gives a saga out that it was told to put to rest, and says so before it says that it was put to rest.
#[test]
fn the_answer_to_a_claim_may_overtake_the_answer_to_a_commit() {
    let mut world = World::with(|settings| (settings.keep_ms, settings.sweep_ms) = (0, 3));
    let definition = world.define(
        "saga: nap\nkey: '{{ input.id }}'\nsteps:\n  nap: { sleep: 10ms }\n  \
         act: { kind: retriable, action: { post: 'one:/do' } }\n",
    );
    world.commit_answer_ms = 40;
    let id = world.start(1, &definition, "k");
    world.run_for(10_000);
    assert_eq!((status(&world, id), world.orchestrator.gauges().live_sagas), (Status::Completed, 0));
}

/// A saga whose engine died during its first call, and is started again where the definition is not in the store.
fn unreadable() -> (World, Arc<Definition>, uuid::Uuid, BTreeMap<String, Arc<Definition>>) {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|_| Reaction::Slow(100_000));
    let id = world.start(1, &definition, "k");
    world.run_for(100);
    let definitions = world.forget_definitions();
    world.script = Box::new(|_| Reaction::Obey);
    world.restart();
    (world, definition, id, definitions)
}

/// It is being claimed, and a commit about another saga is on its way: the one that sets it aside will have to wait.
fn unreadable_while_the_store_is_busy() -> (World, uuid::Uuid, uuid::Uuid, BTreeMap<String, Arc<Definition>>) {
    let (mut world, definition, id, definitions) = unreadable();
    (world.commit_answer_ms, world.read_answer_ms) = (50, 10);
    world.run_for(4);
    let other = world.start(2, &definition, "other");
    (world, id, other, definitions)
}

/// It could not be read when it was claimed, and could when an order took it a moment later.
#[test]
fn a_saga_that_is_being_set_aside_is_not_taken_up_meanwhile() {
    let (mut world, id, other, definitions) = unreadable_while_the_store_is_busy();
    world.run_for(1);
    world.remember_definitions(definitions);
    world.order(3, id, Order::Pause(operator()));
    world.run_for(60_000);
    assert!(matches!(&world.replies[&3], Err(EngineError::Unreadable(_))), "{:?}", world.replies[&3]);
    assert_eq!((status(&world, id), status(&world, other)), (Status::Completed, Status::Completed));
    assert!(world.open_letters().is_empty());
}

/// Who ends a waiting step is in the audit log, also where that leads to a dead letter; that nobody came is nobody's deed.
#[test]
fn who_ends_a_waiting_step_is_in_the_audit_log() {
    let mut world = World::new();
    let before = world.define(
        "saga: before\nkey: '{{ input.id }}'\nsteps:\n  approval: { wait: { timeout: 24h } }\n  \
         act: { kind: retriable, action: { post: 'one:/do' } }\n",
    );
    let behind = world.define(
        "saga: behind\nkey: '{{ input.id }}'\nsteps:\n  act: { kind: retriable, action: { post: 'one:/do' } }\n  \
         approval: { wait: { timeout: 24h } }\n",
    );
    let step = || "approval".to_owned();
    let completed = world.start(1, &before, "completed");
    let failed = world.start(2, &before, "failed");
    let stuck = world.start(3, &behind, "stuck");
    let late = world.start(4, &before, "late");
    world.run_for(1_000);
    assert_eq!(world.audited(), [], "starting is none");
    world.order(5, completed, Order::Complete { step: step(), output: Arc::default(), operator: operator() });
    world.order(6, failed, Order::Fail { step: step(), operator: operator() });
    world.order(7, stuck, Order::Fail { step: step(), operator: operator() });
    world.order(8, completed, Order::Complete { step: step(), output: Arc::default(), operator: operator() });
    world.run_for(25 * 3_600_000);
    assert!(matches!(&world.replies[&8], Err(EngineError::Conflict(_))));
    assert_eq!(status(&world, stuck), Status::Stuck);
    assert_eq!(status(&world, late), Status::Compensated);
    let entry = |saga, action: &str| (Some(saga), "ada".to_owned(), action.to_owned(), Some(step()));
    let expected = [entry(completed, "complete"), entry(failed, "fail"), entry(stuck, "fail")];
    assert_eq!(world.audited(), expected);
}

#[test]
fn a_retry_of_a_letter_that_settled_itself_is_refused_and_not_audited() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|_| Reaction::Slow(5_000));
    let id = world.start(1, &definition, "k");
    world.run_for(100);
    let definitions = world.forget_definitions();
    world.restart();
    world.run_for(1_000);
    let letter = world.open_letters()[0];
    world.remember_definitions(definitions);
    let retry = Order::Settle { letter, settlement: Settlement::Retry, operator: operator(), seen: None };
    world.order(2, id, retry.clone());
    world.order(3, id, retry);
    world.run_for(2_000);
    assert!(matches!((&world.replies[&2], &world.replies[&3]), (Ok(Reply::Saga(_)), Err(EngineError::Conflict(_)))));
    assert_eq!(world.audited().len(), 1);
}

#[test]
fn a_saga_that_cannot_be_read_is_set_aside_and_stops_nobody() {
    let (mut world, definition, id, definitions) = unreadable();
    world.run_for(10_000);
    let row = world.sagas().remove(0).row;
    assert_eq!((row.status, row.rest, world.orphans()), (Status::Stuck, Rest::Parked, 0));
    let letters = world.open_letters();
    let [letter] = letters.as_slice() else { panic!("one letter is open: {letters:?}") };
    let settle = Order::Settle { letter: *letter, settlement: Settlement::Retry, operator: operator(), seen: None };
    world.order(2, id, settle.clone());
    world.run_for(10_000);
    assert!(matches!(&world.replies[&2], Err(EngineError::Unreadable(_))));
    assert_eq!(world.open_letters(), letters, "it keeps the letter it has");

    world.remember_definitions(definitions);
    let healthy = world.start(3, &definition, "other");
    world.order(4, id, settle);
    world.run_for(10_000);
    assert!(matches!(&world.replies[&4], Ok(Reply::Saga(_))), "{:?}", world.replies[&4]);
    assert_eq!((status(&world, healthy), status(&world, id)), (Status::Completed, Status::Completed));
    assert!(world.open_letters().is_empty());
}

/// While servers are replaced one by one, an old one may find what only a new one can read.
#[test]
fn a_saga_that_cannot_be_read_is_left_to_a_newer_program() {
    let (mut world, _, id, definitions) = unreadable();
    world.orchestrator.handle(world.now, Input::Newer(true));
    let before = world.sagas().remove(0).row;
    world.order(2, id, Order::Pause(operator()));
    world.run_for(10_000);
    assert!(matches!(&world.replies[&2], Err(EngineError::ForNewer(_))), "{:?}", world.replies[&2]);
    let row = world.sagas().remove(0).row;
    assert!(matches!(row.rest, Rest::Until(_)), "{row:?}");
    assert_eq!((row.status, row.reason, world.open_letters()), (before.status, before.reason, Vec::new()));

    // What stands for the newer program takes it up as if nothing had been.
    world.remember_definitions(definitions);
    world.run_for(10_000);
    assert_eq!(status(&world, id), Status::Completed);
}

/// Rows are listed by servers that do not know the definition, so what it redacts is not in them. The events have it.
#[test]
fn a_row_has_no_words_of_others() {
    const WAITS: &str = "saga: waits\nkey: '{{ input.id }}'\nsteps:\n  only: { kind: retriable, wait: 1h }\n";
    for (redact, said) in [("", "the card 4111 is blocked"), ("redact: [/input/card]\n", "[redacted]")] {
        let mut world = World::new();
        let definition = world.define(&format!("{WAITS}{redact}"));
        let id = world.start(1, &definition, "k");
        world.run_for(1_000);
        world.order(
            2,
            id,
            Order::Fail {
                step: "only".into(),
                operator: Operator { actor: "ada".into(), reason: "the card 4111 is blocked".into() },
            },
        );
        world.run_for(1_000);
        let error = format!("failed from outside: {said}");
        assert_eq!(world.sagas()[0].row.reason, Some(format!("step only was given up: {error}")));
        assert_eq!(world.letter_errors(), [error]);
        let kept = world.saga(id).unwrap().saga.steps[0].error.clone().unwrap();
        assert_eq!(kept.message, "failed from outside: the card 4111 is blocked");
    }
}

/// What is finished is nobody's, and an old one is asked about it as well.
#[test]
fn a_finished_saga_that_cannot_be_read_may_be_for_a_newer_program() {
    let mut world = World::new();
    let definition = chain(&mut world);
    let id = world.start(1, &definition, "k");
    world.run_for(120_000);
    assert_eq!(status(&world, id), Status::Completed);
    world.forget_definitions();
    world.restart();
    for (reply, newer) in [(2, true), (3, false)] {
        world.orchestrator.handle(world.now, Input::Newer(newer));
        world.order(reply, id, Order::Pause(operator()));
        world.run_for(1_000);
    }
    let refused = (&world.replies[&2], &world.replies[&3]);
    assert!(matches!(refused, (Err(EngineError::ForNewer(_)), Err(EngineError::Unreadable(_)))), "{refused:?}");
}

/// Alone, or with a share of the rate that all on the store have together.
#[test]
fn a_herd_of_compensations_keeps_the_pace_and_meets_the_breaker() {
    [false, true].into_iter().for_each(herd);
}

fn herd(is_shared: bool) {
    const RATE: u64 = 50;
    let mut world =
        World::with(|settings| (settings.compensations_per_second, settings.is_shared) = (RATE as u32, is_shared));
    let definition = world.define(
        "saga: herd\nkey: '{{ input.id }}'\nsteps:\n  first:\n    action: { post: 'one:/do' }\n    \
         compensation: { post: 'one:/undo', retry: { attempts: 1000, initial: 1s, max: 5s, total: 24h } }\n  \
         second: { action: { post: 'two:/do' }, compensation: none }\n",
    );
    let healthy_from = world.now.plus(30_000);
    let mut chance = fastrand::Rng::with_seed(3);
    world.script = Box::new(move |call| match call.direction {
        Direction::Action if call.step_name == "second" => Reaction::Refuse(400),
        Direction::Compensation if chance.u8(..100) < 60 => Reaction::Unreachable,
        Direction::Action | Direction::Compensation | Direction::Probe => Reaction::Obey,
    });
    let sagas: Vec<_> = (0..400).map(|number| world.start(number, &definition, &number.to_string())).collect();
    world.run_for(healthy_from.since(world.now));
    world.script = Box::new(|_| Reaction::Obey);
    world.run_for(120_000);
    assert!(sagas.iter().all(|id| status(&world, *id) == Status::Compensated));
    let compensations = world.calls.iter().filter(|(_, call)| call.direction == Direction::Compensation);
    let times: Vec<u64> = compensations.map(|(at, _)| at.0).collect();
    let most = times.iter().map(|from| times.iter().filter(|at| (*from..from + 1_000).contains(*at)).count()).max();
    assert!(most <= Some(RATE as usize), "{most:?} in one second");
    assert!(times.len() > 410, "the participant did fail: {}", times.len());
}

/// What came back is recorded, nothing is begun, and the saga is left for the next start to find.
#[test]
fn an_engine_that_stops_begins_nothing_and_forgets_nothing() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|_| Reaction::Slow(1_000));
    let id = world.start(1, &definition, "k");
    world.run_for(500);
    world.orchestrator.close();
    assert!(!world.orchestrator.is_quiet(), "a call is in flight");
    world.start(2, &definition, "late");
    world.run_for(1_000);
    let saga = world.saga(id).expect("it is stored");
    let steps: Vec<StepStatus> = saga.saga.steps.iter().map(|step| step.status()).collect();
    assert_eq!(steps[..2], [StepStatus::Done, StepStatus::Pending]);
    assert!(!saga.saga.held, "it is not paused, though nothing is begun");
    world.run_for(60_000);
    assert_eq!(world.calls.iter().filter(|(_, call)| call.saga == id).count(), 1);
    assert!(world.orchestrator.is_quiet());
    assert_eq!(world.orchestrator.wake_at(), None, "there is nothing to wake for");
    let owned = world.sagas().iter().filter(|record| record.row.rest == Rest::Owned).count();
    assert_eq!((owned, world.orphans()), (2, 0), "they are given back when the engine retires");
    world.script = Box::new(|_| Reaction::Obey);
    world.restart();
    world.run_for(10_000);
    assert_eq!(status(&world, id), Status::Completed);
}

/// Due times and retries come and go without a call, too.
#[test]
fn an_engine_that_stops_lets_what_is_due_wait() {
    let mut world = World::new();
    let definition = world.define(
        "saga: s\nkey: '{{ input.id }}'\nsteps:\n  nap: { sleep: 10s }\n  \
         last: { kind: retriable, action: { post: 'one:/do' } }\n",
    );
    let id = world.start(1, &definition, "k");
    world.run_for(100);
    world.orchestrator.close();
    world.run_for(60_000);
    assert_eq!((status(&world, id), world.calls.len()), (Status::Running, 0));
    world.restart();
    world.run_for(1_000);
    assert_eq!(status(&world, id), Status::Completed);
}

#[test]
fn a_start_beyond_the_bound_is_refused_until_there_is_room() {
    let mut world = World::with(|settings| settings.live_sagas = 2);
    let definition = chain(&mut world);
    world.script = Box::new(|_| Reaction::Slow(100));
    for number in 1..=3 {
        world.start(number, &definition, &format!("k{number}"));
    }
    world.run_for(50);
    assert!(matches!(&world.replies[&2], Ok(Reply::Accepted(_))));
    assert!(matches!(&world.replies[&3], Err(EngineError::Overloaded)), "{:?}", world.replies[&3]);
    world.run_for(2_000);
    world.start(4, &definition, "k4");
    world.run_for(2_000);
    assert!(matches!(&world.replies[&4], Ok(Reply::Accepted(_))));
}

/// That a saga got stuck is told when it does. Whoever asks later asks for the next change of it.
#[test]
fn the_end_is_told_to_whoever_waits_for_it() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|call| match call.step_name.as_str() {
        "last" => Reaction::Refuse(422),
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    world.hand_in(0, Input::Await { reply: 2, saga: id });
    world.run_for(1_000);
    assert!(matches!(&world.replies[&2], Ok(Reply::Saga(saga)) if saga.saga.status() == Status::Stuck));
    // The saga is not in memory any more; that it is stuck already, the shell reads from the store.
    world.hand_in(0, Input::Await { reply: 3, saga: id });
    world.run_for(1_000);
    assert!(!world.replies.contains_key(&3));
}

const NAP: &str = r#"
saga: nap
key: "{{ input.id }}"
steps:
  nap: { sleep: 10500ms }
  act: { kind: retriable, action: { post: "one:/do" } }
"#;

/// Nothing waits for a sweep that can know when its time comes: not a saga at rest, and not a compensation.
#[test]
fn what_is_due_is_done_when_it_is_due() {
    for read_answer_ms in [1, 5] {
        let mut world = World::with(|settings| (settings.keep_ms, settings.sweep_ms) = (0, 3_600_000));
        world.read_answer_ms = read_answer_ms;
        let definition = world.define(NAP);
        let began_at = world.now;
        world.start(1, &definition, "k");
        world.run_for(60_000);
        let called_after_ms: Vec<u64> = world.calls.iter().map(|(at, _)| at.since(began_at)).collect();
        assert!(matches!(called_after_ms[..], [10_500..=10_510]), "{read_answer_ms}: {called_after_ms:?}");
    }
}

#[test]
fn a_compensation_is_tried_again_when_its_time_comes() {
    let mut world = World::with(|settings| settings.sweep_ms = 3_600_000);
    let definition = chain(&mut world);
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
        ("third", Direction::Action) => Reaction::Refuse(400),
        (_, Direction::Compensation) if call.attempt == 1 => Reaction::Unreachable,
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    world.run_for(200);
    assert_eq!(status(&world, id), Status::Compensated);
}

#[test]
fn compensations_begin_as_soon_as_the_pace_allows() {
    let mut world = World::with(|settings| (settings.compensations_per_second, settings.sweep_ms) = (10, 3_600_000));
    let definition = chain(&mut world);
    let sagas = turn_back(&mut world, &definition, 5);
    world.run_for(1_100);
    assert!(sagas.iter().all(|id| status(&world, *id) == Status::Compensated), "ten compensations, one in 100 ms");
}

#[test]
fn no_participant_is_given_more_compensations_than_it_takes_at_once() {
    const BOUND: usize = 3;
    const LASTS_MS: u64 = 1_000;
    let mut world = World::with(|settings| {
        settings.participants.get_mut("one").expect("it is there").compensations_in_flight = BOUND
    });
    let definition = world.define(HERD);
    world.script = Box::new(|call| match (call.direction, call.step_name.as_str()) {
        (Direction::Compensation, _) => Reaction::Slow(LASTS_MS),
        (_, "second") => Reaction::Refuse(400),
        _ => Reaction::Obey,
    });
    let began_at = world.now;
    let sagas: Vec<_> = (0..30).map(|number| world.start(number, &definition, &number.to_string())).collect();
    world.run_for(60_000);
    assert!(sagas.iter().all(|id| status(&world, *id) == Status::Compensated));
    let compensations = world.calls.iter().filter(|(_, call)| call.direction == Direction::Compensation);
    let times: Vec<u64> = compensations.map(|(at, _)| at.since(began_at)).collect();
    let in_flight = |from: &u64| times.iter().filter(|at| (*from..from + LASTS_MS).contains(*at)).count();
    assert_eq!(times.iter().map(in_flight).max(), Some(BOUND), "{times:?}");
    assert!(times.iter().all(|at| *at < 10 * (LASTS_MS + 20)), "no place stays empty: {times:?}");
    assert!(world.reads < 60 * (2 + 4) + 30, "without a place the queue is not asked: {} times", world.reads);
}

/// The message is the intent: nothing else is written before its compensation has ended.
#[test]
fn receiving_a_message_costs_no_commit() {
    let mut world = World::new();
    let definition = chain(&mut world);
    let sagas = turn_back(&mut world, &definition, 1);
    world.run_for(1_000);
    assert_eq!((status(&world, sagas[0]), world.commits), (Status::Compensated, 6), "the start and five answers");
}

#[test]
fn a_saga_that_has_not_long_to_wait_stays_in_memory_while_there_is_plenty_of_room() {
    let mut world = World::with(|settings| (settings.live_sagas, settings.keep_ms) = (5, 10_000));
    let nap = |ms: &str| NAP.replace("saga: nap", &format!("saga: nap{ms}")).replace("10500ms", ms);
    let (short, long) = (world.define(&nap("9s")), world.define(&nap("11s")));
    for (number, definition, live) in [(1, &long, 0), (2, &short, 1), (3, &short, 1), (4, &short, 1)] {
        world.start(number, definition, &number.to_string());
        world.run_for(100);
        assert_eq!(world.orchestrator.gauges().live_sagas, live, "after {number}");
    }
    world.run_for(20_000);
    assert!(world.sagas().iter().all(|saga| saga.row.status == Status::Completed));
}

#[test]
fn an_order_that_comes_to_nothing_leaves_a_saga_at_rest() {
    let mut world = World::with(|settings| settings.keep_ms = 0);
    let definition = world.define(NAP);
    let id = world.start(1, &definition, "k");
    world.run_for(1_000);
    world.order(2, id, Order::Complete { step: "nap".into(), output: Arc::default(), operator: operator() });
    world.run_for(1_000);
    assert!(matches!(&world.replies[&2], Err(EngineError::Conflict(_))));
    assert_eq!(world.orchestrator.gauges().live_sagas, 0);
    assert!(matches!(world.sagas()[0].row.rest, Rest::Until(_)));
}

/// It is stuck for good, though one of its calls is still in flight: nobody is left waiting for that.
#[test]
fn whoever_waits_for_a_saga_that_is_stuck_already_is_told_at_once() {
    let mut world = World::new();
    let definition = world.define(
        "saga: fork\nkey: '{{ input.id }}'\nsteps:\n  dies: { kind: retriable, action: { post: 'one:/do' } }\n  \
         lasts: { kind: retriable, after: [], action: { post: 'two:/do' } }\n",
    );
    world.script =
        Box::new(|call| if call.step_name == "dies" { Reaction::Refuse(422) } else { Reaction::Slow(60_000) });
    let id = world.start(1, &definition, "k");
    world.run_for(1_000);
    world.wait_for(2, id);
    world.run_for(1_000);
    assert!(matches!(&world.replies[&2], Ok(Reply::Saga(saga)) if saga.saga.status() == Status::Stuck));
}

/// It is wanted before the commit that sets it aside is made, and would be given out as it was.
#[test]
fn a_saga_that_is_being_set_aside_is_read_again_after_that() {
    let (mut world, id, _, definitions) = unreadable_while_the_store_is_busy();
    world.run_for(8);
    world.remember_definitions(definitions);
    world.read_answer_ms = 200;
    world.order(3, id, Order::Pause(operator()));
    world.run_for(60_000);
    assert!(matches!(&world.replies[&3], Ok(Reply::Saga(_))), "{:?}", world.replies[&3]);
    assert!(world.open_letters().is_empty(), "it can be read again, so nobody need look at it");
}

#[test]
fn a_steps_letter_is_settled_though_the_saga_was_set_aside_meanwhile() {
    let (mut world, id) = stuck();
    let letter = world.open_letters()[0];
    let retry = Order::Settle { letter, settlement: Settlement::Retry, operator: operator(), seen: None };
    let definitions = world.forget_definitions();
    world.order(2, id, retry.clone());
    world.run_for(1_000);
    assert!(matches!(&world.replies[&2], Err(EngineError::Unreadable(_))));
    world.remember_definitions(definitions);
    world.script = Box::new(|_| Reaction::Obey);
    world.order(3, id, retry);
    world.run_for(10_000);
    assert!(matches!(&world.replies[&3], Ok(Reply::Saga(_))), "{:?}", world.replies[&3]);
    assert_eq!((status(&world, id), world.open_letters().len()), (Status::Compensated, 0));
}

#[test]
fn a_store_that_cannot_be_read_for_a_while_loses_nothing() {
    let mut world = World::new();
    let definition = chain(&mut world);
    let sagas = turn_back(&mut world, &definition, 1);
    world.run_for(15);
    world.reads_fail = 10;
    world.run_for(10_000);
    assert_eq!((status(&world, sagas[0]), world.reads_fail), (Status::Compensated, 0));
}

#[test]
fn whoever_asks_for_what_the_store_cannot_give_is_not_left_waiting() {
    let mut world = World::new();
    let definition = world.define(&NAP.replace("10500ms", "1h"));
    let id = world.start(1, &definition, "k");
    world.run_for(1_000);
    world.reads_fail = 1;
    for reply in [2, 3] {
        world.order(reply, id, Order::Cancel(operator()));
        world.run_for(1);
    }
    world.run_for(1_000);
    assert!(matches!((&world.replies[&2], &world.replies[&3]), (Err(EngineError::Store(_)), Ok(Reply::Saga(_)))));
}

/// Somebody else owns its sagas now, or the store cannot be trusted: to go on would be to do things twice.
#[test]
fn an_engine_that_has_lost_its_store_goes_no_further() {
    let told: [fn(StoreError) -> Input; 4] = [
        |error| Input::Committed { batch: 1, result: Err(error) },
        |error| Input::Claimed(Err(error)),
        |error| Input::Acquired { saga: uuid::Uuid::from_u128(1), result: Err(error) },
        |error| Input::Received { participant: "one".into(), result: Err(error) },
    ];
    for error in [StoreError::Fenced, StoreError::Damaged("a page is missing".into())] {
        for tell in told {
            let mut world = World::new();
            world.orchestrator.handle(world.now, tell(error.clone()));
            let is_fatal = |output: &Output| matches!(output, Output::Fatal(EngineError::Store(_)));
            assert!(world.orchestrator.outputs().any(|output| is_fatal(&output)), "{error}");
        }
    }
}

/// A saga that has moved on without this engine is read anew; who asked something of it learns that nothing came of it.
#[test]
fn a_saga_that_has_moved_on_is_read_anew_and_nobody_is_left_waiting() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|_| Reaction::Slow(100));
    let id = world.start(1, &definition, "k");
    world.run_for(50);
    world.commit_answer_ms = 10;
    world.stale_batches = 1;
    world.order(2, id, Order::Cancel(operator()));
    world.run_for(5);
    world.order(3, id, Order::Pause(operator()));
    world.run_for(10_000);
    for reply in [2, 3] {
        assert!(matches!(&world.replies[&reply], Err(EngineError::MovedOn)), "{:?}", world.replies[&reply]);
    }
    assert_eq!(status(&world, id), Status::Completed);
}

/// The message of a compensation that was decided on and never begun is not taken to be in hand for ever.
#[test]
fn a_compensation_that_a_stale_commit_has_swallowed_is_received_again() {
    let mut world = World::new();
    let definition = world.define(
        "saga: fork\nkey: '{{ input.id }}'\nsteps:\n  \
         left: { action: { post: 'one:/do' }, compensation: { post: 'one:/undo', retry: { initial: 1ms, max: 1ms } } }\n  \
         right: { after: [], action: { post: 'two:/do' }, compensation: { post: 'two:/undo' } }\n  \
         fails: { after: [left, right], action: { post: 'three:/do' }, compensation: none }\n",
    );
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction) {
        ("fails", Direction::Action) => Reaction::Refuse(400),
        ("left", Direction::Compensation) if call.attempt == 1 => Reaction::Unreachable,
        (_, Direction::Compensation) => Reaction::Slow(2),
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    world.run_for(15);
    assert_eq!(world.calls_to("right", Direction::Compensation).len(), 1, "both are being undone");
    // That the right is undone is on its way to the store while the message for the left comes again, and an order.
    world.commit_answer_ms = 30;
    world.run_for(40);
    world.order(2, id, Order::Pause(operator()));
    world.stale_batches = 1;
    world.run_for(300_000);
    assert!(matches!(&world.replies[&2], Err(EngineError::MovedOn)), "{:?}", world.replies[&2]);
    assert_eq!((status(&world, id), world.stale_batches), (Status::Compensated, 0));
}

#[test]
fn an_engine_with_nothing_to_do_leaves_the_store_alone() {
    let mut world = World::with(|settings| settings.sweep_ms = 500);
    world.run_for(60_000);
    assert_eq!((world.commits, world.reads / 60), (0, 2 + 4), "two sweeps a second, and a look at four queues");
}

/// After an outage everything is due at once.
#[test]
fn a_backlog_is_claimed_without_a_pause() {
    let mut world = World::with(|settings| {
        settings.keep_ms = 0;
        settings.participants.get_mut("one").expect("it is there").in_flight = 1_000;
    });
    let definition = world.define(NAP);
    let due_at = world.now.plus(10_500);
    let sagas: Vec<_> = (0..250).map(|number| world.start(number, &definition, &number.to_string())).collect();
    world.run_for(60_000);
    assert!(sagas.iter().all(|id| status(&world, *id) == Status::Completed));
    // Three questions to the store, one after the other, a commit, and the moment that it waits for what is nearly there.
    assert_eq!(world.calls.iter().map(|(at, _)| at.since(due_at)).max(), Some(6));
}

/// A slow commit says that an undo has failed; meanwhile its message comes again. An attempt that followed from that one would be
/// forgotten in a crash: the store has begun to count anew.
#[test]
fn a_message_from_before_a_new_try_was_decided_leads_to_nothing() {
    let mut world = World::new();
    let definition = chain(&mut world);
    world.script = Box::new(|call| match (call.step_name.as_str(), call.direction, call.attempt) {
        ("third", Direction::Action, _) => Reaction::Refuse(400),
        ("second", Direction::Compensation, 1) => Reaction::Refuse(503),
        _ => Reaction::Obey,
    });
    let id = world.start(1, &definition, "k");
    while world.calls_to("second", Direction::Compensation).is_empty() {
        world.run_for(1);
    }
    world.commit_answer_ms = 30;
    world.run_for(8);
    assert_eq!(world.saga(id).expect("it is stored").saga.steps[1].compensation_attempts, 1);
    let message = Message { saga: id, step: "second".into(), receives: 2 };
    let received = Received { messages: vec![message], next_at: None };
    world.hand_in(1, Input::Received { participant: "two".into(), result: Ok(received) });
    world.run_for(60_000);
    let attempts: Vec<_> = world.calls_to("second", Direction::Compensation).iter().map(|call| call.attempt).collect();
    assert_eq!((attempts, status(&world, id)), (vec![1, 2], Status::Compensated));
}
