//! The front door, with a stand-in for the Amends server.

use crate::process::Process;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The inputs of the sagas that were started.
type Inputs = Arc<Mutex<Vec<Value>>>;

/// Starts sagas like the server does: the same customer and lines are one saga, and an order for unicorns is refused.
async fn start(State(inputs): State<Inputs>, Path(name): Path<String>, Json(input): Json<Value>) -> Response {
    assert_eq!(name, "order-fulfilment");
    if input["lines"][0]["sku"] == "unicorn" {
        let problem =
            json!({ "type": "urn:amends:problem:no", "title": "No unicorns", "status": 422, "detail": "None." });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response();
    }
    let mut inputs = inputs.lock().unwrap();
    let same = |known: &&Value| known["customer_id"] == input["customer_id"] && known["lines"] == input["lines"];
    let known = inputs.iter().find(same).cloned();
    let created = known.is_none();
    let order_id = known.unwrap_or_else(|| input.clone())["order_id"].clone();
    if created {
        inputs.push(input.clone());
    }
    let saga = json!({
        "id": format!("saga-{}", inputs.len()), "definition": name, "version": "v", "key": order_id, "status": "running",
        "paused": false, "input": input, "created_at": "2026-01-01T00:00:00.000Z", "steps": [],
    });
    (StatusCode::ACCEPTED, [("amends-created", created.to_string())], Json(saga)).into_response()
}

/// The stand-in on a free port; it runs until the test ends.
fn amends() -> (String, Inputs) {
    let inputs = Inputs::default();
    let router = Router::new().route("/v1/sagas/{definition}", post(start)).with_state(Arc::clone(&inputs));
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    (format!("http://{}", address.recv().unwrap()), inputs)
}

fn cart(customer: &str, sku: &str, quantity: u32) -> Value {
    json!({ "customer_id": customer, "lines": [{ "sku": sku, "quantity": quantity, "price_cents": 1200 }] })
}

#[test]
fn a_checkout_starts_a_saga_and_a_double_click_finds_it() {
    let (url, inputs) = amends();
    let order = Process::start_with("order", &["--amends", &url]);
    let first = order.post_plain("/checkout", cart("ann", "rope", 3));
    assert_eq!((first.status, &first.body["created"]), (202, &json!(true)));
    let second = order.post_plain("/checkout", cart("ann", "rope", 3));
    assert_eq!((second.status, &second.body["created"]), (202, &json!(false)));
    assert_eq!(first.body["order_id"], second.body["order_id"]);
    assert_eq!(first.body["saga_id"], second.body["saga_id"]);
    let other = order.post_plain("/checkout", cart("bob", "rope", 3));
    assert_ne!(first.body["order_id"], other.body["order_id"]);
    let inputs = inputs.lock().unwrap();
    assert_eq!(inputs.len(), 2);
    assert_eq!(inputs[0]["total_cents"], 3600);
    assert_eq!(inputs[0]["order_id"], first.body["order_id"]);
    assert_eq!(
        order.get("/orders"),
        json!({ "placed": 0, "confirmed": 0, "cancelled": 0 }),
        "the saga creates the order"
    );
}

#[test]
fn a_checkout_that_makes_no_sense_starts_nothing() {
    let (url, inputs) = amends();
    let order = Process::start_with("order", &["--amends", &url]);
    let nothing = json!({ "customer_id": "ann", "lines": [] });
    for cart in [nothing, cart("ann", "rope", 0), cart("ann", "rope", u32::MAX)] {
        assert_eq!(order.post_plain("/checkout", cart).status, 422);
    }
    let refused = order.post_plain("/checkout", cart("ann", "unicorn", 1));
    assert_eq!((refused.status, refused.problem()), (422, "checkout-refused"));
    assert!(inputs.lock().unwrap().is_empty());
}

#[test]
fn without_a_server_the_door_says_so() {
    let order = Process::start("order");
    assert_eq!(order.post_plain("/checkout", cart("ann", "rope", 1)).problem(), "checkout-unavailable");
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let order = Process::start_with("order", &["--amends", &nobody]);
    let reply = order.post_plain("/checkout", cart("ann", "rope", 1));
    assert_eq!((reply.status, reply.problem()), (503, "checkout-unavailable"));
}
