use super::{FailedAt, failure_fingerprint};
use crate::answer::{Failure, Response};
use crate::machine::Direction;
use serde_json::{Value, json};
use std::sync::Arc;

const CHARGE: FailedAt<'static> = FailedAt::Step { name: "charge", direction: Direction::Action };

fn answered(status: u16, body: Value) -> Failure {
    Response { status, retry_after_ms: None, body: Arc::new(body), body_dropped: None }.failure()
}

fn of(failure: &Failure) -> String {
    failure_fingerprint("order", CHARGE, failure)
}

#[test]
fn what_differs_between_sagas_does_not_count() {
    let said = Failure::without_status;
    let problem = |detail: &str| answered(422, json!({ "type": "urn:shop:problem:limit", "detail": detail }));
    let alike = [
        (problem("order A-1 is over its limit by 12.50"), problem("order B-77 is over its limit by 3.00")),
        (answered(503, json!("overloaded, ask 10.0.0.1")), answered(503, Value::Null)),
        (said("no answer within 200 ms"), said("no answer within 1500 ms")),
        (said("refused: the card is blocked"), said("refused: the account of Ms Ada is closed")),
        (said("the action cannot be sent: `A 1` is no address"), said("the action cannot be sent: `B` is no address")),
    ];
    for (one, other) in alike {
        assert_eq!(of(&one), of(&other), "{one:?} and {other:?}");
    }
}

#[test]
fn what_has_another_remedy_has_another_fingerprint() {
    let said = Failure::without_status;
    let failures = [
        answered(422, Value::Null),
        answered(422, json!({ "type": "urn:shop:problem:limit" })),
        answered(422, json!({ "type": "urn:shop:problem:closed" })),
        answered(503, Value::Null),
        said("connection refused"),
        said("no answer within 200 ms"),
        said("refused: no"),
        said("not done: no"),
        Failure { kind: Some("failed from outside".into()), ..said("failed from outside: no") },
    ];
    let mut seen: Vec<String> = failures.iter().map(of).collect();
    let places = [
        ("returns", CHARGE),
        ("order", FailedAt::Step { name: "ship", direction: Direction::Action }),
        ("order", FailedAt::Step { name: "charge", direction: Direction::Compensation }),
        ("order", FailedAt::Saga),
    ];
    seen.extend(places.map(|(definition, at)| failure_fingerprint(definition, at, &failures[0])));
    let many = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), many);
}

/// Fingerprints are stored, and compared with those of other versions of the program.
#[test]
fn a_fingerprint_never_changes() {
    let failure = answered(422, json!({ "type": "urn:shop:problem:limit", "detail": "over by 3" }));
    assert_eq!(of(&failure), "55e6a5d073714260");
}
