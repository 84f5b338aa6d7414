//! The real service behind the workers, and of the server no more than what they ask of it.

use super::*;
use crate::{DEFINITION, Service, ServiceOptions};
use axum::Json;
use axum::routing::post;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;

struct World {
    workers: Workers,
    /// What was sent to the server, path by path.
    heard: Arc<Mutex<Vec<(&'static str, Value)>>>,
    _folder: TempDir,
}

impl World {
    async fn new(faults: &Value) -> World {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = |path: &'static str, answer: Value| {
            let heard = heard.clone();
            post(async move |Json(said): Json<Value>| {
                heard.lock().unwrap().push((path, said));
                Json(answer)
            })
        };
        let saga = json!({
            "id": "s", "definition": "d", "version": "v", "key": "o", "status": "running", "input": {}, "steps": [],
            "created_at": "", "paused": false,
        });
        let server = Router::new()
            .route("/v1/replies", hear("replies", saga))
            .route("/v1/queues/q/handle", hear("handle", json!({ "items": [] })));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, server).await });
        let folder = tempfile::tempdir().unwrap();
        let options = ServiceOptions { faults: faults.to_string(), ..options(Service::Payment, folder.path()) };
        let service = crate::open(&options).unwrap();
        World { workers: Workers { client, queue: "q".into(), service }, heard, _folder: folder }
    }

    async fn perform(&self, command: Value) -> Fate {
        self.workers.perform(message(command)).await
    }

    /// What the server was told since it was asked last.
    fn heard(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    /// The one reply since the last one.
    fn reply(&self) -> Value {
        let heard = self.heard();
        let [("replies", reply)] = &heard[..] else { panic!("{heard:?}") };
        reply.clone()
    }

    async fn request(&self, request: Request<Body>) -> Value {
        let response = self.workers.service.clone().oneshot(request).await.unwrap();
        serde_json::from_slice(&to_bytes(response.into_body(), ANSWER_BYTES).await.unwrap()).unwrap()
    }

    async fn ledger(&self) -> Value {
        let mut ledger = self.request(Request::get("/ledger").body(Body::empty()).unwrap()).await;
        ledger["totals"].take()
    }
}

fn options(service: Service, folder: &Path) -> ServiceOptions {
    ServiceOptions {
        service,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        database: folder.join("service.db"),
        amends: None,
        definition: DEFINITION.into(),
        queue: None,
        workers: NonZeroU8::MIN,
        faults: "none".into(),
        seed: 0,
        exit_with_parent: false,
    }
}

fn message(body: Value) -> QueueMessage {
    QueueMessage { id: "m".into(), body, receipt: "r".into(), receives: 1 }
}

fn action() -> Value {
    json!({
        "id": "s.charge-payment.action.1", "saga": "s", "step": "charge-payment", "direction": "action", "attempt": 1,
        "idempotency_key": "o-s-charge-payment", "traceparent": "00-1-1-01", "not_after": now_ms() + 60_000,
        "body": { "order_id": "o", "amount_cents": 700 },
    })
}

fn compensation() -> Value {
    let mut command = action();
    command["id"] = "s.charge-payment.compensation.1".into();
    command["direction"] = "compensation".into();
    command["idempotency_key"] = "o-s-charge-payment-compensation".into();
    command["action_key"] = "o-s-charge-payment".into();
    command["body"] = json!({ "order_id": "o" });
    command
}

#[test]
fn what_answers_mean() {
    use ReplyOutcome::{Done, NotDone, Refused};
    let answer = |outcome| Verdict::Answer(outcome, None);
    for (direction, status, retry_after_s, expected) in [
        (Direction::Action, 201, None, answer(Done)),
        (Direction::Action, 402, None, answer(Refused)),
        (Direction::Action, 409, None, answer(Refused)),
        (Direction::Action, 410, None, answer(Refused)),
        (Direction::Action, 409, Some(3), Verdict::Later(3)),
        (Direction::Action, 408, None, Verdict::Later(AGAIN_S)),
        (Direction::Action, 425, None, Verdict::Later(AGAIN_S)),
        (Direction::Action, 429, Some(2), Verdict::Answer(NotDone, Some(2))),
        (Direction::Action, 500, None, Verdict::Later(AGAIN_S)),
        (Direction::Action, 503, Some(9), Verdict::Later(9)),
        (Direction::Compensation, 200, None, answer(Done)),
        (Direction::Compensation, 403, None, answer(Refused)),
        (Direction::Compensation, 410, None, answer(Done)),
    ] {
        assert_eq!(judge(direction, status, retry_after_s), expected, "{direction:?} {status} {retry_after_s:?}");
    }
}

#[tokio::test]
async fn a_command_and_a_request_are_one_if_their_key_is() {
    let world = World::new(&json!([])).await;
    let command = action();
    let request = Request::post("/charges")
        .header("content-type", "application/json")
        .header("idempotency-key", command["idempotency_key"].as_str().unwrap())
        .body(Body::from(command["body"].to_string()));
    let charged = world.request(request.unwrap()).await;
    for _ in 0..2 {
        assert_eq!(world.perform(command.clone()).await, Fate::Over);
        assert_eq!(world.reply(), json!({ "to": command["id"], "outcome": "done", "output": charged }));
    }
    assert_eq!(world.ledger().await, json!({ "keys": 1, "done": 1, "undone": 0 }));

    let mut other = command;
    other["body"]["amount_cents"] = 1.into();
    assert_eq!(world.perform(other).await, Fate::Over);
    assert_eq!(world.reply()["outcome"], "refused", "the key belongs to another charge");
}

#[tokio::test]
async fn an_action_that_comes_after_its_compensation_is_refused() {
    let world = World::new(&json!([])).await;
    assert_eq!(world.perform(compensation()).await, Fate::Over);
    assert_eq!(world.reply()["outcome"], "done");
    assert_eq!(world.perform(action()).await, Fate::Over);
    let reply = world.reply();
    assert!(reply["outcome"] == "refused" && reply["error"].as_str().unwrap().contains("answered 409"), "{reply}");
    assert_eq!(world.ledger().await, json!({ "keys": 0, "done": 0, "undone": 0 }));
}

#[tokio::test]
async fn what_comes_too_late_is_not_begun_with() {
    let world = World::new(&json!([])).await;
    let mut late = action();
    late["not_after"] = (now_ms() - 1).into();
    assert_eq!(world.perform(late).await, Fate::Over);
    assert_eq!(world.heard(), [], "whoever sent it has stopped waiting");
    assert_eq!(world.ledger().await["done"], 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_given_when_the_message_comes_again() {
    let world = World::new(&json!([{ "fault": "lost-response", "limit": 1 }])).await;
    assert_eq!(world.perform(action()).await, Fate::Silence);
    assert_eq!(world.heard(), []);
    assert_eq!(world.perform(action()).await, Fate::Over);
    assert_eq!(world.reply()["outcome"], "done");
    assert_eq!(world.ledger().await["done"], 1);
}

#[tokio::test]
async fn what_is_no_command_or_cannot_be_done_now_comes_again() {
    let world = World::new(&json!([{ "fault": { "error": { "status": 503 } }, "limit": 1 }])).await;
    assert_eq!(world.perform(json!("?")).await, Fate::Again(AGAIN_S));
    let mut odd = action();
    odd["idempotency_key"] = "two\nlines".into();
    assert_eq!(world.perform(odd).await, Fate::Again(AGAIN_S));
    assert_eq!(world.perform(action()).await, Fate::Again(AGAIN_S));
    assert_eq!(world.heard(), []);
    assert_eq!(world.perform(action()).await, Fate::Over);
}

#[tokio::test]
async fn a_message_is_kept_while_it_is_worked_on_and_dealt_with_after_the_answer() {
    let long = BETWEEN_EXTENSIONS.as_millis() + 500;
    let slow = json!([{ "fault": { "latency": { "min_ms": long, "max_ms": long } }, "limit": 1 }]);
    let world = World::new(&slow).await;
    world.workers.deal_with(message(action())).await;
    let heard = world.heard();
    let said = |then: &str, after: Value| {
        let message = match after {
            Value::Null => json!({ "receipt": "r", "then": then }),
            after => json!({ "receipt": "r", "then": then, "after": after }),
        };
        ("handle", json!({ "messages": [message] }))
    };
    assert_eq!(heard[0], said("extend", json!(VISIBILITY)));
    assert_eq!((heard[1].0, &heard[1].1["outcome"]), ("replies", &json!("done")));
    assert_eq!(heard[2..], [said("acknowledge", Value::Null)]);
    world.workers.deal_with(message(json!("?"))).await;
    assert_eq!(world.heard(), [said("reject", json!("1s"))]);
}

#[tokio::test]
async fn only_the_payment_service_takes_commands_by_message_and_needs_a_server_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let amends = Some("http://127.0.0.1:1".to_owned());
    for (service, amends, part) in [(Service::Order, amends, "takes no commands"), (Service::Payment, None, "address")]
    {
        let options = ServiceOptions { amends, queue: Some("q".into()), ..options(service, folder.path()) };
        let error = crate::run(options).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
