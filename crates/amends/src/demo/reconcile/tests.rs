//! A world in which all is well, and for each check a way to spoil it.

use super::*;
use serde_json::json;

/// The steps of a saga, with the service that performs each.
const STEPS: [(&str, &str); 4] =
    [(RESERVE, "inventory"), ("charge-payment", PAYMENT), ("create-shipment", SHIPPING), (COMMIT, "inventory")];

fn key(order: &str, step: &str) -> String {
    format!("{order}-saga-{order}-{step}")
}

/// A saga of `order`, two pieces of one product, whose steps have these statuses.
fn saga(order: &str, status: &str, steps: [&str; 4]) -> Saga {
    let step = |((name, _), status): ((&str, &str), &str)| json!({ "name": name, "status": status, "attempts": 1, "compensation_attempts": 0, "idempotency_key": key(order, name) });
    let steps: Vec<Value> = STEPS.into_iter().zip(steps).map(step).collect();
    serde_json::from_value(json!({
        "id": format!("saga-{order}"), "definition": "order-fulfilment", "version": "1", "key": order, "status": status,
        "paused": false, "input": { "customer_id": format!("customer-{order}"), "lines": lines() },
        "created_at": "2026-01-01T00:00:00.000Z", "steps": steps,
    }))
    .unwrap()
}

fn lines() -> Value {
    json!([{ "sku": "tea", "quantity": 2, "price_cents": 500 }])
}

fn entry(order: &str, step: &str, direction: Direction) -> Entry {
    let service = STEPS.into_iter().find(|(name, _)| *name == step).unwrap().1;
    Entry { service: service.into(), action_key: key(order, step), order_id: order.into(), direction }
}

fn checkout(order: &str) -> Checkout {
    let orders = BTreeSet::from([order.to_owned()]);
    Checkout { customer_id: format!("customer-{order}"), lines: lines(), clicks: 2, orders, unanswered: 0 }
}

/// One order of each outcome: `good` was completed, `undone` was charged and compensated, and of `parked` nobody
/// could find out whether the refund happened.
fn world() -> Evidence {
    use Direction::{Action, Compensation};
    let done = |order, steps: &[&str]| steps.iter().map(|step| entry(order, step, Action)).collect::<Vec<_>>();
    let mut ledger = done("good", &STEPS.map(|(name, _)| name));
    for order in ["undone", "parked"] {
        ledger.extend(done(order, &[RESERVE, "charge-payment"]));
    }
    ledger.extend([entry("undone", "charge-payment", Compensation), entry("undone", RESERVE, Compensation)]);
    Evidence {
        checkouts: vec![checkout("good"), checkout("undone"), checkout("parked")],
        sagas: vec![
            saga("good", "completed", ["done", "done", "done", "done"]),
            saga("undone", "compensated", ["compensated", "compensated", "refused", "pending"]),
            saga("parked", "stuck", ["done", "dead", "refused", "pending"]),
        ],
        letters: vec![letter("parked", "charge-payment", "done")],
        ledger,
        stock: vec![Stock { sku: "tea".into(), initial: 100, free: 96, reserved: 2, sold: 2 }],
        orphans: 0,
    }
}

fn letter(order: &str, step: &str, claim: &str) -> DeadLetter {
    serde_json::from_value(json!({
        "id": format!("saga-{order}.1"), "saga": format!("saga-{order}"), "definition": "order-fulfilment", "key": order,
        "step": step, "direction": "compensation", "claim": claim, "error": "503", "fingerprint": "f", "opened_at": "2026-01-01T00:00:09.000Z",
    }))
    .unwrap()
}

/// Spoils the world in one way and expects exactly these findings.
#[track_caller]
fn check(spoil: impl FnOnce(&mut Evidence), expected: &[(Check, &str)]) {
    let mut evidence = world();
    spoil(&mut evidence);
    let result = reconcile(&evidence);
    let found: Vec<(Check, &str)> =
        result.findings.iter().map(|finding| (finding.check, finding.subject.as_str())).collect();
    assert_eq!(found, expected, "{:#?}", result.findings);
}

fn forget(evidence: &mut Evidence, order: &str, step: &str) {
    evidence.ledger.retain(|entry| entry.action_key != key(order, step));
}

fn stock_of(evidence: &mut Evidence) -> &mut Stock {
    &mut evidence.stock[0]
}

#[test]
fn a_world_in_order_has_no_findings_and_everything_was_looked_at() {
    let result = reconcile(&world());
    assert_eq!(result.findings, []);
    assert!(result.looked_at.values().all(|things| *things > 0), "{:?}", result.looked_at);
    assert_eq!(result.looked_at.keys().copied().collect::<Vec<_>>(), Check::ALL);
    let looked_at = |check| result.looked_at[&check];
    assert_eq!(looked_at(Check::DoneOnce), 8, "keys");
    assert_eq!(looked_at(Check::Completed), 4, "steps of the completed saga");
    assert_eq!(looked_at(Check::ChargedNotShipped), 2, "orders that do not wait for a person");
    assert_eq!(looked_at(Check::ChargedTwice), 3, "all orders");
}

#[test]
fn every_violation_is_found() {
    use Check as C;
    use Direction::{Action, Compensation};
    let again = |order, step, direction| move |world: &mut Evidence| world.ledger.push(entry(order, step, direction));
    check(again("good", COMMIT, Action), &[(C::DoneOnce, &key("good", COMMIT)), (C::Completed, "good")]);
    check(
        again("good", "charge-payment", Action),
        &[(C::DoneOnce, &key("good", "charge-payment")), (C::Completed, "good"), (C::ChargedTwice, "good")],
    );
    check(
        again("good", "create-shipment", Action),
        &[(C::DoneOnce, &key("good", "create-shipment")), (C::Completed, "good"), (C::ShippedTwice, "good")],
    );
    check(
        again("undone", "charge-payment", Compensation),
        &[(C::UndoneOnce, &key("undone", "charge-payment")), (C::Compensated, "undone")],
    );
    check(again("undone", COMMIT, Action), &[(C::Compensated, "undone")]);
    check(again("undone", "create-shipment", Action), &[(C::Compensated, "undone"), (C::ShippedNotCharged, "undone")]);
    check(
        |world| world.ledger.retain(|entry| entry.direction == Action || entry.service != PAYMENT),
        &[(C::Compensated, "undone"), (C::ChargedNotShipped, "undone")],
    );
    check(|world| forget(world, "good", "create-shipment"), &[(C::Completed, "good"), (C::ChargedNotShipped, "good")]);
    check(|world| forget(world, "good", "charge-payment"), &[(C::Completed, "good"), (C::ShippedNotCharged, "good")]);
    check(|world| forget(world, "good", COMMIT), &[(C::Completed, "good")]);
}

#[test]
fn what_belongs_to_nobody_is_found() {
    use Check as C;
    check(
        |world| world.ledger.push(Entry { action_key: "stray".into(), ..entry("good", COMMIT, Direction::Action) }),
        &[(C::EffectsKnown, "good")],
    );
    check(
        |world| {
            world
                .ledger
                .push(Entry { action_key: "stray".into(), ..entry("good", "charge-payment", Direction::Action) })
        },
        &[(C::EffectsKnown, "good"), (C::ChargedTwice, "good")],
    );
    check(
        |world| _ = world.checkouts[0].orders.insert("lost".into()),
        &[(C::OrdersKnown, "lost"), (C::OneOrderEach, "customer-good")],
    );
    let unheard = |world: &mut Evidence, unanswered| {
        world.ledger.retain(|entry| entry.order_id != "undone");
        world.checkouts[1].orders.clear();
        world.checkouts[1].unanswered = unanswered;
    };
    check(|world| unheard(world, 0), &[(C::SagasKnown, "undone")]);
    check(|world| unheard(world, 1), &[]);
    check(|world| world.checkouts[1].orders.clear(), &[]);
    let unplaced = Checkout { orders: BTreeSet::new(), unanswered: 1, clicks: 1, ..checkout("nobody") };
    check(|world| world.checkouts.push(unplaced), &[(C::OneOrderEach, "customer-nobody")]);
    check(
        |world| {
            world.ledger.push(Entry {
                action_key: "stray".into(),
                order_id: "lost".into(),
                ..entry("good", COMMIT, Direction::Action)
            })
        },
        &[(C::EffectsKnown, "lost"), (C::OrdersKnown, "lost")],
    );
    check(|world| world.orphans = 1, &[(C::Orphans, "the server")]);
}

#[test]
fn two_orders_of_one_checkout_are_found_even_if_both_answers_were_lost() {
    let twin = |world: &mut Evidence, customer: &str| {
        let mut twin = saga("twin", "compensated", ["refused", "pending", "pending", "pending"]);
        twin.input["customer_id"] = customer.into();
        world.sagas.push(twin);
        for checkout in &mut world.checkouts {
            checkout.orders.clear();
            checkout.unanswered = 2;
        }
    };
    check(|world| twin(world, "customer-good"), &[(Check::OneOrderEach, "customer-good")]);
    check(|world| twin(world, "someone-else"), &[(Check::SagasKnown, "twin")]);
}

#[test]
fn stock_is_accounted_for() {
    check(|world| stock_of(world).free -= 1, &[(Check::Stock, "tea")]);
    check(|world| (stock_of(world).reserved, stock_of(world).free) = (4, 94), &[(Check::Stock, "tea")]);
    check(|world| (stock_of(world).reserved, stock_of(world).sold) = (0, 4), &[(Check::Stock, "tea")]);
    check(|world| (stock_of(world).sold, stock_of(world).free) = (0, 98), &[(Check::Stock, "tea")]);
    // What waits for a person holds its stock only as long as the reservation stands.
    check(|world| forget(world, "parked", RESERVE), &[(Check::Stock, "tea")]);
    check(
        |world| {
            forget(world, "parked", RESERVE);
            (stock_of(world).reserved, stock_of(world).free) = (0, 98);
        },
        &[],
    );
}

#[test]
fn claims_of_dead_letters_are_held_against_the_ledgers() {
    let claim = |step, claim| move |world: &mut Evidence| world.letters = vec![letter("parked", step, claim)];
    let contradicted: &[(Check, &str)] = &[(Check::DeadLetters, "saga-parked.1")];
    check(claim("charge-payment", "done"), &[]);
    check(claim("charge-payment", "undone"), contradicted);
    check(claim("create-shipment", "done"), contradicted);
    check(claim("create-shipment", "undone"), &[]);
    check(claim("charge-payment", "unknown"), &[]);
    check(claim("no-such-step", "undone"), contradicted);
    check(
        |world| world.letters[0].saga = "nobody".into(),
        &[(Check::DeadLetters, "parked"), (Check::DeadLetters, "saga-parked.1")],
    );
    check(|world| world.letters.clear(), &[(Check::DeadLetters, "parked")]);
}
