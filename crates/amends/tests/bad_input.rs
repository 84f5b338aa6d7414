//! What a caller can get wrong: each is answered with its own problem, and leaves nothing behind.
//!
//! A table has one line a case. Before and after each the server is asked for everything it holds; a difference is a
//! failure.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, post};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const KIB: usize = 1024;

/// Waits for a signal.
const WAITS: &str = r#"
saga: waits
key: "{{ input.id }}"
steps:
  prepare: { sleep: 1ms }
  signal: { wait: 1h }
"#;
/// Has nothing to wait for.
const ENDS: &str = r#"
saga: ends
key: "{{ input.id }}"
steps:
  pause: { sleep: 1ms }
"#;
/// Waits behind its pivot.
const PAST: &str = r#"
saga: past
key: "{{ input.id }}"
steps:
  pay: { kind: pivot, action: { post: "shop:/works" } }
  signal: { wait: 1h }
"#;
/// Cannot undo its first step when the second is refused.
const STICKS: &str = r#"
saga: sticks
key: "{{ input.id }}"
steps:
  pay: { action: { post: "shop:/works" }, compensation: { post: "shop:/is-gone" } }
  ship: { action: { post: "shop:/refuses" }, compensation: none }
"#;

/// A server with a saga in every state that a request can meet.
struct World {
    server: Server,
    base: String,
    http: Client,
    /// What stands in paths in place of ids.
    names: Vec<(&'static str, String)>,
    _directory: TempDir,
}

/// A request, and what is to be answered.
struct Case {
    name: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    problem: &'static str,
    says: &'static str,
}

fn case(name: &'static str, request: &str, status: u16, problem: &'static str) -> Case {
    let (method, path) = request.split_once(' ').unwrap();
    let (method, path) = (method.parse().unwrap(), path.to_owned());
    Case { name, method, path, headers: Vec::new(), body: Vec::new(), status, problem, says: "" }
}

impl Case {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Case {
        self.headers.push((name, value.into()));
        self
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Case {
        Case { body: body.into(), ..self }
    }

    fn json(self, body: impl Into<Vec<u8>>) -> Case {
        self.header("content-type", "application/json").body(body)
    }

    fn yaml(self, body: impl Into<Vec<u8>>) -> Case {
        self.header("content-type", "application/yaml").body(body)
    }

    /// What the detail has in it.
    fn says(self, says: &'static str) -> Case {
        Case { says, ..self }
    }
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("amends.toml");
        let shop = participant().await;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\n\
             [http]\nbody_read_timeout = \"500ms\"\nheader_read_timeout = \"1s\"\n\
             [participants.shop]\nurl = \"http://{shop}\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        let server = Server::start(&config).await.unwrap();
        let base = format!("http://{}", server.address());
        // Connections are not kept, because the server closes those that are idle after its short time.
        let http = Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap();
        let mut world = World { server, base, http, names: Vec::new(), _directory: directory };
        for (name, source) in [("waits", WAITS), ("ends", ENDS), ("past", PAST), ("sticks", STICKS)] {
            let request = world.http.put(format!("{}/v1/definitions/{name}", world.base)).body(source);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        }
        for (name, status) in [("waits", "running"), ("ends", "completed"), ("past", "running"), ("sticks", "stuck")] {
            let id = world.begin(name, status).await;
            world.names.push((name, id));
        }
        let settled = world.begin_other("sticks", "settled", "stuck").await;
        let stuck = world.named("{sticks}");
        for (name, saga) in [("letter", &stuck), ("old-letter", &settled)] {
            let url = format!("{}/v1/dead-letters?saga={saga}", world.base);
            let page: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
            world.names.push((name, page["items"][0]["id"].as_str().unwrap().to_owned()));
        }
        let url = world.named(&format!("{}/v1/dead-letters/{{old-letter}}/skip", world.base));
        let response = world.http.post(url).json(&json!({ "reason": "it is only a test" })).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        world.at_rest().await;
        world
    }

    async fn begin(&self, definition: &str, status: &str) -> String {
        self.begin_other(definition, definition, status).await
    }

    /// Starts a saga and waits until it can get no further by itself.
    async fn begin_other(&self, definition: &str, key: &str, status: &str) -> String {
        let wait = if status == "running" { "wait=0" } else { "wait=30" };
        let request = self.http.post(format!("{}/v1/sagas/{definition}", self.base)).header("prefer", wait);
        let response = request.json(&json!({ "id": key })).send().await.unwrap();
        let saga: Value = response.json().await.unwrap();
        assert_eq!(saga["status"], status, "{saga}");
        saga["id"].as_str().unwrap().to_owned()
    }

    /// Waits until each saga waits or is over: from then on nothing changes unless somebody asks for it.
    async fn at_rest(&self) {
        for name in ["waits", "past"] {
            let id = self.named(&format!("{{{name}}}"));
            let request = self.http.get(format!("{}/v1/sagas/{id}/events", self.base));
            let mut stream = request.header("accept", "text/event-stream").send().await.unwrap();
            let mut seen = String::new();
            while !seen.contains("event: wait-started") {
                let chunk = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap().expect("the saga does not end");
                seen.push_str(&String::from_utf8_lossy(&chunk));
            }
        }
    }

    /// A text with ids in place of names.
    fn named(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
    }

    /// Everything that the server holds.
    async fn everything(&self) -> Vec<Value> {
        let mut paths: Vec<String> = ["statistics", "sagas", "definitions", "audit", "dead-letters?closed=true"]
            .map(|list| format!("{}/v1/{list}", self.base))
            .to_vec();
        let sagas = self.names.iter().filter(|(name, _)| !name.contains("letter"));
        paths.extend(sagas.map(|(_, id)| format!("{}/v1/sagas/{id}/events", self.base)));
        let mut everything = Vec::new();
        for path in paths {
            let mut found: Value = self.http.get(path).send().await.unwrap().json().await.unwrap();
            // Entries of the audit log are sealed some time after they are written, whatever is asked meanwhile.
            for entry in found["items"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                ["number", "hash", "sealed"].into_iter().for_each(|name| drop(entry.remove(name)));
            }
            everything.push(found);
        }
        everything
    }

    /// Sends each request and looks at what is answered, and that nothing came of it.
    async fn check(&self, cases: Vec<Case>) {
        let before = self.everything().await;
        let mut wrong = Vec::new();
        for case in cases {
            let Case { name, method, path, headers, body, status, problem, says } = case;
            let mut request = self.http.request(method, format!("{}{}", self.base, self.named(&path))).body(body);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let response = request.send().await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let (found, text) = (response.status().as_u16(), response.text().await.unwrap());
            let told: Value = serde_json::from_str(&text).unwrap_or_default();
            let kind = told["type"].as_str().unwrap_or_default().trim_start_matches("urn:amends:problem:");
            let detail = told["detail"].as_str().unwrap_or_default();
            if (found, kind) != (status, problem) || !detail.contains(says) {
                wrong.push(format!("{name}: {status} {problem} `{says}` was expected, and {found} came: {text}"));
            }
            assert!(self.everything().await == before, "{name}: something was left behind; {found} came: {text}");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Sends bytes as they are and returns the answer up to the end of the connection.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server ends the connection").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A service that does as its path says.
async fn participant() -> SocketAddr {
    let router = Router::new()
        .route("/works", post(|| async { "{}" }))
        .route("/refuses", post(|| async { StatusCode::UNPROCESSABLE_ENTITY }))
        .fallback(any(|| async { StatusCode::NOT_FOUND }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A definition whose steps are these lines.
fn definition(steps: &str) -> String {
    format!("saga: new\nkey: \"{{{{ input.id }}}}\"\nsteps:\n{steps}")
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn definitions() {
    let world = World::new().await;
    let put = |name, status, problem| case(name, "PUT /v1/definitions/new", status, problem);
    let good = definition("  a: { sleep: 1s }\n");
    let many: String = (0..101).map(|step| format!("  s{step}: {{ sleep: 1s }}\n")).collect();
    let long = definition(&format!("  a: {{ sleep: 1s, description: \"{}\" }}\n", "x".repeat(256 * KIB)));
    world
        .check(vec![
            put("nothing", 422, "bad-definition"),
            put("no YAML", 422, "bad-definition").yaml("saga: [new"),
            put("no map", 422, "bad-definition").yaml("- saga"),
            put("no JSON", 422, "bad-definition").json("{\"saga\": "),
            put("a key twice", 422, "bad-definition").yaml(format!("{good}saga: new\n")),
            put("a step twice", 422, "bad-definition").yaml(format!("{good}  a: {{ sleep: 2s }}\n")),
            put("a key twice in JSON", 422, "bad-definition")
                .json(r#"{"saga": "new", "saga": "new", "key": "k", "steps": {}}"#),
            put("an anchor", 422, "bad-definition").yaml(definition("  a: &a { sleep: 1s }\n  b: *a\n")),
            put("a tag", 422, "bad-definition").yaml(definition("  a: !!map { sleep: 1s }\n")),
            put("two documents", 422, "bad-definition").yaml(format!("{good}---\n{good}")),
            put("too deep", 422, "bad-definition").yaml(format!("{good}description: {}\n", nested(10_000))),
            put("too large", 413, "too-large").yaml(long).says("256 KiB"),
            put("too many steps", 422, "bad-definition").yaml(definition(&many)),
            put("an unknown key", 422, "bad-definition").yaml(definition("  a: { slep: 1s }\n")),
            put("an unknown participant", 422, "bad-definition")
                .yaml(definition("  a: { action: { post: \"shoq:/works\" } }\n")),
            put("a cycle", 422, "bad-definition")
                .yaml(definition("  a: { sleep: 1s, after: b }\n  b: { sleep: 1s, after: a }\n")),
            put("another name", 422, "other-name").yaml(WAITS).says("`saga: waits`"),
            put("no UTF-8", 400, "not-utf8").yaml(b"saga: \xff\n".to_vec()).says("byte 7"),
            put("a form", 415, "unsupported-media-type")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(good.clone()),
            put("an odd type", 415, "unsupported-media-type").header("content-type", "multipart/form-data").body(good),
            case("a name that is none", "PUT /v1/definitions/%20", 422, "bad-definition"),
            case("a name that is no UTF-8", "PUT /v1/definitions/%ff", 400, "bad-address"),
            case("unknown", "GET /v1/definitions/new", 404, "unknown-definition").says("GET /v1/definitions"),
            case("unknown version", "GET /v1/definitions/waits/versions/1", 404, "unknown-definition")
                .says("with version 1"),
            case("deleting", "DELETE /v1/definitions/waits", 405, "method-not-allowed"),
        ])
        .await;
}

/// A text of brackets once exhausted the stack and so ended the process with everything in it.
#[tokio::test]
async fn a_definition_of_brackets() {
    let world = World::new().await;
    let put = |name, text| case(name, "PUT /v1/definitions/new", 422, "bad-definition").json(text);
    let objects = format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
    world.check(vec![put("lists", nested(100_000)), put("objects", objects), put("open", "[".repeat(200_000))]).await;
}

#[tokio::test]
async fn what_lint_finds_comes_with_its_place() {
    let world = World::new().await;
    let request = world.http.put(format!("{}/v1/definitions/new", world.base));
    let response = request.body(definition("  a: { slep: 1s }\n")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    let found = problem["diagnostics"].as_array().unwrap();
    let place = |found: &Value| (found["line"].as_u64().unwrap(), found["column"].as_u64().unwrap());
    let unknown = found.iter().find(|found| place(found) == (4, 8)).unwrap_or_else(|| panic!("{problem:#}"));
    assert_eq!(unknown["severity"], "error");
    assert!(unknown["remedy"].as_str().unwrap().contains("`sleep`"), "{unknown}");
    for field in ["code", "message"] {
        assert!(unknown[field].as_str().is_some_and(|text| !text.is_empty()), "{unknown}");
    }
}

#[tokio::test]
async fn starts() {
    let world = World::new().await;
    let start = |name, status, problem| case(name, "POST /v1/sagas/waits", status, problem);
    let other =
        |name, path: &str, status, problem| case(name, &format!("POST {path}"), status, problem).json(r#"{"id": "n"}"#);
    world
        .check(vec![
            start("nothing", 415, "unsupported-media-type"),
            start("no body", 400, "malformed-json").json(""),
            start("half a body", 400, "malformed-json").json("{\"id\": ").says("line 1"),
            start("two bodies", 400, "malformed-json").json(r#"{"id": "n"} {"id": "n"}"#),
            start("a comma too many", 400, "malformed-json").json(r#"{"id": "n",}"#),
            start("NaN", 400, "malformed-json").json(r#"{"id": NaN}"#),
            start("a key twice", 400, "duplicate-key").json(r#"{"id": "n", "id": "m"}"#).says("`id`"),
            start("a huge number", 400, "inexact-number").json(r#"{"id": "n", "x": 123456789012345678901234567890}"#),
            start("no UTF-8", 400, "not-utf8").json(b"{\"id\": \"\xff\"}".to_vec()).says("byte 9"),
            start("text", 415, "unsupported-media-type").header("content-type", "text/plain").body(r#"{"id": "n"}"#),
            start("a form", 415, "unsupported-media-type")
                .header("content-type", "application/x-www-form-urlencoded")
                .body("id=n"),
            start("too deep", 400, "too-deep").json(nested(65)).says("64 levels"),
            start("much too deep", 400, "too-deep").json(nested(100_000)),
            start("too large", 413, "too-large").json(format!("\"{}\"", "x".repeat(1024 * KIB))).says("1024 KiB"),
            start("much too large", 413, "too-large").json(vec![b' '; 20 * 1024 * KIB]),
            start("an array", 422, "bad-input").json("[]"),
            start("null", 422, "bad-input").json("null"),
            start("no key", 422, "bad-input").json("{}").says("key"),
            start("a null key", 422, "bad-input").json(r#"{"id": null}"#),
            start("an empty key", 422, "bad-input").json(r#"{"id": ""}"#),
            start("a key too long", 422, "bad-input").json(json!({ "id": "x".repeat(129) }).to_string()).says("128"),
            start("a key with a line feed", 422, "bad-input").json(r#"{"id": "a\nb"}"#),
            start("a key with NUL", 422, "bad-input").json(r#"{"id": "a\u0000b"}"#),
            start("the key with another input", 422, "key-reused").json(r#"{"id": "waits", "more": 1}"#),
            other("a mistyped definition", "/v1/sagas/wait", 404, "unknown-definition").says("waits"),
            other("an unknown definition", "/v1/sagas/something-else", 404, "unknown-definition")
                .says("GET /v1/definitions"),
            other("a long definition", &format!("/v1/sagas/{}", "x".repeat(1_000)), 404, "unknown-definition")
                .says("…"),
            other("a definition with a NUL", "/v1/sagas/a%00b", 404, "unknown-definition"),
            other("a definition that climbs", "/v1/sagas/..%2f..%2fetc", 404, "unknown-definition"),
            other("no definition", "/v1/sagas/", 404, "unknown-address"),
            other("no definition at all", "/v1/sagas", 405, "method-not-allowed"),
            start("a wait of no number", 400, "bad-header")
                .json(r#"{"id": "n"}"#)
                .header("prefer", "wait=soon")
                .says("wait=30"),
            start("a wait below zero", 400, "bad-header").json(r#"{"id": "n"}"#).header("prefer", "wait=-1"),
            start("a wait of nothing", 400, "bad-header").json(r#"{"id": "n"}"#).header("prefer", "wait"),
        ])
        .await;
}

#[tokio::test]
async fn a_start_that_is_repeated_finds_its_saga() {
    let world = World::new().await;
    let before = world.everything().await;
    let url = format!("{}/v1/sagas/waits", world.base);
    for headers in [&[][..], &[("prefer", "return=minimal")], &[("prefer", "wait=0")], &[("traceparent", "nonsense")]] {
        let mut request = world.http.post(&url).json(&json!({ "id": "waits" }));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["amends-created"], "false");
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let saga: Value = response.json().await.unwrap();
        assert_eq!(saga["id"].as_str().unwrap(), world.named("{waits}"));
        assert_eq!(location, world.named("/v1/sagas/{waits}"));
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test]
async fn callbacks() {
    let world = World::new().await;
    let unknown = "0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a";
    let complete = |name, path: &str, status, problem| {
        case(name, &format!("POST /v1/sagas/{path}/complete"), status, problem).json("{}")
    };
    let fail = |name, path: &str, status, problem| {
        case(name, &format!("POST /v1/sagas/{path}/fail"), status, problem).json(r#"{"reason": "no"}"#)
    };
    let signal = |name, status, problem| case(name, "POST /v1/sagas/{waits}/steps/signal/complete", status, problem);
    world
        .check(vec![
            complete("no such saga", &format!("{unknown}/steps/signal"), 404, "unknown-saga").says(unknown),
            complete("no UUID", "1/steps/signal", 400, "bad-id"),
            complete("a UUID and more", "{waits}0/steps/signal", 400, "bad-id"),
            complete("no such step", "{waits}/steps/signa", 404, "unknown-step").says("its steps are prepare, signal"),
            complete("no step", "{waits}/steps/", 404, "unknown-step"),
            complete("a step that is over", "{waits}/steps/prepare", 409, "conflict"),
            complete("a saga that is over", "{ends}/steps/pause", 409, "conflict"),
            complete("a step that calls", "{past}/steps/pay", 409, "conflict"),
            complete("a step of a stuck saga", "{sticks}/steps/pay", 409, "conflict"),
            fail("no such saga", &format!("{unknown}/steps/signal"), 404, "unknown-saga"),
            fail("no UUID", "x/steps/signal", 400, "bad-id"),
            fail("no such step", "{waits}/steps/signa", 404, "unknown-step"),
            fail("a step that is over", "{waits}/steps/prepare", 409, "conflict"),
            fail("a saga that is over", "{ends}/steps/pause", 409, "conflict"),
            signal("no body", 400, "malformed-json").json(""),
            signal("no type", 415, "unsupported-media-type").body("{}"),
            signal("a list", 400, "bad-body").json("[]"),
            signal("a list with an output", 400, "bad-body").json("[1]"),
            signal("unknown field", 400, "bad-body").json(r#"{"outptu": 1}"#).says("outptu"),
            signal("output twice", 400, "duplicate-key").json(r#"{"output": 1, "output": 2}"#),
            signal("too deep", 400, "too-deep").json(format!(r#"{{"output": {}}}"#, nested(64))),
            signal("too large", 413, "too-large")
                .json(json!({ "output": "x".repeat(256 * KIB) }).to_string())
                .says("256 KiB"),
            signal("much too large", 413, "too-large").json(json!({ "output": "x".repeat(400 * KIB) }).to_string()),
            case("fail without a reason", "POST /v1/sagas/{waits}/steps/signal/fail", 400, "bad-body").json("{}"),
            case("fail with no reason", "POST /v1/sagas/{waits}/steps/signal/fail", 400, "bad-reason")
                .json(r#"{"reason": " "}"#),
            case("looking at a step", "GET /v1/sagas/{waits}/steps/signal/complete", 405, "method-not-allowed"),
        ])
        .await;
}

#[tokio::test]
async fn orders() {
    let world = World::new().await;
    let order = |name, path: &str, status, problem| {
        case(name, &format!("POST /v1/sagas/{path}"), status, problem).json(r#"{"reason": "a test"}"#)
    };
    let cancel = |name, status, problem| case(name, "POST /v1/sagas/{waits}/cancel", status, problem);
    let mut cases = vec![
        cancel("a list", 400, "bad-body").json("[]"),
        cancel("a list with a reason", 400, "bad-body").json(r#"["a test"]"#),
        cancel("a number", 400, "bad-body").json(r#"{"reason": 1}"#),
        cancel("unknown field", 400, "bad-body").json(r#"{"reason": "a test", "force": true}"#).says("force"),
        cancel("control characters", 400, "bad-reason").json(r#"{"reason": "a\u001b[2J"}"#),
        cancel("an empty actor", 400, "bad-header").json(r#"{"reason": "a test"}"#).header("amends-actor", " "),
        cancel("a long actor", 400, "bad-header")
            .json(r#"{"reason": "a test"}"#)
            .header("amends-actor", "x".repeat(129)),
        order("past its point of no return", "{past}/cancel", 409, "conflict"),
        order("cancelling what is over", "{ends}/cancel", 409, "conflict"),
        order("holding what is over", "{ends}/pause", 409, "conflict"),
        order("going on with what is over", "{ends}/resume", 409, "conflict"),
        order("going on with what is not held", "{waits}/resume", 409, "conflict"),
        order("cancelling what compensates", "{sticks}/cancel", 409, "conflict"),
        order("an unknown order", "{waits}/restart", 404, "unknown-address"),
    ];
    let long = json!({ "reason": "x".repeat(4 * KIB + 1) }).to_string();
    for path in ["cancel", "pause", "resume"] {
        let given = |name, status, problem| case(name, &format!("POST /v1/sagas/{{waits}}/{path}"), status, problem);
        cases.extend([
            given("no body", 415, "unsupported-media-type"),
            given("no reason", 400, "bad-body").json("{}").says("reason"),
            given("an empty reason", 400, "bad-reason").json(r#"{"reason": ""}"#),
            given("a blank reason", 400, "bad-reason").json(r#"{"reason": " \n "}"#),
            given("a long reason", 400, "bad-reason").json(long.clone()).says("4096"),
            order("no UUID", &format!("waits/{path}"), 400, "bad-id"),
            order("no such saga", &format!("0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a/{path}"), 404, "unknown-saga"),
        ]);
    }
    world.check(cases).await;
}

#[tokio::test]
async fn dead_letters() {
    let world = World::new().await;
    let mut cases = vec![
        case("malformed", "GET /v1/dead-letters/1", 400, "bad-id"),
        case("no number", "GET /v1/dead-letters/{sticks}.x", 400, "bad-id"),
        case("a negative number", "GET /v1/dead-letters/{sticks}.-1", 400, "bad-id"),
        case("unknown", "GET /v1/dead-letters/{sticks}.99", 404, "unknown-dead-letter").says("GET /v1/dead-letters"),
        case("unknown saga", "GET /v1/dead-letters/0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a.1", 404, "unknown-dead-letter"),
    ];
    for (way, body) in [
        ("retry", r#"{"reason": "a test"}"#),
        ("skip", r#"{"reason": "a test"}"#),
        ("resolve", r#"{"reason": "a test", "effect": "undone"}"#),
        ("edit", r#"{"reason": "a test", "body": {}}"#),
        ("turn-around", r#"{"reason": "a test"}"#),
    ] {
        let settle = |name, id, status, problem| {
            case(name, &format!("POST /v1/dead-letters/{id}/{way}"), status, problem).json(body)
        };
        cases.extend([
            settle("malformed", "x", 400, "bad-id"),
            settle("unknown", "{sticks}.99", 404, "unknown-dead-letter"),
            case("no boolean", &format!("POST /v1/dead-letters/{{letter}}/{way}?dry_run=perhaps"), 400, "bad-query")
                .json(body),
            case("no such parameter", &format!("POST /v1/dead-letters/{{letter}}/{way}?dryrun=true"), 400, "bad-query")
                .json(body),
            settle("settled already", "{old-letter}", 409, "conflict").says("settled at"),
            case("no reason", &format!("POST /v1/dead-letters/{{letter}}/{way}"), 400, "bad-body").json("{}"),
            case("no body", &format!("POST /v1/dead-letters/{{letter}}/{way}"), 415, "unsupported-media-type"),
        ]);
    }
    let resolve = |name, status, problem| case(name, "POST /v1/dead-letters/{letter}/resolve", status, problem);
    cases.extend([
        resolve("an empty reason", 400, "bad-reason").json(r#"{"reason": "", "effect": "undone"}"#),
        resolve("no effect", 400, "bad-body").json(r#"{"reason": "a test"}"#).says("effect"),
        resolve("an unknown effect", 400, "bad-body").json(r#"{"reason": "a test", "effect": "maybe"}"#).says("maybe"),
        resolve("an output of nothing", 400, "bad-body")
            .json(r#"{"reason": "a test", "effect": "undone", "output": 1}"#),
    ]);
    world.check(cases).await;
}

#[tokio::test]
async fn queries() {
    let world = World::new().await;
    let mut cases = vec![
        case("an unknown status", "GET /v1/sagas?status=lost", 400, "bad-query").says("lost"),
        case("a status in capitals", "GET /v1/sagas?status=Running", 400, "bad-query"),
        case("a parameter twice", "GET /v1/sagas?status=running&status=stuck", 400, "bad-query"),
        case("no boolean", "GET /v1/dead-letters?closed=perhaps", 400, "bad-query"),
        case("no age", "GET /v1/dead-letters?older_than=soon", 400, "bad-query").says("older_than"),
        case("dead letters of no saga", "GET /v1/dead-letters?saga=1", 400, "bad-id"),
        case("audit of no saga", "GET /v1/audit?saga=1", 400, "bad-id"),
        case("no id", "GET /v1/sagas/1", 400, "bad-id").says("UUID"),
        case("a long id", &format!("GET /v1/sagas/{}", "1".repeat(500)), 400, "bad-id").says("…"),
        case("no such saga", "GET /v1/sagas/0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a", 404, "unknown-saga"),
        case("events of no saga", "GET /v1/sagas/0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a/events", 404, "unknown-saga"),
        case("a stream of no saga", "GET /v1/sagas/0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a/events", 404, "unknown-saga")
            .header("accept", "text/event-stream"),
        case("a stream of no id", "GET /v1/sagas/x/events", 400, "bad-id").header("accept", "text/event-stream"),
        case("a stream after nothing", "GET /v1/sagas/{waits}/events", 400, "bad-header")
            .header("accept", "text/event-stream")
            .header("last-event-id", "-1"),
        case("too many events", "GET /v1/sagas/{waits}/events?limit=1001", 400, "bad-query"),
    ];
    for list in ["sagas", "dead-letters", "dead-letters/groups", "audit", "sagas/{waits}/events"] {
        let get = |name, query, status, problem| case(name, &format!("GET /v1/{list}?{query}"), status, problem);
        cases.extend([
            get("an unknown parameter", "limt=1", 400, "bad-query").says("limt"),
            get("no number", "limit=many", 400, "bad-query"),
            get("limit 0", "limit=0", 400, "bad-query").says("`limit` is 0"),
            get("a negative limit", "limit=-1", 400, "bad-query"),
            get("a huge limit", "limit=99999999999999999999", 400, "bad-query"),
            get("an empty cursor", "cursor=", 400, "bad-cursor").says("`next`"),
            get("a wrong cursor", "cursor=nonsense", 400, "bad-cursor"),
            get("a cursor of another list", "cursor=z1", 400, "bad-cursor"),
            get("a cursor too long", "cursor=s000000000000000000000000000000000000", 400, "bad-cursor"),
        ]);
    }
    for list in ["sagas", "dead-letters", "dead-letters/groups", "audit"] {
        cases.push(case("limit 501", &format!("GET /v1/{list}?limit=501"), 400, "bad-query").says("1 to 500"));
    }
    world.check(cases).await;
}

#[tokio::test]
async fn addresses_and_headers() {
    let world = World::new().await;
    world
        .check(vec![
            case("the root", "GET /", 404, "unknown-address"),
            case("nothing there", "GET /v1/nothing", 404, "unknown-address").says("GET /openapi.json"),
            case("a version that is not there", "GET /v2/sagas", 404, "unknown-address"),
            case("a slash too many", "GET /v1/sagas/", 404, "unknown-address"),
            case("deleting a saga", "DELETE /v1/sagas/{waits}", 405, "method-not-allowed").says("DELETE"),
            case("an unknown method", "BREW /v1/sagas", 405, "method-not-allowed"),
            case("posting the audit", "POST /v1/audit", 405, "method-not-allowed"),
            case("putting the health", "PUT /healthz", 405, "method-not-allowed"),
            case("a HEAD of nothing", "HEAD /v1/nothing", 404, ""),
            case("a long address", &format!("GET /v1/sagas?key={}", "x".repeat(9 * KIB)), 414, "address-too-long"),
            case("large headers", "GET /v1/sagas", 431, "headers-too-large").header("x-large", "x".repeat(17 * KIB)),
            case("another host", "GET /v1/sagas", 421, "wrong-host")
                .header("host", "evil.example")
                .says("evil.example"),
            case("a host that only begins well", "GET /v1/sagas", 421, "wrong-host")
                .header("host", "127.0.0.1.evil.example"),
            case("a start for another host", "POST /v1/sagas/waits", 421, "wrong-host")
                .header("host", "evil.example:80")
                .json(r#"{"id": "n"}"#),
        ])
        .await;
    let allowed = world.http.delete(format!("{}/v1/sagas", world.base)).send().await.unwrap();
    assert_eq!(allowed.headers()["allow"], "GET,HEAD");
    let head = world.http.head(format!("{}/v1/sagas", world.base)).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.text().await.unwrap()), (200, String::new()));
}

#[tokio::test]
async fn what_does_not_arrive_in_time() {
    let world = World::new().await;
    let before = world.everything().await;
    let start = "POST /v1/sagas/waits HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for (name, request, expected) in [
        ("a body that never comes", format!("{start}content-length: 11\r\n\r\n"), "HTTP/1.1 408"),
        ("a body that stops", format!("{start}content-length: 11\r\n\r\n{{\"id\""), "HTTP/1.1 408"),
        ("a chunk that stops", format!("{start}transfer-encoding: chunked\r\n\r\nb\r\n{{\"id\""), "HTTP/1.1 408"),
        ("a chunk that is none", format!("{start}transfer-encoding: chunked\r\n\r\nzz\r\n{{\"id\""), "HTTP/1.1 400"),
        (
            "a body larger than is taken",
            format!("{start}expect: 100-continue\r\ncontent-length: 9999999\r\n\r\n"),
            "HTTP/1.1 413",
        ),
        ("headers without an end", format!("{start}x-a: {}", "x".repeat(100 * KIB)), "HTTP/1.1 431"),
        ("a head that stops", "GET /v1/sagas HTTP/1.1\r\nhost: loc".to_owned(), ""),
        ("nothing", String::new(), ""),
        ("no HTTP", "nonsense\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("two lengths", format!("{start}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"), "HTTP/1.1 400"),
    ] {
        let answer = world.raw(&request).await;
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.starts_with(expected) && first.is_empty() == expected.is_empty(), "{name}: {answer}");
        assert_eq!(world.everything().await, before, "{name}: something was left behind");
    }
}
