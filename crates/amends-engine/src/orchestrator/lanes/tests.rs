//! Places given, given back and taken away, without a saga around them.

use super::{Lanes, OutgoingCall};
use crate::{BreakerSettings, Gauges, Participant, Settings, Snapshot};
use amends_core::answer::{Answer, Response};
use amends_core::lint;
use amends_core::machine::{Direction, Moment, PlannedCall, Start, begin};
use amends_core::time::Timestamp;
use amends_store::{Birth, Message, Received};
use std::sync::Arc;
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_000);
/// The breaker opens at the first failure, for this long, and lets one through then.
const OPEN_MS: u64 = 100;

/// The lane of one participant that makes one action at a time.
fn lanes() -> Lanes {
    let mut settings = Settings::default();
    let mut participant = Participant::at("http://one.invalid".parse().expect("an address"));
    participant.in_flight = 1;
    participant.breaker = BreakerSettings { failures: 1, open_ms: OPEN_MS, probes: 1 };
    settings.participants.insert("one".into(), participant);
    Lanes::new(&settings, NOW)
}

/// Queues a call of this saga's only step.
fn queue(lanes: &mut Lanes, saga: u128, direction: Direction) {
    let source = "saga: s\nkey: '{{ input.id }}'\nsteps:\n  step: { action: { post: 'one:/do' }, compensation: { post: 'one:/undo' } }\n";
    let definition = Arc::new(lint::compile(source).unwrap_or_else(|problems| panic!("{problems:?}")));
    let id = Uuid::from_u128(saga);
    let start = Start { id, key: "k".into(), input: Arc::new(serde_json::json!({ "id": "k" })), traceparent: None };
    let decision = begin(&definition, start, Moment { now: NOW, chance: 0 });
    let birth = Arc::new(Birth {
        definition: definition.name.clone(),
        version: definition.version.clone(),
        key: "k".into(),
        fingerprint: String::new(),
        dedupe: None,
        created_at: NOW,
    });
    let action = decision.calls.first().expect("the first step is called").clone();
    let snapshot = Snapshot { id, birth, definition, saga: decision.saga };
    lanes.queue(&snapshot, PlannedCall { direction, ..action }, NOW);
}

fn next(lanes: &mut Lanes, now: Timestamp) -> OutgoingCall {
    lanes.next_call(now).expect("a call has a place")
}

fn is_well() -> Answer {
    Answer::Response(Response { status: 200, retry_after_ms: None, body: Arc::default(), body_dropped: None })
}

/// Lanes whose breaker lets one compensation through from this time on; three wait for that.
fn half_open() -> (Lanes, Timestamp) {
    let mut lanes = lanes();
    (1..=4).for_each(|saga| queue(&mut lanes, saga, Direction::Compensation));
    let call = next(&mut lanes, NOW);
    lanes.ended(call.id, &Answer::NotSent { error: "connection refused".into() }, 1, NOW);
    assert!(lanes.next_call(NOW).is_none(), "the breaker is open");
    (lanes, NOW.plus(OPEN_MS))
}

/// A held saga's compensation is given up when its turn comes. If that used up what the breaker lets through, nothing
/// would ever close it.
#[test]
fn a_compensation_that_is_given_up_leaves_its_place_to_another() {
    let (mut lanes, now) = half_open();
    let given_up = next(&mut lanes, now);
    lanes.cancel(&given_up, now);
    assert_ne!(next(&mut lanes, now).saga, given_up.saga);
    assert!(lanes.next_call(now).is_none(), "one is let through");
}

#[test]
fn an_action_that_is_given_up_leaves_no_place_to_a_compensation() {
    let (mut lanes, now) = half_open();
    next(&mut lanes, now);
    queue(&mut lanes, 9, Direction::Action);
    let action = next(&mut lanes, now);
    assert_eq!(action.direction, Direction::Action);
    lanes.cancel(&action, now);
    assert!(lanes.next_call(now).is_none(), "a participant that may still be ill is given one at a time");
}

#[test]
fn what_is_withdrawn_are_one_sagas_actions() {
    let mut lanes = lanes();
    for (saga, direction) in [(1, Direction::Action), (1, Direction::Probe), (2, Direction::Action)] {
        queue(&mut lanes, saga, direction);
    }
    let withdrawn: Vec<_> = lanes.withdraw(Uuid::from_u128(1)).into_iter().map(|call| call.direction).collect();
    assert_eq!(withdrawn, [Direction::Action]);
    // The question whether it happened is still to be asked, and nobody else loses the place in the row.
    for (saga, direction) in [(1, Direction::Probe), (2, Direction::Action)] {
        let call = next(&mut lanes, NOW);
        assert_eq!((call.saga, call.direction), (Uuid::from_u128(saga), direction));
        lanes.ended(call.id, &is_well(), 1, NOW);
    }
}

#[test]
fn what_participants_answer_is_counted() {
    const TOOK_MS: [u64; 3] = [7, 10, 30];
    let mut lanes = lanes();
    for took_ms in TOOK_MS {
        queue(&mut lanes, 1, Direction::Action);
        let call = next(&mut lanes, NOW);
        lanes.ended(call.id, &is_well(), took_ms, NOW);
    }
    let gauges = lanes.gauges(NOW).remove("one").expect("its lane");
    assert_eq!(gauges.ended.into_iter().collect::<Vec<_>>(), [(("action", "done"), 3)]);
    let (buckets, sum_ms) = gauges.latency;
    let within = |bound: u64| TOOK_MS.iter().filter(|took| **took <= bound).count() as u64;
    assert_eq!((buckets, sum_ms), (Gauges::BUCKETS_MS.into_iter().map(within).collect(), TOOK_MS.iter().sum()));
}

/// The store was asked before a message was put anew, and answers with the old one: what follows from that would not be counted.
#[test]
fn what_was_received_before_it_was_put_anew_is_dropped() {
    let answer = |put_anew: bool, receives: u32| {
        let mut lanes = lanes();
        let saga = Uuid::from_u128(1);
        assert_eq!(lanes.receives(NOW, 1_000).len(), 1);
        if put_anew {
            lanes.message_put("one", (saga, "step".into()), NOW, NOW);
        }
        let message = Message { saga, step: "step".into(), receives };
        lanes.received("one", Received { messages: vec![message], next_at: None }, NOW).len()
    };
    assert_eq!([answer(false, 1), answer(false, 2)], [1, 1]);
    assert_eq!([answer(true, 1), answer(true, 2)], [1, 0], "the first of them is the new one");
}
