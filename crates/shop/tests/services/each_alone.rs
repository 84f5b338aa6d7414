//! Each service alone: done, repeated, undone, undone first, refused.

use crate::process::Process;
use serde_json::{Value, json};

/// An action with a compensation.
struct Pair {
    service: &'static str,
    action: &'static str,
    body: Value,
    compensation: &'static str,
    undo: Value,
}

const ORDER: &str = "0192f0c1-2b1e-7c34-9a53-6a1d8d4f7b10";

fn pairs() -> [Pair; 4] {
    let lines = json!([{ "sku": "rope", "quantity": 3, "price_cents": 1200 }]);
    let order = json!({ "order_id": ORDER, "customer_id": "c-1", "lines": lines, "total_cents": 3600 });
    [
        Pair {
            service: "order",
            action: "/orders",
            body: order,
            compensation: "/orders/0192f0c1-2b1e-7c34-9a53-6a1d8d4f7b10/cancel",
            undo: Value::Null,
        },
        Pair {
            service: "inventory",
            action: "/reservations",
            body: json!({ "order_id": ORDER, "lines": lines }),
            compensation: "/reservations/0192f0c1-2b1e-7c34-9a53-6a1d8d4f7b10/release",
            undo: Value::Null,
        },
        Pair {
            service: "payment",
            action: "/charges",
            body: json!({ "order_id": ORDER, "amount_cents": 3600 }),
            compensation: "/refunds",
            undo: json!({ "order_id": ORDER }),
        },
        Pair {
            service: "shipping",
            action: "/shipments",
            body: json!({ "order_id": ORDER, "reservation_id": "r-1" }),
            compensation: "/shipments/0192f0c1-2b1e-7c34-9a53-6a1d8d4f7b10/cancel",
            undo: Value::Null,
        },
    ]
}

#[test]
fn an_action_is_done_once_and_undone_once() {
    for pair in pairs() {
        let service = Process::start(pair.service);
        let first = service.post(pair.action, "k", pair.body.clone());
        assert_eq!((first.status, first.replayed()), (201, false), "{first:?}");
        let again = service.post(pair.action, "k", pair.body.clone());
        assert_eq!((again.status, again.replayed(), again.body), (201, true, first.body));
        assert_eq!(service.done_and_undone("k"), (1, 0));
        for replayed in [false, true] {
            let undone = service.undo(pair.compensation, "k", pair.undo.clone());
            assert_eq!((undone.status, undone.replayed()), (200, replayed), "{undone:?}");
            assert!(!undone.null_compensation());
        }
        assert_eq!(service.done_and_undone("k"), (1, 1), "{}", pair.service);
        let ledger = service.get(&format!("/ledger?order_id={ORDER}"));
        let directions: Vec<&str> =
            ledger["entries"].as_array().unwrap().iter().map(|entry| entry["direction"].as_str().unwrap()).collect();
        assert_eq!(directions, ["action", "compensation"]);
        assert_eq!(ledger["totals"], json!({ "keys": 1, "done": 1, "undone": 1 }));
        assert_eq!(service.get("/ledger?order_id=another")["entries"], json!([]));
    }
}

#[test]
fn an_action_after_its_compensation_is_refused() {
    for pair in pairs() {
        let service = Process::start(pair.service);
        let undone = service.undo(pair.compensation, "k", pair.undo.clone());
        assert_eq!((undone.status, undone.null_compensation()), (200, true));
        for _ in 0..2 {
            let late = service.post(pair.action, "k", pair.body.clone());
            assert_eq!((late.status, late.problem()), (409, "compensated-before-action"));
            assert!(!late.asks_again());
        }
        assert_eq!(service.done_and_undone("k"), (0, 0), "{}", pair.service);
        assert_eq!(service.post(pair.action, "another", pair.body.clone()).status, 201);
    }
}

#[test]
fn every_endpoint_that_changes_something_needs_a_key() {
    for (service, path) in [
        ("order", "/orders"),
        ("order", "/orders/1/cancel"),
        ("order", "/orders/1/confirm"),
        ("inventory", "/reservations"),
        ("inventory", "/reservations/1/release"),
        ("inventory", "/reservations/1/commit"),
        ("payment", "/charges"),
        ("payment", "/refunds"),
        ("shipping", "/shipments"),
        ("shipping", "/shipments/1/cancel"),
        ("notification", "/notifications"),
        ("analytics", "/events"),
    ] {
        let reply = Process::start(service).post_plain(path, json!({}));
        assert_eq!((reply.status, reply.problem()), (400, "idempotency-key-missing"), "{service} {path}");
    }
}

#[test]
fn what_only_goes_forward_is_done_once() {
    let message = json!({ "order_id": ORDER, "customer_id": "c-1", "template": "order-confirmed" });
    let event = json!({ "order_id": ORDER, "event": "order-completed", "total_cents": 3600 });
    for (service, path, body) in [("notification", "/notifications", message), ("analytics", "/events", event)] {
        let service = Process::start(service);
        let first = service.post(path, "k", body.clone());
        let again = service.post(path, "k", body);
        assert_eq!((first.status, again.status, again.replayed(), first.body), (201, 201, true, again.body));
        assert_eq!(service.done_and_undone("k"), (1, 0));
    }
}

#[test]
fn an_order_is_confirmed_or_cancelled() {
    let service = Process::start("order");
    let [order, ..] = pairs();
    assert_eq!(service.post("/orders/nowhere/confirm", "none", Value::Null).status, 404);
    service.post("/orders", "k", order.body.clone());
    let exists = service.post("/orders", "another", order.body);
    assert_eq!((exists.status, exists.problem(), exists.asks_again()), (409, "order-exists", false));
    assert_eq!(service.get(&format!("/orders/{ORDER}"))["status"], "placed");
    for key in ["confirm", "confirm", "confirm-again"] {
        assert_eq!(service.post(&format!("/orders/{ORDER}/confirm"), key, Value::Null).status, 200);
    }
    let order = service.get(&format!("/orders/{ORDER}"));
    assert_eq!((&order["status"], &order["total_cents"]), (&json!("confirmed"), &json!(3600)));
    assert_eq!(order["lines"][0]["sku"], "rope");
    assert_eq!(service.get("/orders"), json!({ "placed": 0, "confirmed": 1, "cancelled": 0 }));
    let late = service.undo(&format!("/orders/{ORDER}/cancel"), "k", Value::Null);
    assert_eq!((late.status, late.problem()), (409, "already-confirmed"));
    assert_eq!(service.done_and_undone("confirm"), (1, 0));
    assert_eq!(service.done_and_undone("confirm-again"), (0, 0), "nothing was left to do");
}

#[test]
fn stock_is_free_reserved_or_sold() {
    let service = Process::start("inventory");
    assert_eq!(service.put("/stock/rope", json!({ "free": 10 })).body["free"], 10);
    service.put("/stock/anchor", json!({ "free": 1 }));
    let rope = || {
        let stock = service.get("/stock");
        let rope = stock["stock"].as_array().unwrap().iter().find(|product| product["sku"] == "rope").unwrap();
        [&rope["free"], &rope["reserved"], &rope["sold"]].map(|count| count.as_i64().unwrap())
    };
    let reserve = |order: &str, rope: u32, anchor: u32| {
        let lines = json!([{ "sku": "rope", "quantity": rope }, { "sku": "anchor", "quantity": anchor }]);
        service.post("/reservations", order, json!({ "order_id": order, "lines": lines }))
    };
    assert_eq!(reserve("one", 4, 1).status, 201);
    assert_eq!(rope(), [6, 4, 0]);
    let refused = reserve("two", 4, 1);
    assert_eq!((refused.status, refused.problem(), refused.asks_again()), (409, "out-of-stock", false));
    assert_eq!(rope(), [6, 4, 0], "the line that could be reserved was not given back");
    assert!(reserve("two", 4, 1).replayed());
    assert!(service.undo("/reservations/two/release", "two", Value::Null).null_compensation());
    assert_eq!(service.done_and_undone("two"), (0, 0));

    assert_eq!(service.post("/reservations/one/commit", "commit", Value::Null).body["sold"], 1);
    assert_eq!(rope(), [6, 0, 4]);
    assert_eq!(service.post("/reservations/one/commit", "commit-again", Value::Null).status, 200);
    assert_eq!(service.undo("/reservations/one/release", "one", Value::Null).problem(), "already-sold");
    assert_eq!(service.post("/reservations/nobody/commit", "nobody", Value::Null).status, 404);

    let lines = json!([{ "sku": "rope", "quantity": 2 }, { "sku": "rope", "quantity": 3 }]);
    service.post("/reservations", "three", json!({ "order_id": "three", "lines": lines }));
    assert_eq!(rope(), [1, 5, 4]);
    service.undo("/reservations/three/release", "three", Value::Null);
    assert_eq!(rope(), [6, 0, 4]);
    assert_eq!(service.get("/stock")["totals"]["reserved"], 0);
}

#[test]
fn a_reservation_of_nothing_is_refused() {
    let service = Process::start("inventory");
    let nothing = json!([{ "sku": "rope", "quantity": 0 }]);
    let unknown = json!([{ "sku": "unicorn", "quantity": 1 }]);
    for (key, lines, status) in [("a", json!([]), 422), ("b", nothing, 422), ("c", unknown, 409)] {
        let reply = service.post("/reservations", key, json!({ "order_id": key, "lines": lines }));
        assert_eq!((reply.status, reply.asks_again()), (status, false));
        assert_eq!(service.done_and_undone(key), (0, 0));
    }
}

#[test]
fn a_probe_sees_the_charges_of_an_order() {
    let service = Process::start("payment");
    let charges = |order: &str| service.get(&format!("/charges?order_id={order}"));
    assert_eq!(charges(ORDER)["charges"], json!([]));
    service.post("/charges", "k", json!({ "order_id": ORDER, "amount_cents": 3600 }));
    service.post("/charges", "other", json!({ "order_id": "other", "amount_cents": 100 }));
    assert_eq!(charges(ORDER)["charges"].as_array().unwrap().len(), 1);
    service.undo("/refunds", "k", json!({ "order_id": ORDER }));
    assert_eq!(charges(ORDER)["charges"][0]["refunded_cents"], 3600);
    let all = service.get("/charges");
    assert_eq!(all["totals"], json!({ "charged_cents": 3700, "refunded_cents": 3600, "kept_cents": 100 }));
    let refused = service.post("/charges", "nothing", json!({ "order_id": ORDER, "amount_cents": 0 }));
    assert_eq!(refused.status, 422);
}

#[test]
fn a_service_stops_when_it_is_told_to_or_its_parent_goes() {
    for service in ["order", "payment"] {
        let process = Process::start(service);
        assert_eq!(process.get("/healthz"), json!({ "service": service }));
        assert!(process.terminate());
        assert!(Process::start(service).end_input());
    }
}
