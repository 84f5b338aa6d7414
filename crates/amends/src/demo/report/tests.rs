//! The report as people read it.

use super::*;
use crate::demo::reconcile::Checkout;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A saga with these steps: name, status, attempts, attempts to undo.
fn saga(id: &str, status: &str, reason: Option<&str>, steps: &[(&str, &str, u32, u32)]) -> Saga {
    let step = |(name, status, attempts, undone): &(&str, &str, u32, u32)| {
        json!({
            "name": name, "status": status, "attempts": attempts, "compensation_attempts": undone,
            "idempotency_key": format!("order-{id}-{id}-{name}"),
        })
    };
    let steps: Vec<Value> = steps.iter().map(step).collect();
    let finished_at = (status != "stuck").then_some("2026-01-01T00:00:01.234Z");
    serde_json::from_value(json!({
        "id": id, "definition": "order-fulfilment", "version": "1", "key": format!("order-{id}"), "status": status,
        "paused": false, "reason": reason, "input": { "customer_id": id, "lines": [] },
        "created_at": "2026-01-01T00:00:00.000Z", "finished_at": finished_at, "steps": steps,
    }))
    .unwrap()
}

fn evidence() -> Evidence {
    let letter = json!({
        "id": "s-3.7", "saga": "s-3", "definition": "order-fulfilment", "key": "order-s-3", "step": "commit-reservation",
        "direction": "action", "claim": "undone", "error": "answered 409: There is not enough of it.", "fingerprint": "f",
        "opened_at": "2026-01-01T00:00:02.000Z",
    });
    let checkout = |saga: &str, clicks| Checkout {
        customer_id: saga.into(),
        lines: json!([]),
        clicks,
        orders: BTreeSet::from([format!("order-{saga}")]),
        unanswered: 0,
    };
    Evidence {
        checkouts: vec![checkout("s-1", 2), checkout("s-2", 1), checkout("s-3", 1)],
        sagas: vec![
            saga("s-1", "completed", None, &[("create-order", "done", 1, 0), ("charge-payment", "done", 3, 0)]),
            saga(
                "s-2",
                "compensated",
                Some("step charge-payment had no effect: answered 402: The card was declined."),
                &[
                    ("create-order", "compensated", 1, 1),
                    ("reserve-inventory", "compensated", 1, 2),
                    ("charge-payment", "refused", 1, 0),
                ],
            ),
            saga(
                "s-3",
                "stuck",
                Some("step commit-reservation was given up: answered 409: There is not enough of it."),
                &[("create-order", "done", 1, 0), ("commit-reservation", "dead", 1, 0)],
            ),
        ],
        letters: vec![serde_json::from_value(letter).unwrap()],
        ..Evidence::default()
    }
}

/// The report of evidence without ledgers: whatever ought to be there is missing.
fn report(evidence: &Evidence) -> Report {
    let address = |service: Service| format!("http://127.0.0.1:71{:02}", service as u8);
    let place = Place {
        program: "amends".into(),
        server: "http://127.0.0.1:7701".into(),
        services: Service::ALL.map(|service| (service.name(), address(service))).into(),
    };
    let strikes = [("error 503".to_owned(), 12), ("decline".to_owned(), 3), ("latency".to_owned(), 0)];
    let fired = Fired::from([("payment", strikes.into()), ("order", [("error 503".to_owned(), 1)].into())]);
    let (duration, latency) = (Duration::from_millis(65_400), Latency::of([143, 2_345].into_iter()));
    Report::new(place, evidence, Measured { seed: 1, faults: Faults::Some, duration, latency, fired })
}

fn text(report: &Report, kept: bool) -> String {
    anstream::adapter::strip_str(&report.to_text(kept)).to_string()
}

#[test]
fn a_report_names_what_disagrees_and_one_saga_of_each_outcome() {
    let report = report(&evidence());
    assert!(!report.agrees);
    insta::assert_snapshot!("disagrees", text(&report, false));
}

#[test]
fn a_shop_that_stays_says_what_can_be_tried() {
    // A compensated order leaves nothing in the ledgers, so that empty ones agree with it.
    let mut evidence = evidence();
    evidence.sagas.retain(|saga| saga.id == "s-2");
    evidence.checkouts.retain(|checkout| checkout.customer_id == "s-2");
    evidence.letters.clear();
    let report = report(&evidence);
    assert!(report.agrees, "{:?}", report.findings);
    insta::assert_snapshot!("stays", text(&report, true));
}

#[test]
fn the_usual_address_need_not_be_named() {
    let command = |server| Shell { program: "amends", server }.command("get 1");
    assert_eq!(command("http://127.0.0.1:7700"), "amends get 1");
    assert_eq!(command("http://127.0.0.1:7701"), "amends get 1 --server http://127.0.0.1:7701");
}
