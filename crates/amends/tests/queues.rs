//! Steps that are performed by message, against a real server over SQLite: a service that lives off its queue.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use amends_client::{Client, Saga, SagaStatus, StartOptions, StepStatus};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);

const ORDER: &str = "
saga: order
key: \"{{ input.id }}\"
steps:
  pay:
    action: { send: \"queue:payments\", body: { amount: \"{{ input.amount }}\" }, timeout: \"{{TIMEOUT}}\" }
    compensation: { send: \"queue:payments\", body: { receipt: \"{{ output.receipt | default('none') }}\" } }
    retry: { attempts: 3, initial: 10ms, max: 10ms }
  approval: { wait: 1h }
";

struct World {
    server: Server,
    base: String,
    client: Client,
    http: reqwest::Client,
    directory: TempDir,
}

impl World {
    /// A server whose step waits so long for its answer.
    async fn new(timeout: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let sagas = directory.path().join("sagas");
        std::fs::create_dir(&sagas).unwrap();
        std::fs::write(sagas.join("order.yaml"), ORDER.replace("{{TIMEOUT}}", timeout)).unwrap();
        let text = "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\nshutdown_grace = \"5s\"\n\
             [queues.payments]\nreceives = 3\nvisibility = \"1s\"\n[queues.answers]\nholds = \"replies\"\nreceives = 2\n";
        std::fs::write(directory.path().join("amends.toml"), text).unwrap();
        let server = serve(directory.path()).await;
        let base = format!("http://{}", server.address());
        let client = Client::new(&base).unwrap().acting_as("ada");
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        World { server, base, client, http, directory }
    }

    async fn start(&self, id: &str) -> Saga {
        let input = json!({ "id": id, "amount": 7 });
        self.client.start("order", &input, StartOptions::default()).await.unwrap().saga
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.http.post(format!("{}{path}", self.base)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap().json().await.unwrap()
    }

    /// The next command, which stays invisible to others for a second.
    async fn command(&self) -> Value {
        let (status, received) = self.post("/v1/queues/payments/receive", json!({ "limit": 1, "wait": "20s" })).await;
        assert_eq!(status, 200, "{received}");
        received["items"][0].clone()
    }

    async fn acknowledge(&self, message: &Value) {
        let handling = json!({ "messages": [{ "receipt": message["receipt"], "then": "acknowledge" }] });
        let (_, handled) = self.post("/v1/queues/payments/handle", handling).await;
        assert_eq!(handled["items"][0]["outcome"], "done", "{handled}");
    }

    async fn saga_when(&self, id: &str, step: &str, status: StepStatus) -> Saga {
        let until = Instant::now() + PATIENCE;
        loop {
            let saga = self.client.saga(id).await.unwrap();
            if saga.steps.iter().any(|found| found.name == step && found.status == status) {
                return saga;
            }
            assert!(Instant::now() < until, "{step} does not become {status:?}: {saga:#?}");
            sleep(Duration::from_millis(20)).await; // tidy: allow-sleep what is looked for gives no signal
        }
    }
}

async fn serve(directory: &Path) -> Server {
    let file = Some(directory.join("amends.toml"));
    Server::start(&Config::load(&Sources { file, ..Sources::default() }).unwrap()).await.unwrap()
}

/// The command says all that a service needs; the answer by callback makes the step done, and the saga goes on.
#[tokio::test]
async fn a_command_is_received_and_answered_by_callback() {
    let world = World::new("1h").await;
    let saga = world.start("o-1").await;
    let message = world.command().await;
    let command = &message["body"];
    assert_eq!(message["id"], command["id"]);
    assert_eq!(message["id"], format!("{}.pay.action.1", saga.id));
    assert_eq!(command["body"], json!({ "amount": 7 }));
    assert_eq!(
        (&command["step"], &command["direction"], &command["attempt"]),
        (&json!("pay"), &json!("action"), &json!(1))
    );
    let pay = world.client.saga(&saga.id).await.unwrap().steps.remove(0);
    assert_eq!(command["idempotency_key"], pay.idempotency_key.unwrap());
    assert_eq!(pay.status, StepStatus::Running);
    let reply = json!({ "to": message["id"], "outcome": "done", "output": { "receipt": "r-1" } });
    let (status, told) = world.post("/v1/replies", reply.clone()).await;
    assert_eq!((status, &told["steps"][0]["output"]), (200, &json!({ "receipt": "r-1" })));
    world.acknowledge(&message).await;
    world.saga_when(&saga.id, "approval", StepStatus::Waiting).await;
    let (status, problem) = world.post("/v1/replies", reply).await;
    assert_eq!((status, &problem["detail"]), (409, &json!("nobody waits for this answer any more")));
    world.server.stop().await.unwrap();
}

/// A compensation is a command like any other, and names the action that it undoes. The answers come over a queue.
#[tokio::test]
async fn a_compensation_is_sent_and_answered_over_a_queue() {
    let world = World::new("1h").await;
    let saga = world.start("o-2").await;
    let answer = async |message: &Value, reply: Value| {
        let sent = json!({ "id": format!("answer to {}", message["id"]), "body": reply });
        let (status, problem) = world.post("/v1/queues/answers/messages", sent).await;
        assert_eq!(status, 200, "{problem}");
        world.acknowledge(message).await;
    };
    let message = world.command().await;
    answer(&message, json!({ "to": message["id"], "outcome": "done", "output": { "receipt": "r-2" } })).await;
    world.saga_when(&saga.id, "approval", StepStatus::Waiting).await;
    world.client.fail_step(&saga.id, "approval", "no").await.unwrap();
    let undo = world.command().await;
    assert_eq!(undo["id"], format!("{}.pay.compensation.1", saga.id));
    assert_eq!(undo["body"]["body"], json!({ "receipt": "r-2" }));
    assert_eq!(undo["body"]["action_key"], message["body"]["idempotency_key"]);
    assert_ne!(undo["body"]["idempotency_key"], message["body"]["idempotency_key"]);
    answer(&undo, json!({ "to": undo["id"], "outcome": "done" })).await;
    let saga = world.saga_when(&saga.id, "pay", StepStatus::Compensated).await;
    assert_eq!(saga.status, SagaStatus::Compensated);
    world.server.stop().await.unwrap();
}

/// The command is sent again when no answer comes in time, under the same key; and what comes late is taken.
#[tokio::test]
async fn what_is_not_answered_is_sent_again() {
    let world = World::new("300ms").await;
    let saga = world.start("o-3").await;
    let first = world.command().await;
    world.acknowledge(&first).await;
    let second = world.command().await;
    assert_eq!(second["id"], format!("{}.pay.action.2", saga.id));
    assert_eq!(second["body"]["idempotency_key"], first["body"]["idempotency_key"]);
    let (status, told) = world.post("/v1/replies", json!({ "to": first["id"], "outcome": "done" })).await;
    assert_eq!((status, &told["steps"][0]["status"]), (200, &json!("done")));
    world.server.stop().await.unwrap();
}

/// The saga is a row meanwhile, so the answer finds it after a restart.
#[tokio::test]
async fn an_answer_that_comes_after_a_restart_is_taken() {
    let world = World::new("1h").await;
    let saga = world.start("o-4").await;
    let message = world.command().await;
    let World { server, directory, http, .. } = world;
    server.stop().await.unwrap();
    let server = serve(directory.path()).await;
    let address = format!("http://{}/v1/replies", server.address());
    let reply = json!({ "to": message["id"], "outcome": "done", "output": 1 });
    let told: Value = http.post(address).json(&reply).send().await.unwrap().json().await.unwrap();
    assert_eq!((&told["id"], &told["steps"][0]["output"]), (&json!(saga.id), &json!(1)));
    server.stop().await.unwrap();
}

/// What nobody can deal with is dead after a while, is seen, and comes again when somebody says so.
#[tokio::test]
async fn a_command_that_nobody_deals_with_is_dead_until_it_is_redriven() {
    let world = World::new("1h").await;
    let saga = world.start("o-5").await;
    for receives in 1..=3 {
        let message = world.command().await;
        assert_eq!(message["receives"], receives);
        let reject = json!({ "messages": [{ "receipt": message["receipt"], "then": "reject" }] });
        world.post("/v1/queues/payments/handle", reject).await;
    }
    let (_, none) = world.post("/v1/queues/payments/receive", json!({})).await;
    assert_eq!(none["items"], json!([]));
    let dead = world.get("/v1/queues/payments/dead").await;
    assert_eq!(
        (&dead["items"][0]["id"], &dead["items"][0]["receives"]),
        (&json!(format!("{}.pay.action.1", saga.id)), &json!(3))
    );
    assert_eq!(dead["items"][0].get("body"), None, "what it says may not be for everybody");
    let depths = world.get("/v1/queues").await;
    let payments = json!({ "name": "payments", "is_in_store": true, "ready": 0, "invisible": 0, "dead": 1 });
    assert_eq!(depths["items"][1], payments);
    let redrive = json!({ "per_second": 10, "reason": "the service is back" });
    let (status, begun) = world.post("/v1/queues/payments/redrives", redrive).await;
    assert_eq!((status, &begun["total"]), (200, &json!(1)));
    assert_eq!(world.command().await["receives"], 1);
    let listed = world.get("/v1/queues/payments/redrives").await;
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["moved"]), (&begun["id"], &json!(1)));
    let (status, _) = world.post("/v1/queues/payments/redrives/nothing/cancel", json!({})).await;
    assert_eq!(status, 404);
    world.server.stop().await.unwrap();
}

/// Somebody must look at it, so it stays where it can be found.
#[tokio::test]
async fn what_is_no_answer_becomes_a_dead_message() {
    let world = World::new("1h").await;
    for (id, body) in [("a", json!("?")), ("b", json!({ "to": "nothing", "outcome": "done" }))] {
        world.post("/v1/queues/answers/messages", json!({ "id": id, "body": body })).await;
    }
    let stranger = json!({ "to": "00000000-0000-7000-8000-000000000000.pay.action.1", "outcome": "done" });
    world.post("/v1/queues/answers/messages", json!({ "id": "c", "body": stranger })).await;
    let until = Instant::now() + PATIENCE;
    loop {
        let depths = world.get("/v1/queues").await;
        let answers = &depths["items"][0];
        if answers["ready"] == 0 && answers["invisible"] == 2 {
            break;
        }
        assert!(Instant::now() < until, "{depths}");
        sleep(Duration::from_millis(20)).await; // tidy: allow-sleep what is looked for gives no signal
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = World::new("1h").await;
    for (path, body, status, part) in [
        ("/v1/queues/paymentz/receive", json!({}), 404, "no queue `paymentz` is configured"),
        ("/v1/queues/payments/receive", json!({ "limit": 0 }), 400, "`limit` is 1 to 100"),
        ("/v1/queues/payments/receive", json!({ "wait": "soon" }), 400, "`wait`"),
        ("/v1/queues/payments/receive", json!({ "visibility": "13h" }), 400, "twelve hours"),
        ("/v1/queues/payments/handle", json!({ "messages": [] }), 400, "1 to 100"),
        ("/v1/queues/payments/messages", json!({ "id": "" }), 400, "`id`"),
        ("/v1/queues/payments/redrives", json!({ "per_second": 0, "reason": "x" }), 400, "1 to 500"),
        ("/v1/queues/payments/redrives", json!({ "per_second": 1, "reason": " " }), 400, "reason"),
        ("/v1/replies", json!({ "to": "x", "outcome": "done" }), 422, "`id` of the command"),
        ("/v1/replies", json!({ "to": "x", "outcome": "perhaps" }), 400, "perhaps"),
    ] {
        let (found, problem) = world.post(path, body.clone()).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(found == status && detail.contains(part), "{path} {body}: {found} {problem}");
    }
    let stale = json!({ "messages": [{ "receipt": "?", "then": "acknowledge" }] });
    let (_, handled) = world.post("/v1/queues/payments/handle", stale).await;
    assert_eq!(handled["items"][0]["outcome"], "stale");
    world.server.stop().await.unwrap();
}
