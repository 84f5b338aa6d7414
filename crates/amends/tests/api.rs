//! The API as it is meant to be used, against a real server over SQLite.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use amends_client::{
    AuditQuery, Change, Claim, Client, DeadLetter, DeadLetterAction, DeadLetterQuery, Decision, EditDeadLetter, Effect,
    Error, Event, GroupQuery, Plan, Reason, ResolveDeadLetter, Saga, SagaOrder, SagaQuery, SagaStatus, StartOptions,
    StepStatus,
};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const ENDS: &str = "
saga: ends
key: \"{{ input.id }}\"
steps:
  work: { action: { post: \"shop:/works\" }, compensation: none }
";
const WAITS: &str = "
saga: waits
key: \"{{ input.id }}\"
steps:
  work: { action: { post: \"shop:/works\" }, compensation: { post: \"shop:/works\" } }
  approval: { wait: 1h }
";
const STICKS: &str = "
saga: sticks
key: \"{{ input.id }}\"
steps:
  pay: { action: { post: \"shop:/works\" }, compensation: { post: \"shop:/is-gone\" } }
  ship: { action: { post: \"shop:/refuses\" }, compensation: none }
";
/// Its second step may have happened, and nobody can say.
const DOUBTS: &str = "
saga: doubts
key: \"{{ input.id }}\"
steps:
  pay: { action: { post: \"shop:/works\" }, compensation: { post: \"shop:/works\" } }
  ship:
    action: { post: \"shop:/fails\" }
    effects: at-most-once
    compensation: { post: \"shop:/works\" }
";
/// Its second step is refused unless its amount is a small one.
const PICKY: &str = "
saga: picky
key: \"{{ input.id }}\"
steps:
  pay: { action: { post: \"shop:/works\" }, compensation: { post: \"shop:/works\" } }
  book:
    kind: retriable
    action: { post: \"shop:/picky\", body: { amount: 1000, note: \"{{ input.id }}\" } }
";

struct World {
    server: Server,
    base: String,
    client: Client,
    http: reqwest::Client,
    /// The `traceparent` of every call to the participant.
    traceparents: Arc<Mutex<Vec<String>>>,
    /// Key and body of every call to what is picky.
    picked: Picked,
    directory: TempDir,
}

type Picked = Arc<Mutex<Vec<(String, Value)>>>;

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let traceparents = Arc::default();
        let picked = Picked::default();
        let shop = participant(Arc::clone(&traceparents), Arc::clone(&picked)).await;
        let sagas = directory.path().join("sagas");
        std::fs::create_dir(&sagas).unwrap();
        for (name, source) in [("ends.yaml", ENDS), ("waits.yml", WAITS), ("sticks.yaml", STICKS), ("notes.txt", "?")] {
            std::fs::write(sagas.join(name), source).unwrap();
        }
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\nshutdown_grace = \"5s\"\n\
             [participants.shop]\nurl = \"http://{shop}\"\n"
        );
        std::fs::write(directory.path().join("amends.toml"), text).unwrap();
        let server = serve(directory.path()).await;
        let base = format!("http://{}", server.address());
        let client = Client::new(&base).unwrap().acting_as("ada");
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        World { server, base, client, http, traceparents, picked, directory }
    }

    async fn start(&self, definition: &str, id: &str) -> Saga {
        let wait = (definition != "waits").then_some(PATIENCE);
        let options = StartOptions { wait, ..StartOptions::default() };
        self.client.start(definition, &json!({ "id": id }), options).await.unwrap().saga
    }

    /// Starts a saga and waits until it waits for its approval.
    async fn start_and_wait(&self, id: &str) -> Saga {
        let saga = self.start("waits", id).await;
        let mut stream = self.client.follow(&saga.id, 0).await.unwrap();
        while stream.next().await.unwrap().expect("it does not end").kind != "wait-started" {}
        self.client.saga(&saga.id).await.unwrap()
    }

    /// A start with this preference, and its answer.
    async fn start_raw(&self, definition: &str, id: &str, prefer: &str) -> reqwest::Response {
        let request = self.http.post(format!("{}/v1/sagas/{definition}", self.base)).header("prefer", prefer);
        request.json(&json!({ "id": id })).send().await.unwrap()
    }

    async fn events(&self, id: &str, after: u64) -> Vec<Event> {
        let mut stream = self.client.follow(id, after).await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = timeout(PATIENCE, stream.next()).await.unwrap().unwrap() {
            events.push(event);
        }
        events
    }

    async fn text(&self, path: &str) -> (StatusCode, String) {
        let response = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }
}

async fn serve(directory: &Path) -> Server {
    let config = Config::load(&Sources { file: Some(directory.join("amends.toml")), ..Sources::default() }).unwrap();
    Server::start(&config).await.unwrap()
}

/// A service that does as its paths say, and notes the traces of its calls.
async fn participant(traceparents: Arc<Mutex<Vec<String>>>, picked: Picked) -> SocketAddr {
    let works = move |headers: HeaderMap| async move {
        traceparents.lock().unwrap().push(headers["traceparent"].to_str().unwrap().to_owned());
        axum::Json(json!({ "worked": true }))
    };
    let picky = move |headers: HeaderMap, axum::Json(body): axum::Json<Value>| async move {
        let is_small = body["amount"].as_u64().is_some_and(|amount| amount < 100);
        picked.lock().unwrap().push((headers["idempotency-key"].to_str().unwrap().to_owned(), body));
        if is_small { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
    };
    let router = Router::new()
        .route("/works", post(works))
        .route("/picky", post(picky))
        .route("/fails", post(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/refuses", post(|| async { StatusCode::UNPROCESSABLE_ENTITY }))
        .route("/is-gone", post(|| async { StatusCode::NOT_FOUND }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

fn is_conflict(result: Result<impl std::fmt::Debug, Error>) -> bool {
    matches!(result, Err(Error::Refused(problem)) if problem.status == 409)
}

#[tokio::test]
async fn a_start_is_accepted_and_found_again() {
    let world = World::new().await;
    assert_eq!(world.server.definitions(), ["ends", "sticks", "waits"]);
    let response = world.start_raw("waits", "a", "respond-async").await;
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["amends-created"], "true");
    assert!(response.headers().get("preference-applied").is_none());
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Saga = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/sagas/{}", accepted.id));
    let (status, text) = world.text(&location).await;
    let found: Saga = serde_json::from_str(&text).unwrap();
    assert_eq!((status, found.id.as_str(), found.key.as_str()), (StatusCode::OK, accepted.id.as_str(), "a"));
    let key = format!("a-{}-work", accepted.id);
    assert_eq!(found.steps[0].idempotency_key.as_deref(), Some(key.as_str()));
    assert_eq!(found.steps[1].idempotency_key, None, "a step that waits calls nobody");

    let again = world.start_raw("waits", "a", "").await;
    assert_eq!((again.status().as_u16(), again.headers()["amends-created"].to_str().unwrap()), (200, "false"));
    assert_eq!(again.json::<Saga>().await.unwrap().id, accepted.id);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn who_waits_is_told_the_outcome_or_that_there_is_none_yet() {
    let world = World::new().await;
    for (definition, prefer, status, outcome, applied) in [
        ("ends", "wait=30", 200, SagaStatus::Completed, "wait=30"),
        ("sticks", "wait=600", 200, SagaStatus::Stuck, "wait=60"),
        ("waits", "wait=1", 202, SagaStatus::Running, "wait=1"),
        ("waits", "wait=0", 200, SagaStatus::Running, "wait=0"),
        ("ends", "wait=30", 200, SagaStatus::Completed, "wait=30"),
    ] {
        let response = world.start_raw(definition, "a", prefer).await;
        assert_eq!(response.status(), status, "{definition} {prefer}");
        assert_eq!(response.headers()["preference-applied"], applied);
        assert_eq!(response.json::<Saga>().await.unwrap().status, outcome);
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_callers_trace_goes_on() {
    let world = World::new().await;
    for (id, traceparent) in [("a", TRACEPARENT), ("b", "nonsense")] {
        let options = StartOptions { wait: Some(PATIENCE), traceparent: Some(traceparent.into()) };
        world.client.start("ends", &json!({ "id": id }), options).await.unwrap();
    }
    let carried = world.traceparents.lock().unwrap().clone();
    let trace = |traceparent: &str| traceparent.split('-').nth(1).unwrap().to_owned();
    assert_eq!(trace(&carried[0]), trace(TRACEPARENT));
    assert_ne!(carried[0], TRACEPARENT, "the call is a span of its own");
    assert_ne!(trace(&carried[1]), trace(TRACEPARENT));
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_history_is_the_same_as_pages_and_as_a_stream() {
    let world = World::new().await;
    let saga = world.start("ends", "a").await;
    let whole = world.client.events(&saga.id).await.unwrap();
    let kinds: Vec<&str> = whole.items.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["started", "action-started", "action-done", "completed"]);
    assert_eq!((sequences(&whole.items), whole.next), (vec![1, 2, 3, 4], None));
    assert_eq!(whole.items[2].step.as_deref(), Some("work"));
    assert_eq!(whole.items[2].detail, json!({ "output": { "worked": true } }));

    let mut pages = Vec::new();
    let mut path = format!("/v1/sagas/{}/events?limit=3", saga.id);
    loop {
        let page: amends_client::Page<Event> = serde_json::from_str(&world.text(&path).await.1).unwrap();
        pages.extend(page.items);
        let Some(next) = page.next else { break };
        path = format!("/v1/sagas/{}/events?limit=3&cursor={next}", saga.id);
    }
    assert_eq!(pages, whole.items);
    assert_eq!(world.events(&saga.id, 0).await, whole.items);
    assert_eq!(world.events(&saga.id, 2).await, whole.items[2..]);
    assert_eq!(world.events(&saga.id, 4).await, []);
    assert_eq!(world.events(&saga.id, 1_000).await, []);
    world.server.stop().await.unwrap();
}

/// Whoever reads a long history reads all of it, the newest attempts too.
#[tokio::test]
async fn a_client_reads_every_page_of_a_history() {
    let page = |first: u64, next: Option<&str>| {
        let event =
            |sequence| json!({ "sequence": sequence, "at": "2026-03-01T02:47:48.000Z", "type": "action-failed" });
        json!({ "items": [event(first), event(first + 1)], "next": next }).to_string()
    };
    let events = move |uri: axum::http::Uri| async move {
        match uri.query() {
            None => page(1, Some("a b")),
            Some("cursor=a+b") => page(3, Some("c")),
            Some("cursor=c") => page(5, None),
            Some(other) => panic!("asked for {other}"),
        }
    };
    let router = Router::new().route("/v1/sagas/long/events", axum::routing::get(events));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let whole = client.events("long").await.unwrap();
    assert_eq!((sequences(&whole.items), whole.next), (vec![1, 2, 3, 4, 5, 6], None));
}

#[tokio::test]
async fn a_stream_goes_on_live_and_tells_each_event_once() {
    let world = World::new().await;
    let saga = world.start_and_wait("a").await;
    let mut streams = Vec::new();
    for after in [0, 0, 3] {
        streams.push((after, world.client.follow(&saga.id, after).await.unwrap()));
    }
    // Events that are there already come first; that they came shows that the stream follows.
    for (after, stream) in &mut streams {
        assert_eq!(stream.next().await.unwrap().unwrap().sequence, *after + 1);
    }
    let completed = world.client.complete_step(&saga.id, "approval", json!({ "by": "ada" })).await.unwrap();
    assert_eq!(completed.status, SagaStatus::Completed);
    let all = world.client.events(&saga.id).await.unwrap().items;
    for (after, mut stream) in streams {
        let mut rest = Vec::new();
        while let Some(event) = timeout(PATIENCE, stream.next()).await.unwrap().unwrap() {
            rest.push(event);
        }
        assert_eq!(rest, all[usize::try_from(after).unwrap() + 1..]);
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_is_what_the_standard_says() {
    let world = World::new().await;
    let saga = world.start("ends", "a").await;
    let request = world.http.get(format!("{}/v1/sagas/{}/events", world.base, saga.id));
    let response = request.header("accept", "application/json;q=0.1, text/event-stream").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let text = response.text().await.unwrap();
    let blocks: Vec<&str> = text.trim_end().split("\n\n").collect();
    assert_eq!(blocks.len(), 4, "{text}");
    let lines: Vec<&str> = blocks[3].lines().collect();
    assert!(lines.contains(&"id: 4") && lines.contains(&"event: completed"), "{text}");
    let data = lines.iter().find_map(|line| line.strip_prefix("data: ")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap()["type"], "completed");
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        ids.insert(0, world.start("ends", id).await.id);
    }
    let stuck = world.start("sticks", "a").await.id;
    let list = async |query: SagaQuery| world.client.sagas(&query).await.unwrap();
    let of = |definition: &str| SagaQuery { definition: Some(definition.into()), ..SagaQuery::default() };

    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = list(SagaQuery { limit: Some(2), cursor, ..of("ends") }).await;
        seen.extend(page.items.into_iter().map(|saga| saga.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids, "newest first, none twice and none left out");
    let one = |query: SagaQuery| async { list(query).await.items.into_iter().map(|saga| saga.id).collect::<Vec<_>>() };
    assert_eq!(one(SagaQuery { key: Some("a".into()), ..of("ends") }).await, [ids[4].clone()]);
    assert_eq!(one(SagaQuery { status: Some(SagaStatus::Stuck), ..SagaQuery::default() }).await, [stuck]);
    assert_eq!(one(of("nothing")).await, Vec::<String>::new());
    assert_eq!(one(SagaQuery::default()).await.len(), 6);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn orders_are_carried_out_and_put_on_record() {
    let world = World::new().await;
    let saga = world.start_and_wait("a").await;
    assert_eq!((saga.status, saga.steps[1].status), (SagaStatus::Running, StepStatus::Waiting));
    assert!(saga.steps[1].next_at.is_some(), "a wait has an end");

    assert!(is_conflict(world.client.resume(&saga.id, "it is not held").await));
    assert!(world.client.pause(&saga.id, "the warehouse moves").await.unwrap().paused);
    assert!(is_conflict(world.client.pause(&saga.id, "again").await));
    assert!(!world.client.resume(&saga.id, "it has moved").await.unwrap().paused);
    world.client.cancel(&saga.id, "the customer has died").await.unwrap();
    let end = world.events(&saga.id, 0).await;
    assert_eq!(end.last().unwrap().kind, "compensated");
    let ended = world.client.saga(&saga.id).await.unwrap();
    assert_eq!(ended.status, SagaStatus::Compensated);
    assert!(ended.reason.unwrap().contains("the customer has died"));
    assert!(is_conflict(world.client.cancel(&saga.id, "again").await));

    let audit = world.client.audit(&AuditQuery { saga: Some(saga.id.clone()), ..AuditQuery::default() }).await.unwrap();
    let done: Vec<&str> = audit.items.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(done, ["cancel", "resume", "pause"]);
    assert!(audit.items.iter().all(|entry| entry.actor == "ada" && entry.saga.as_ref() == Some(&saga.id)));
    assert_eq!(audit.items[2].reason.as_deref(), Some("the warehouse moves"));
    let first = world.client.audit(&AuditQuery { limit: Some(2), ..AuditQuery::default() }).await.unwrap();
    let rest = AuditQuery { limit: Some(1), cursor: first.next, ..AuditQuery::default() };
    assert_eq!(world.client.audit(&rest).await.unwrap().items[0].action, "pause");
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_step_that_waits_can_be_failed() {
    let world = World::new().await;
    let saga = world.start_and_wait("a").await;
    world.client.fail_step(&saga.id, "approval", "the boss said no").await.unwrap();
    world.events(&saga.id, 0).await;
    let saga = world.client.saga(&saga.id).await.unwrap();
    assert_eq!((saga.status, saga.steps[0].status), (SagaStatus::Compensated, StepStatus::Compensated));
    assert!(saga.reason.unwrap().contains("the boss said no"));
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_dead_letter_is_shown_and_settled_once() {
    let world = World::new().await;
    let saga = world.start("sticks", "a").await;
    assert_eq!(saga.status, SagaStatus::Stuck);
    let open = DeadLetterQuery { saga: Some(saga.id.clone()), ..DeadLetterQuery::default() };
    let letter = world.client.dead_letters(&open).await.unwrap().items.remove(0);
    assert_eq!((letter.step.as_deref(), letter.direction.as_str()), (Some("pay"), "compensation"));
    let shown = world.client.dead_letter(&letter.id).await.unwrap();
    assert_eq!(shown.decisions, [Decision::Retry, Decision::Undone, Decision::Skip], "an effect is not left by `done`");
    assert_eq!(shown.saga_status, Some(SagaStatus::Stuck));
    let call = shown.call.clone().unwrap();
    assert_eq!((call.direction.as_str(), call.path.as_str()), ("compensation", "/is-gone"));
    let tried: Vec<&str> = shown.attempts.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(tried, ["action-started", "action-done", "compensation-queued", "dead-lettered"]);
    let bare =
        DeadLetter { decisions: Vec::new(), seen: None, saga_status: None, call: None, attempts: Vec::new(), ..shown };
    assert_eq!(bare, letter);

    let retried = world.client.retry_dead_letter(&letter.id, "perhaps now").await.unwrap();
    assert!(retried.resolution.unwrap().contains("perhaps now"));
    assert!(is_conflict(world.client.retry_dead_letter(&letter.id, "once more").await));
    // It is gone still: the retry gives a letter of its own.
    let mut stream = world.client.follow(&saga.id, 0).await.unwrap();
    let mut given_up = 0;
    while given_up < 2 {
        let event = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().expect("it does not end");
        given_up += u32::from(event.kind == "dead-lettered");
    }
    let second = world.client.dead_letters(&open).await.unwrap().items.remove(0);
    assert_ne!(second.id, letter.id);
    let found_out =
        ResolveDeadLetter { effect: Effect::Undone, output: Value::Null, reason: "refunded by hand".into() };
    world.client.resolve_dead_letter(&second.id, &found_out).await.unwrap();
    assert_eq!(world.client.saga(&saga.id).await.unwrap().status, SagaStatus::Compensated);
    assert_eq!(world.client.dead_letters(&open).await.unwrap().items, []);
    let all = world.client.dead_letters(&DeadLetterQuery { closed: true, ..open }).await.unwrap().items;
    assert_eq!(all.iter().map(|letter| &letter.id).collect::<Vec<_>>(), [&second.id, &letter.id]);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn dead_letters_that_are_alike_are_one_group() {
    let world = World::new().await;
    let ids = [world.start("sticks", "a").await.id, world.start("sticks", "b").await.id];
    let page = world.client.dead_letter_groups(&GroupQuery::default()).await.unwrap();
    let [group] = &page.items[..] else { panic!("one group, and not {page:?}") };
    assert_eq!((group.count, group.definition.as_str()), (2, "sticks"));
    assert_eq!((group.step.as_deref(), group.participant.as_deref()), (Some("pay"), Some("shop")));
    assert!(group.sample.starts_with(&ids[1]), "the newest stands for the others");
    let listed = async |query: DeadLetterQuery| {
        let page = world.client.dead_letters(&query).await.unwrap();
        page.items.into_iter().map(|letter| letter.saga).collect::<Vec<_>>()
    };
    let all = DeadLetterQuery::default();
    let newest_first = [ids[1].clone(), ids[0].clone()];
    let fingerprint = Some(group.fingerprint.clone());
    assert_eq!(listed(DeadLetterQuery { fingerprint, ..all.clone() }).await, newest_first);
    assert_eq!(listed(DeadLetterQuery { step: Some("pay".into()), ..all.clone() }).await, newest_first);
    assert_eq!(listed(DeadLetterQuery { participant: Some("shop".into()), ..all.clone() }).await, newest_first);
    // They have an age as soon as a millisecond is over.
    let old = DeadLetterQuery { older_than: Some("1ms".into()), ..all.clone() };
    timeout(PATIENCE, async { while listed(old.clone()).await != newest_first {} }).await.unwrap();
    for nothing in [
        DeadLetterQuery { fingerprint: Some("0".repeat(16)), ..all.clone() },
        DeadLetterQuery { step: Some("ship".into()), ..all.clone() },
        DeadLetterQuery { participant: Some("bank".into()), ..all.clone() },
        DeadLetterQuery { older_than: Some("1h".into()), ..all },
    ] {
        assert_eq!(listed(nothing.clone()).await, [""; 0], "{nothing:?}");
    }
    world.server.stop().await.unwrap();
}

fn reason(text: &str) -> Reason {
    Reason { reason: text.to_owned() }
}

impl World {
    /// Starts a saga of a definition that was not there before, and gives its dead letter.
    async fn stuck(&self, name: &str, source: &str) -> (Saga, DeadLetter) {
        self.client.put_definition(name, source).await.unwrap();
        let saga = self.start(name, "a").await;
        assert_eq!(saga.status, SagaStatus::Stuck);
        let query = DeadLetterQuery { saga: Some(saga.id.clone()), ..DeadLetterQuery::default() };
        let letter = self.client.dead_letters(&query).await.unwrap().items.remove(0);
        (saga, self.client.dead_letter(&letter.id).await.unwrap())
    }

    async fn refused(&self, id: &str, action: &DeadLetterAction) -> String {
        let Error::Refused(foreseen) = self.client.foresee_dead_letter(id, action).await.unwrap_err() else { panic!() };
        let Error::Refused(problem) = self.client.settle_dead_letter(id, action, None).await.unwrap_err() else {
            panic!()
        };
        assert_eq!(problem.status, 409);
        assert_eq!(foreseen.detail, problem.detail, "it is refused for the reason that was foreseen");
        problem.detail
    }
}

/// Each call as `direction of step`.
fn planned(plan: &Plan) -> Vec<String> {
    plan.calls.iter().map(|call| format!("{} of {}", call.direction, call.step)).collect()
}

#[tokio::test]
async fn a_saga_is_turned_around_at_a_dead_letter_as_was_foreseen() {
    let world = World::new().await;
    let (saga, letter) = world.stuck("doubts", DOUBTS).await;
    assert_eq!(letter.claim, Claim::Unknown);
    let decisions = [Decision::Retry, Decision::Done, Decision::Undone, Decision::Skip, Decision::TurnAround];
    assert_eq!(letter.decisions, decisions, "what may have happened is not edited");
    let edit = EditDeadLetter { body: json!({}), reason: "perhaps so".into() };
    assert!(world.refused(&letter.id, &DeadLetterAction::Edit(edit)).await.contains("find that out first"));

    let before = world.client.events(&saga.id).await.unwrap().items;
    let turn = DeadLetterAction::TurnAround(reason("the customer has gone"));
    let plan = world.client.foresee_dead_letter(&letter.id, &turn).await.unwrap();
    assert_eq!(planned(&plan), ["compensation of ship", "compensation of pay"]);
    assert_eq!((plan.status, plan.status_at_last), (SagaStatus::Compensating, SagaStatus::Compensated));
    assert!(plan.steps.iter().all(|step| step.status == StepStatus::Compensated), "{plan:?}");
    assert!(plan.calls[0].idempotency_key.ends_with("-ship-compensation"));
    let cancel = world.client.foresee_saga(&saga.id, SagaOrder::Cancel, "the same").await.unwrap();
    assert_eq!((planned(&cancel), cancel.status), (vec![], SagaStatus::Stuck), "the dead letter would stay");
    assert_eq!(world.client.events(&saga.id).await.unwrap().items, before, "nothing was done");
    let audited = AuditQuery { saga: Some(saga.id.clone()), ..AuditQuery::default() };
    assert_eq!(world.client.audit(&audited).await.unwrap().items, []);

    assert_eq!(letter.seen, Some(plan.seen));
    let earlier = world.client.settle_dead_letter(&letter.id, &turn, Some(plan.seen - 1)).await;
    assert!(is_conflict(earlier), "it was decided on another state");
    let settled = world.client.settle_dead_letter(&letter.id, &turn, letter.seen).await.unwrap();
    assert_eq!(settled.resolution.as_deref(), Some("turn around, by ada: the customer has gone"));
    world.events(&saga.id, 0).await;
    let saga = world.client.saga(&saga.id).await.unwrap();
    assert_eq!(saga.status, plan.status_at_last);
    assert_eq!(saga.reason.as_deref(), Some("turned around by ada at step ship: the customer has gone"));
    let audit = world.client.audit(&audited).await.unwrap().items;
    let [entry] = &audit[..] else { panic!("one entry, and not {audit:?}") };
    assert_eq!((entry.action.as_str(), entry.actor.as_str()), ("dead letter: turn around", "ada"));
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_action_is_tried_again_with_another_body_under_another_key() {
    let world = World::new().await;
    let (saga, letter) = world.stuck("picky", PICKY).await;
    let decisions = [Decision::Retry, Decision::Edit, Decision::Done, Decision::Skip];
    assert_eq!((letter.claim, &letter.decisions[..]), (Claim::Undone, &decisions[..]));
    assert_eq!(letter.call.unwrap().body, json!({ "amount": 1000, "note": "a" }));
    let turn = DeadLetterAction::TurnAround(reason("no"));
    assert!(world.refused(&letter.id, &turn).await.contains("past its point of no return"));

    let edit = |body| DeadLetterAction::Edit(EditDeadLetter { body, reason: "a smaller one will do".into() });
    let smaller = edit(json!({ "amount": 10, "note": "a" }));
    let plan = world.client.foresee_dead_letter(&letter.id, &smaller).await.unwrap();
    let change = Change { pointer: "/amount".into(), old: Some(json!(1000)), new: Some(json!(10)) };
    assert_eq!(plan.changes, [change]);
    assert_eq!((planned(&plan), plan.status), (vec!["action of book".to_owned()], SagaStatus::Running));
    assert!(plan.calls[0].idempotency_key.ends_with("-book.2"), "{plan:?}");
    world.client.settle_dead_letter(&letter.id, &smaller, Some(plan.seen)).await.unwrap();
    world.events(&saga.id, 0).await;
    let saga = world.client.saga(&saga.id).await.unwrap();
    assert_eq!(saga.status, SagaStatus::Completed);
    let key = saga.steps[1].idempotency_key.clone().unwrap();
    assert_eq!(key, plan.calls[0].idempotency_key);
    let picked = world.picked.lock().unwrap().clone();
    let first = key.strip_suffix(".2").unwrap().to_owned();
    let sent = [(first, json!({ "amount": 1000, "note": "a" })), (key, json!({ "amount": 10, "note": "a" }))];
    assert_eq!(picked, sent);
    assert!(world.refused(&letter.id, &smaller).await.contains("settled at"));
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_definition_that_is_the_same_changes_nothing() {
    let world = World::new().await;
    let put =
        |source: &str| world.http.put(format!("{}/v1/definitions/ends", world.base)).body(source.to_owned()).send();
    let first = world.client.definition("ends").await.unwrap();
    assert_eq!(put(ENDS).await.unwrap().status(), 200);
    let changed = ENDS.replace("/works", "/refuses");
    assert_eq!(put(&changed).await.unwrap().status(), 201);
    let second = world.client.definition("ends").await.unwrap();
    assert_eq!(second.source, changed);
    assert_ne!(second.version, first.version);
    let (status, old) = world.text(&format!("/v1/definitions/ends/versions/{}", first.version)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<amends_client::Definition>(&old).unwrap(), first);
    let names: Vec<String> = world.client.definitions().await.unwrap().items.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["ends", "sticks", "waits"]);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_says_how_it_is() {
    let world = World::new().await;
    world.start("ends", "a").await;
    world.start("sticks", "a").await;
    world.start_and_wait("a").await;
    assert!(world.client.is_ready().await);
    assert_eq!(world.text("/healthz").await.0, StatusCode::OK);
    let counts = world.client.statistics().await.unwrap();
    assert_eq!((counts.started, counts.completed, counts.in_flight), (3, 1, 2));
    assert_eq!((counts.dead_letters, counts.orphans), (1, 0));
    // What the engine holds is told from time to time: it is asked for until it counts all five calls.
    let counted = |text: &str| text.contains("amends_call_duration_seconds_count{participant=\"shop\"} 5\n");
    let metrics = timeout(PATIENCE, async {
        loop {
            let (status, text) = world.text("/metrics").await;
            assert_eq!(status, StatusCode::OK);
            if counted(&text) {
                break text;
            }
        }
    });
    let metrics = metrics.await.unwrap();
    for line in [
        "amends_sagas_started_total 3",
        "amends_sagas_finished_total{outcome=\"completed\"} 1",
        "amends_sagas_in_flight 2",
        "amends_dead_letters_open 1",
        "amends_orphans 0",
        "amends_calls_total{participant=\"shop\",direction=\"action\",class=\"done\"} 3",
        "amends_call_duration_seconds_bucket{le=\"+Inf\",participant=\"shop\"} 5",
        "amends_breaker{participant=\"shop\",state=\"open\"} 0",
        "amends_http_requests_total{method=\"POST\",route=\"/v1/sagas/{definition_or_id}\",status=\"200\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "`{line}` is not in:\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_answers_who_waits_and_loses_nothing() {
    let world = World::new().await;
    let saga = world.start_and_wait("a").await;
    let mut stream = world.client.follow(&saga.id, saga_events(&world, &saga.id).await).await.unwrap();
    let waiting = tokio::spawn({
        let request = world.http.post(format!("{}/v1/sagas/waits", world.base)).header("prefer", "wait=60");
        let request = request.json(&json!({ "id": "b" }));
        async move { request.send().await.unwrap() }
    });
    // Once the saga is there, its start waits for an end that does not come.
    let b = loop {
        let query = SagaQuery { key: Some("b".into()), ..SagaQuery::default() };
        if let Some(found) = world.client.sagas(&query).await.unwrap().items.pop() {
            break found;
        }
    };
    let (address, directory) = (world.server.address(), world.directory);
    timeout(PATIENCE, world.server.stop()).await.unwrap().unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json::<Saga>().await.unwrap().id, b.id);
    assert!(timeout(PATIENCE, stream.next()).await.unwrap().unwrap().is_none(), "the stream ends in order");
    assert!(TcpStream::connect(address).await.is_err());

    let server = serve(directory.path()).await;
    let client = Client::new(&format!("http://{}", server.address())).unwrap();
    client.complete_step(&saga.id, "approval", Value::Null).await.unwrap();
    assert_eq!(client.saga(&saga.id).await.unwrap().status, SagaStatus::Completed);
    assert_eq!(client.saga(&b.id).await.unwrap().status, SagaStatus::Running);
    server.stop().await.unwrap();
}

/// How many events a saga has.
async fn saga_events(world: &World, id: &str) -> u64 {
    world.client.events(id).await.unwrap().items.len() as u64
}
