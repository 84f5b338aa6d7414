//! The saga that everything here performs, and the services that it calls.
//!
//! Four steps: two that can be undone, one that may refuse, and one that only goes forward. Each sends a small body with
//! an idempotency key, and each service answers with a receipt.

use crate::http::{json, serve};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::AddAssign;
use std::rc::Rc;
use std::time::Duration;

/// The paths of the four actions, in their order.
pub const ACTIONS: [&str; 4] = ["/reserve", "/charge", "/ship", "/notify"];
/// The paths of the compensations of the first two.
pub const COMPENSATIONS: [&str; 2] = ["/reserve/undo", "/charge/undo"];
/// Where the ledger is read, and begun anew.
pub const LEDGER: &str = "/ledger";
/// The place of the step that refuses.
pub const REFUSING: usize = 2;

/// The same for Amends. Everything is one participant with four names.
pub const DEFINITION: &str = r#"
saga: bench
key: "{{ input.id }}"
steps:
  reserve:
    action: { post: "inventory:/reserve", body: { order: "{{ input.id }}", sku: "{{ input.sku }}", quantity: "{{ input.quantity }}" } }
    compensation: { post: "inventory:/reserve/undo", body: { order: "{{ input.id }}" } }
  charge:
    action: { post: "payment:/charge", body: { order: "{{ input.id }}", cents: "{{ input.cents }}" } }
    compensation: { post: "payment:/charge/undo", body: { order: "{{ input.id }}" } }
  ship:
    kind: pivot
    action: { post: "shipping:/ship", body: { order: "{{ input.id }}", refuse: "{{ input.refuse }}" } }
  notify:
    kind: retriable
    action: { post: "notification:/notify", body: { order: "{{ input.id }}", charged: "{{ steps.charge.output.receipt }}" } }
"#;
/// A saga that is at rest.
pub const SLEEPER: &str = "saga: sleeper\nkey: '{{ input.id }}'\nsteps:\n  sleep: { sleep: 24h }\n";
/// The participants that the definition names.
pub const PARTICIPANTS: [&str; 4] = ["inventory", "payment", "shipping", "notification"];

/// What a saga is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The business key.
    pub id: String,
    /// What is bought.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// The price.
    pub cents: u64,
    /// Whether the third step refuses.
    pub refuse: bool,
}

impl Order {
    /// The order with this number.
    pub fn new(number: u64, refuse: bool) -> Order {
        Order { id: format!("order-{number}"), sku: "red-bicycle".into(), quantity: 2, cents: 129_900, refuse }
    }

    /// The body of the action in this place. `receipt` is what the second one answered.
    pub fn action(&self, place: usize, receipt: &str) -> String {
        let Order { id, sku, quantity, cents, refuse } = self;
        match place {
            0 => format!(r#"{{"order":"{id}","sku":"{sku}","quantity":{quantity}}}"#),
            1 => format!(r#"{{"order":"{id}","cents":{cents}}}"#),
            2 => format!(r#"{{"order":"{id}","refuse":{refuse}}}"#),
            _ => format!(r#"{{"order":"{id}","charged":"{receipt}"}}"#),
        }
    }

    /// The body of each compensation.
    pub fn compensation(&self) -> String {
        format!(r#"{{"order":"{}"}}"#, self.id)
    }
}

/// A service's answer.
#[derive(Debug, Deserialize)]
pub struct Receipt<'a> {
    /// What it is filed under.
    pub receipt: &'a str,
}

/// What the services did since the last time they were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Actions that took effect.
    pub done: u64,
    /// Compensations that took effect.
    pub undone: u64,
    /// Requests under a key that was there before.
    pub repeated: u64,
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, more: Ledger) {
        self.done += more.done;
        self.undone += more.undone;
        self.repeated += more.repeated;
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    refuse: bool,
}

/// Serves all services until the process ends, each answer `latency` late.
pub async fn run(latency: Duration) -> anyhow::Result<()> {
    let services = Rc::new(Services { latency, ledger: RefCell::default(), keys: RefCell::default() });
    serve(move |request| services.clone().answer(request)).await
}

struct Services {
    latency: Duration,
    ledger: RefCell<Ledger>,
    keys: RefCell<HashSet<Bytes>>,
}

impl Services {
    async fn answer(self: Rc<Services>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if head.uri.path() == LEDGER {
            self.keys.take();
            return json(StatusCode::OK, serde_json::to_vec(&self.ledger.take()).expect("numbers are JSON"));
        }
        let Ok(body) = body.collect().await.map(Collected::to_bytes) else {
            return json(StatusCode::BAD_REQUEST, r#"{"detail":"the body broke off"}"#);
        };
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let Ok(Body { refuse }) = serde_json::from_slice(&body) else {
            return json(StatusCode::BAD_REQUEST, r#"{"detail":"that is no order"}"#);
        };
        let Some(key) = head.headers.get("idempotency-key") else {
            return json(StatusCode::BAD_REQUEST, r#"{"detail":"there is no idempotency key"}"#);
        };
        if refuse {
            return json(StatusCode::UNPROCESSABLE_ENTITY, r#"{"detail":"there is no way to ship it"}"#);
        }
        let number = self.file(head.uri.path(), key.as_bytes());
        json(StatusCode::OK, format!(r#"{{"receipt":"r-{number}"}}"#))
    }

    /// Writes down what was done, and gives it a number.
    fn file(&self, path: &str, key: &[u8]) -> usize {
        let (mut ledger, mut keys) = (self.ledger.borrow_mut(), self.keys.borrow_mut());
        let count = match (keys.insert(Bytes::copy_from_slice(key)), path.ends_with("/undo")) {
            (false, _) => &mut ledger.repeated,
            (true, true) => &mut ledger.undone,
            (true, false) => &mut ledger.done,
        };
        *count += 1;
        keys.len()
    }
}
