//! Faults strike where they are meant to and only there; whatever they do, a repeat finds the effect once.

use crate::process::{Process, Reply};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn charge(service: &Process, key: &str) -> Option<Reply> {
    service.try_post("/charges", key, json!({ "order_id": key, "amount_cents": 100 }))
}

fn refund(service: &Process, key: &str) -> Option<Reply> {
    service.try_undo("/refunds", key, json!({ "order_id": key }))
}

/// A payment service with one fault.
fn payment(fault: &Value) -> Process {
    Process::start_with("payment", &["--faults", &json!([fault]).to_string()])
}

#[test]
fn a_refusal_is_decided_once_and_kept() {
    for (fault, status, kind) in [("decline", 402, "declined"), ("out-of-stock", 409, "out-of-stock")] {
        let service = payment(&json!({ "fault": fault, "nth": 2, "direction": "action" }));
        assert_eq!(charge(&service, "one").unwrap().status, 201);
        for replayed in [false, true, true] {
            let refused = charge(&service, "two").unwrap();
            assert_eq!((refused.status, refused.problem(), refused.replayed()), (status, kind, replayed));
            assert!(!refused.asks_again());
        }
        assert_eq!(charge(&service, "three").unwrap().status, 201);
        assert!(refund(&service, "two").unwrap().null_compensation());
        assert_eq!([service.done_and_undone("two"), service.done_and_undone("three")], [(0, 0), (1, 0)]);
        let faults = service.get("/faults");
        assert_eq!((&faults["faults"][0]["matched"], &faults["faults"][0]["fired"]), (&json!(3), &json!(1)));
        assert_eq!(
            faults["firings"],
            json!([{ "fault": fault, "direction": "action", "path": "/charges", "key": "two" }])
        );
    }
}

#[test]
fn an_error_has_no_effect() {
    for (fault, status) in [
        (json!({ "error": { "status": 500 } }), 500),
        (json!({ "error": { "status": 503 } }), 503),
        (json!({ "rate-limit": { "retry_after_s": 2 } }), 429),
    ] {
        let service = payment(&json!({ "fault": fault, "limit": 2 }));
        for _ in 0..2 {
            let reply = charge(&service, "k").unwrap();
            assert_eq!((reply.status, reply.asks_again()), (status, status == 429));
            assert_eq!(service.done_and_undone("k"), (0, 0));
        }
        let reply = charge(&service, "k").unwrap();
        assert_eq!((reply.status, reply.replayed()), (201, false));
        assert_eq!((service.done_and_undone("k"), service.fired()), ((1, 0), 2));
    }
}

#[test]
fn latency_delays_one_request_and_holds_up_no_other() {
    let slow = json!({ "fault": { "latency": { "min_ms": 400, "max_ms": 500 } }, "order_id": "slow" });
    let service = payment(&slow);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| charge(&service, "slow").unwrap());
        for quick in 0..5 {
            assert_eq!(charge(&service, &format!("quick-{quick}")).unwrap().status, 201);
        }
        assert_eq!(slow.join().unwrap().status, 201);
    });
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(service.fired(), 1);
}

#[test]
fn an_answer_can_be_late_or_lost_and_the_effect_is_there() {
    let late = json!({ "timeout-after-effect": { "hold_ms": 300 } });
    for (fault, answered) in [(late, true), (json!("lost-response"), false)] {
        let service = payment(&json!({ "fault": fault, "limit": 1 }));
        let begun = Instant::now();
        let first = charge(&service, "k");
        assert_eq!(first.is_some(), answered);
        assert_eq!(begun.elapsed() >= Duration::from_millis(300), answered);
        assert_eq!((service.done_and_undone("k"), service.fired()), ((1, 0), 1));
        let again = charge(&service, "k").unwrap();
        assert_eq!((again.status, again.replayed()), (201, true));
        assert_eq!(service.done_and_undone("k"), (1, 0));
    }
}

#[test]
fn a_compensation_suffers_like_an_action() {
    let service = payment(&json!({ "fault": "lost-response", "direction": "compensation", "limit": 1 }));
    assert_eq!(charge(&service, "k").unwrap().status, 201);
    assert!(refund(&service, "k").is_none(), "an answer came");
    assert!(refund(&service, "k").unwrap().replayed());
    assert_eq!((service.done_and_undone("k"), service.fired()), ((1, 1), 1));
}

#[test]
fn after_a_crash_at_any_point_a_repeat_has_the_effect_once() {
    for (at, committed) in [("before-effect", false), ("before-commit", false), ("after-commit", true)] {
        let mut service = payment(&json!({ "fault": { "crash": { "at": at } }, "path": "/charges" }));
        assert!(charge(&service, "k").is_none(), "{at}: an answer came");
        service.restart_after_crash();
        assert_eq!(service.done_and_undone("k"), (u64::from(committed), 0), "{at}");
        let again = charge(&service, "k").unwrap();
        assert_eq!((again.status, again.replayed()), (201, committed), "{at}");
        assert_eq!(service.done_and_undone("k"), (1, 0), "{at}");
    }
}

#[test]
fn after_a_crash_in_a_compensation_a_repeat_undoes_once() {
    for (at, committed) in [("before-effect", false), ("before-commit", false), ("after-commit", true)] {
        let mut service = payment(&json!({ "fault": { "crash": { "at": at } }, "direction": "compensation" }));
        assert_eq!(charge(&service, "k").unwrap().status, 201);
        assert!(refund(&service, "k").is_none(), "{at}: an answer came");
        service.restart_after_crash();
        assert_eq!(service.done_and_undone("k"), (1, u64::from(committed)), "{at}");
        assert_eq!(refund(&service, "k").unwrap().replayed(), committed, "{at}");
        assert_eq!(service.done_and_undone("k"), (1, 1), "{at}");
    }
}

#[test]
fn faults_change_at_run_time() {
    let service = Process::start("payment");
    assert_eq!(service.get("/faults"), json!({ "faults": [], "firings": [] }));
    let put = service.put("/faults", json!([{ "fault": "decline", "limit": 1 }]));
    assert_eq!(
        put.body["faults"][0],
        json!({ "fault": "decline", "probability": 1.0, "limit": 1, "matched": 0, "fired": 0 })
    );
    assert_eq!(charge(&service, "one").unwrap().status, 402);
    assert_eq!(charge(&service, "two").unwrap().status, 201);
    let nonsense = service.put("/faults", json!([{ "fault": "decline", "probability": 2 }]));
    assert_eq!((nonsense.status, nonsense.problem()), (422, "invalid-request"));
    assert_eq!(service.fired(), 1, "what was refused changed something");
    service.put("/faults", json!([]));
    assert_eq!(service.get("/faults"), json!({ "faults": [], "firings": [] }));
}

#[test]
fn a_probe_is_struck_only_where_that_is_said() {
    let service = payment(&json!({ "fault": { "error": { "status": 500 } } }));
    service.get("/charges?order_id=k");
    service.put("/faults", json!([{ "fault": "lost-response", "direction": "probe" }]));
    assert!(service.try_get("/charges?order_id=k").is_none(), "an answer came");
    assert_eq!(service.fired(), 1);
}

#[test]
fn whatever_strikes_every_key_comes_out_even() {
    let faults = json!([
        { "fault": { "latency": { "min_ms": 1, "max_ms": 10 } }, "probability": 0.2 },
        { "fault": { "error": { "status": 503 } }, "probability": 0.15 },
        { "fault": { "rate-limit": { "retry_after_s": 1 } }, "probability": 0.1 },
        { "fault": "decline", "probability": 0.2, "direction": "action" },
        { "fault": { "timeout-after-effect": { "hold_ms": 20 } }, "probability": 0.15 },
        { "fault": "lost-response", "probability": 0.2 },
    ]);
    let service = Process::start_with("payment", &["--seed", "11", "--faults", &faults.to_string()]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let service = &service;
            scope
                .spawn(move || (0..15).for_each(|order| settle(service, &format!("{client}-{order}"), order % 2 == 0)));
        }
    });
    for fault in service.get("/faults")["faults"].as_array().unwrap() {
        assert!(fault["fired"].as_u64().unwrap() > 0, "a fault never struck, so nothing was shown: {fault}");
    }
    let ledger = service.get("/ledger");
    let entries = ledger["entries"].as_array().unwrap().len() as u64;
    assert_eq!(ledger["totals"]["done"].as_u64().unwrap() + ledger["totals"]["undone"].as_u64().unwrap(), entries);
}

/// Charges until the answer is definite, refunds if that is wanted, and looks into the ledger.
fn settle(service: &Process, key: &str, wanted_back: bool) {
    let definite = |call: &dyn Fn() -> Option<Reply>| {
        std::iter::repeat_with(call).flatten().find(|reply| !matches!(reply.status, 429 | 500..)).unwrap()
    };
    let charged = definite(&|| charge(service, key)).status;
    assert!(matches!(charged, 201 | 402), "{charged}");
    if wanted_back {
        let refunded = definite(&|| refund(service, key));
        assert_eq!((refunded.status, refunded.null_compensation()), (200, charged == 402));
    }
    let expected = match (charged, wanted_back) {
        (201, true) => (1, 1),
        (201, false) => (1, 0),
        _refused => (0, 0),
    };
    assert_eq!(service.done_and_undone(key), expected, "{key}");
}
