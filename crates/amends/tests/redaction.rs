//! What is redacted is shown nowhere: a real server at its most talkative, with a secret in every place that a value can come from,
//! and everything that it answers, streams, traces and logs. docs/security.md names these tests.
#![cfg(test)]

mod support;

use amends::api::access::ROUTES;
use amends_client::{Client, DeadLetterQuery, StartOptions};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::child::{self, Program};
use tempfile::TempDir;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "secret-4111-1111";
const POINTERS: &str = r#"["/input/card", "/steps/*/output"]"#;

/// Done, found out by a probe, completed from outside, refused, and not undone.
const WHOLE: &str = r#"
saga: whole
key: "{{ input.id }}"
retry: { attempts: 2, initial: 1ms }
steps:
  charge:
    action: { post: "shop:/works/{{ input.card }}", body: { card: "{{ input.card }}" } }
    compensation: { post: "shop:/forbids", body: { card: "{{ input.card }}" } }
  ask:
    action: { post: "shop:/breaks" }
    probe: { get: "shop:/happened", happened: "{{ response.body.done }}", output: "{{ response.body }}" }
    compensation: { post: "shop:/works/again" }
  approval: { wait: 1h }
  ship: { action: { post: "shop:/refuses" }, compensation: none }
"#;
/// An expression that cannot be used, and says what it found.
const ODD: &str = r#"
saga: odd
key: "{{ input.id }}"
steps:
  ask:
    action: { post: "shop:/breaks" }
    retry: { attempts: 1 }
    probe: { get: "shop:/happened", happened: "{{ input.card }}", retry: { attempts: 1 } }
    compensation: { post: "shop:/works/again" }
"#;
/// Failed from outside.
const FAILED: &str = "saga: failed\nkey: \"{{ input.id }}\"\nsteps:\n  approval: { wait: 1h }\n";
/// Given up, and settled by a person who says what the output is, or turns it around.
const LOST: &str = r#"
saga: lost
key: "{{ input.id }}"
steps:
  charge:
    action: { post: "shop:/works/first" }
    compensation: { post: "shop:/works/{{ output.iban }}", body: { card: "{{ input.card }}", iban: "{{ output.iban }}" } }
  pay: { action: { post: "shop:/breaks" }, effects: at-most-once, compensation: none }
"#;

/// Refused, and tried again with what a person wrote.
const EDITED: &str = r#"
saga: edited
key: "{{ input.id }}"
steps:
  pay:
    kind: retriable
    action: { post: "shop:/refuses", body: { card: "{{ input.card }}", note: "paid with {{ input.card }}" } }
"#;

struct World {
    program: Program,
    base: String,
    client: Client,
    http: reqwest::Client,
    collected: Arc<Mutex<Vec<u8>>>,
    directory: TempDir,
    /// What was seen, each with where.
    seen: Vec<(String, String)>,
}

impl World {
    /// A server whose definitions and whose configuration have these lines.
    async fn new(in_definitions: &str, in_configuration: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let collected = Arc::new(Mutex::new(Vec::new()));
        let shop = service(shop()).await;
        let collector = service(collector(Arc::clone(&collected))).await;
        let sagas = directory.path().join("sagas");
        std::fs::create_dir(&sagas).unwrap();
        for (name, source) in [("whole", WHOLE), ("odd", ODD), ("failed", FAILED), ("lost", LOST), ("edited", EDITED)] {
            std::fs::write(sagas.join(format!("{name}.yaml")), format!("{source}{in_definitions}")).unwrap();
        }
        let configuration = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\n{in_configuration}\
             [participants.shop]\nurl = \"{shop}\"\n[queues.commands]\n[telemetry]\notlp_endpoint = \"{collector}\"\n[log]\nlevel = \"trace\"\n"
        );
        let file = directory.path().join("amends.toml");
        std::fs::write(&file, configuration).unwrap();
        let arguments = [OsString::from("serve"), OsString::from("--config"), file.into_os_string()];
        let program = Program::start(&arguments, &log(directory.path())).await;
        let base = format!("http://{}", program.address);
        let client = Client::new(&base).unwrap().acting_as("ada");
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        World { program, base, client, http, collected, directory, seen: Vec::new() }
    }

    /// Sends a body and keeps the answer.
    async fn send(&mut self, path: &str, body: Value) {
        let request = self.http.post(format!("{}{path}", self.base)).header("prefer", "wait=30");
        let answer = request.json(&body).send().await.unwrap().text().await.unwrap();
        // The snapshot is not to have ids in it.
        let segment = |segment: &str| if segment.len() < 36 { segment.to_owned() } else { "{id}".to_owned() };
        let route: Vec<String> = path.split('/').map(segment).collect();
        self.seen.push((format!("POST {}", route.join("/")), answer));
    }

    /// Starts a saga that does not wait for its end.
    async fn start(&self, definition: &str) -> String {
        let input = json!({ "id": definition, "card": SECRET });
        self.client.start(definition, &input, StartOptions::default()).await.unwrap().saga.id
    }

    /// Waits until this has happened.
    async fn until(&self, saga: &str, kind: &str) {
        let mut stream = self.client.follow(saga, 0).await.unwrap();
        while stream.next().await.unwrap().expect("it does not end before").kind != kind {}
    }

    /// Waits until who failed a step is in what is exported, and keeps that.
    async fn until_sealed(&mut self) {
        loop {
            let export = self.http.get(format!("{}/v1/audit/export", self.base)).send().await.unwrap();
            let export = export.text().await.unwrap();
            if export.contains("\"fail\"") {
                return self.seen.push(("GET /v1/audit/export".into(), export));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the saga has become so many dead letters.
    async fn until_dead(&self, saga: &str, deaths: usize) {
        let mut stream = self.client.follow(saga, 0).await.unwrap();
        for _ in 0..deaths {
            while stream.next().await.unwrap().expect("it does not end before").kind != "dead-lettered" {}
        }
    }

    async fn letter(&self, saga: &str) -> String {
        let query = DeadLetterQuery { saga: Some(saga.to_owned()), ..DeadLetterQuery::default() };
        self.client.dead_letters(&query).await.unwrap().items.remove(0).id
    }

    /// Everything that can be looked at, of this saga and of all.
    async fn look(&mut self, saga: &str, letter: Option<&str>) {
        let version = self.client.saga(saga).await.unwrap().version;
        for (_, route, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
            let id = if route.contains("dead-letters") { letter } else { Some(saga) };
            let Some(id) = id else { continue };
            let path = route
                .replace("{definition_or_id}", id)
                .replace("{id}", id)
                .replace("{name}", "whole")
                .replace("{queue}", "commands");
            let path = path.replace("{version}", &version);
            assert!(!path.contains('{'), "{path} has a parameter that the test does not know");
            let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap().text().await.unwrap();
            self.seen.push((format!("GET {route}"), answer));
        }
    }

    /// What each of these actions would do.
    async fn foresee(&mut self, path: &str, actions: &[(&str, Value)]) {
        for (action, body) in actions {
            self.send(&format!("{path}/{action}?dry_run=true"), body.clone()).await;
        }
    }

    async fn stream(&self, saga: &str) -> tokio::task::JoinHandle<String> {
        let request =
            self.http.get(format!("{}/v1/sagas/{saga}/events", self.base)).header("accept", "text/event-stream");
        let response = request.send().await.unwrap();
        tokio::spawn(async move { response.text().await.unwrap() })
    }
}

fn log(directory: &Path) -> std::path::PathBuf {
    directory.join("log")
}

/// A participant that repeats the secret in whatever it answers.
fn shop() -> Router {
    let says = |status: StatusCode| {
        move || async move { (status, axum::Json(json!({ "type": format!("urn:{SECRET}"), "detail": SECRET }))) }
    };
    Router::new()
        .route("/works/{rest}", post(|| async { axum::Json(json!({ "iban": SECRET })) }))
        .route("/happened", get(|| async { axum::Json(json!({ "done": true, "iban": SECRET })) }))
        .route("/breaks", post(says(StatusCode::INTERNAL_SERVER_ERROR)))
        .route("/refuses", post(says(StatusCode::UNPROCESSABLE_ENTITY)))
        .route("/forbids", post(says(StatusCode::FORBIDDEN)))
}

/// What takes traces, and keeps them.
fn collector(collected: Arc<Mutex<Vec<u8>>>) -> Router {
    let keep = |State(collected): State<Arc<Mutex<Vec<u8>>>>, body: axum::body::Bytes| async move {
        collected.lock().unwrap().extend_from_slice(&body);
    };
    Router::new().route("/v1/traces", post(keep)).with_state(collected)
}

async fn service(router: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Lets everything happen that can carry a secret, and gives all that was seen of it, each with where.
async fn everything_seen(mut world: World) -> Vec<(String, String)> {
    let whole = world.start("whole").await;
    let live = world.stream(&whole).await;
    world.until(&whole, "wait-started").await;
    world.foresee(&format!("/v1/sagas/{whole}"), &[("cancel", because()), ("pause", because())]).await;
    world.send(&format!("/v1/sagas/{whole}/steps/approval/complete"), json!({ "output": { "iban": SECRET } })).await;
    world.until(&whole, "dead-lettered").await;
    let letter = world.letter(&whole).await;
    world.look(&whole, Some(&letter)).await;
    world.foresee(&format!("/v1/dead-letters/{letter}"), &[("retry", because()), ("skip", because())]).await;
    world.send(&format!("/v1/dead-letters/{letter}/skip"), json!({ "reason": "a test" })).await;
    world.seen.push(("live".into(), live.await.unwrap()));
    world.look(&whole, Some(&letter)).await;

    let failed = world.start("failed").await;
    world.send(&format!("/v1/sagas/{failed}/steps/approval/fail"), json!({ "reason": SECRET })).await;
    world.until(&failed, "compensated").await;
    world.look(&failed, None).await;

    world.until_sealed().await;

    world.send("/v1/sagas/lost", json!({ "id": "lost", "card": SECRET })).await;
    let lost = world.start("lost").await;
    let letter = world.letter(&lost).await;
    let resolution = json!({ "effect": "done", "output": { "iban": SECRET }, "reason": "a test" });
    let undone = json!({ "effect": "undone", "reason": "a test" });
    let actions = [("turn-around", because()), ("resolve", resolution.clone()), ("resolve", undone)];
    world.foresee(&format!("/v1/dead-letters/{letter}"), &actions).await;
    world.send(&format!("/v1/dead-letters/{letter}/resolve"), resolution).await;
    world.until(&lost, "completed").await;
    world.look(&lost, Some(&letter)).await;
    let past = world.stream(&lost).await.await.unwrap();
    world.seen.push(("past".into(), past));

    let turned = json!({ "id": "turned", "card": SECRET });
    let turned = world.client.start("lost", &turned, StartOptions::default()).await.unwrap().saga.id;
    world.until(&turned, "dead-lettered").await;
    let letter = world.letter(&turned).await;
    world.send(&format!("/v1/dead-letters/{letter}/turn-around"), because()).await;
    world.until(&turned, "compensated").await;
    world.look(&turned, Some(&letter)).await;

    let edited = world.start("edited").await;
    let edit = json!({ "body": { "card": SECRET, "note": [SECRET] }, "reason": "a test" });
    // What a person wrote is refused as well, so that it is shown like what was there before.
    for deaths in 1..=2 {
        world.until_dead(&edited, deaths).await;
        let letter = world.letter(&edited).await;
        world.foresee(&format!("/v1/dead-letters/{letter}"), &[("retry", because()), ("edit", edit.clone())]).await;
        world.look(&edited, Some(&letter)).await;
        world.send(&format!("/v1/dead-letters/{letter}/edit"), edit.clone()).await;
    }

    world.send("/v1/sagas/odd", json!({ "id": "odd", "card": SECRET })).await;
    world.send("/v1/sagas/odd", json!({ "id": SECRET.repeat(20), "card": SECRET })).await;

    assert!(world.program.terminate().await.success());
    let mut seen = world.seen;
    seen.push(("log".into(), child::read(&log(world.directory.path()))));
    seen.push(("traces".into(), String::from_utf8(world.collected.lock().unwrap().clone()).unwrap()));
    seen
}

fn because() -> Value {
    json!({ "reason": "a test" })
}

/// Where the secret was seen.
fn leaks(seen: &[(String, String)]) -> Vec<&str> {
    let mut places: Vec<&str> =
        seen.iter().filter(|(_, text)| text.contains(SECRET)).map(|(place, _)| place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Without `redact` the secret is in all these places, so that the tests below look where it is.
#[tokio::test]
async fn what_is_not_redacted_is_shown() {
    let seen = everything_seen(World::new("", "").await).await;
    insta::assert_snapshot!(leaks(&seen).join("\n"));
}

#[tokio::test]
async fn what_a_definition_redacts_is_shown_nowhere() {
    shows_nothing(&everything_seen(World::new(&format!("redact: {POINTERS}\n"), "").await).await);
}

/// Also of definitions that say nothing of it.
#[tokio::test]
async fn what_the_configuration_redacts_is_shown_nowhere() {
    shows_nothing(&everything_seen(World::new("", &format!("redact = {POINTERS}\n")).await).await);
}

#[track_caller]
fn shows_nothing(seen: &[(String, String)]) {
    assert_eq!(leaks(seen), Vec::<&str>::new());
    let all: String = seen.iter().map(|(_, text)| text.as_str()).collect();
    for told in [
        "\"card\":\"[redacted]\"",
        "\"output\":\"[redacted]\"",
        "\"digest\":\"[redacted]\"",
        "step ship had no effect: answered 422: [redacted]",
        "the compensation of charge was given up: answered 403: [redacted]",
        "failed from outside: [redacted]",
        "the probe cannot be judged: `{{ input.card }}` cannot be rendered: [redacted]",
        "\"body\":\"[redacted]\"",
        "\"note\":\"paid with [redacted]\"",
        "\"new\":\"[redacted]\"",
        "\"kind\":\"[redacted]\"",
        "\"path\":\"[redacted]\"",
        " at step pay: a test",
        "a key has 1 to 128 characters, and the input makes [redacted]",
    ] {
        assert!(all.contains(told), "nothing says: {told}");
    }
}
