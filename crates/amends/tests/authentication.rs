//! Who is let in, to what, and what becomes known of it. docs/security.md names these tests.
#![cfg(test)]

mod support;

use amends::api::access::{Access, ROUTES};
use amends::api::{self};
use amends::config::{Config, Sources};
use amends::server::Server;
use amends_client::{AuditQuery, Client, Error, NewToken, Page, Role, StartOptions, TokenQuery};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::child::{self, Program};
use support::issuer::{Issuer, now_s};
use tempfile::TempDir;
use tokio::net::TcpListener;

const ADMIN: &str = "sesame-of-the-admin-from-the-beginning";
const WAITS: &str = "saga: waits\nkey: \"{{ input.id }}\"\nsteps:\n  approval: { wait: 1h }\n";

/// A server that knows its callers.
struct World {
    server: Server,
    base: String,
    directory: TempDir,
}

impl World {
    async fn new(auth: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&config(directory.path(), auth)).await.unwrap();
        let base = format!("http://{}", server.address());
        World { server, base, directory }
    }

    /// One with the admin's token.
    async fn guarded() -> World {
        World::new("[auth]\nadmin_token = \"file:admin\"\n").await
    }

    /// One that takes the issuer's tokens.
    async fn with(issuer: &Issuer) -> World {
        World::new(&oidc(&issuer.address)).await
    }

    fn client(&self, token: &str) -> Client {
        Client::new(&self.base).unwrap().with_token(token).unwrap()
    }

    /// Makes a token that is called as its role.
    async fn token(&self, role: Role) -> String {
        let asked = NewToken { name: role.to_string(), role, expires_in: None };
        self.client(ADMIN).create_token(&asked).await.unwrap().token
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>) -> Response {
        // A connection of its own: one that rests is closed when the clock is moved on.
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.base));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.unwrap()
    }

    /// The status of a request to read, and what it is refused for.
    async fn reads(&self, token: &str) -> (u16, String) {
        let response = self.ask(Method::GET, "/v1/sagas", Some(token)).await;
        let status = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        (status, problem["detail"].as_str().unwrap_or_default().to_owned())
    }
}

fn config(directory: &Path, auth: &str) -> Config {
    std::fs::write(directory.join("admin"), ADMIN).unwrap();
    let sagas = directory.join("sagas");
    std::fs::create_dir_all(&sagas).unwrap();
    std::fs::write(sagas.join("waits.yaml"), WAITS).unwrap();
    let file = directory.join("amends.toml");
    let text = "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\n";
    std::fs::write(&file, format!("{text}{auth}")).unwrap();
    Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap()
}

fn oidc(issuer: &str) -> String {
    format!("[auth.oidc]\nissuer = \"{issuer}\"\naudience = \"amends\"\n")
}

/// Every method and path that the server answers to.
fn routes() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()));
        methods.collect::<Vec<_>>()
    };
    let described = document["paths"].as_object().unwrap().iter().flat_map(of_path);
    // The description does not describe itself.
    described.chain([("GET".to_owned(), "/openapi.json".to_owned())]).collect()
}

/// A path whose parameters have values.
fn filled(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "x".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_needs_what_the_table_says() {
    let table: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(table, routes(), "each route has one row, and each row is a route");
    assert_eq!(table.len(), ROUTES.len());
    let open: Vec<&str> =
        ROUTES.iter().filter(|(.., access)| *access == Access::Open).map(|(_, path, _)| *path).collect();
    assert_eq!(open, ["/healthz", "/readyz"]);

    let world = World::guarded().await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, world.token(role).await));
    }
    for (method, path, access) in ROUTES {
        let place = format!("{method} {path}");
        let method: Method = method.parse().unwrap();
        let path = filled(path);
        let response = world.ask(method.clone(), &path, None).await;
        let Access::Needs(needed) = access else {
            assert_eq!(response.status().as_u16(), 200, "{place}");
            continue;
        };
        assert_eq!(response.status().as_u16(), 401, "{place}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["type"], "urn:amends:problem:unauthenticated", "{place}");
        for (role, token) in &tokens {
            let response = world.ask(method.clone(), &path, Some(token)).await;
            let status = response.status().as_u16();
            if role >= needed {
                assert!(status < 500 && ![401, 403, 405].contains(&status), "{place} answers {status} to {role}");
                continue;
            }
            assert_eq!(status, 403, "{place} to {role}");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["type"], "urn:amends:problem:forbidden");
            assert!(problem["detail"].as_str().unwrap().contains(&format!("the role {needed},")), "{problem}");
        }
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_token_lets_nobody_in() {
    let world = World::guarded().await;
    let near = format!("{}x", &ADMIN[..ADMIN.len() - 1]);
    for token in ["x", "amends_", &format!("amends_{}", "0".repeat(64)), &near, "a.b.c"] {
        assert_eq!(world.reads(token).await.0, 401, "{token}");
    }
    for (name, value) in [("authorization", format!("Basic {ADMIN}")), ("x-token", ADMIN.to_owned())] {
        let request = reqwest::Client::new().get(format!("{}/v1/sagas", world.base)).header(name, value);
        assert_eq!(request.send().await.unwrap().status(), 401, "{name}");
    }
    let address = format!("/v1/sagas?access_token={ADMIN}");
    assert_eq!(world.ask(Method::GET, &address, None).await.status(), 401, "an address is written down everywhere");
    assert_eq!(world.ask(Method::GET, "/nowhere", None).await.status(), 401);
    assert_eq!(world.ask(Method::GET, "/nowhere", Some(ADMIN)).await.status(), 404);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_is_made_used_listed_and_revoked() {
    let world = World::guarded().await;
    let admin = world.client(ADMIN);
    let asked = NewToken { name: "billing".into(), role: Role::Operator, expires_in: Some("90d".into()) };
    let created = admin.create_token(&asked).await.unwrap();
    let about = created.about.clone();
    let times =
        [&about.created_at, about.expires_at.as_ref().unwrap()].map(|at| at.parse::<jiff::Timestamp>().unwrap());
    assert_eq!(times[1].as_second() - times[0].as_second(), 90 * 24 * 3_600);
    world.token(Role::Viewer).await;

    let page = admin.tokens(&TokenQuery { limit: Some(1), ..TokenQuery::default() }).await.unwrap();
    assert_eq!(page.items[0].name, "viewer");
    let rest = admin.tokens(&TokenQuery { cursor: page.next, ..TokenQuery::default() }).await.unwrap();
    assert_eq!(rest, Page { items: vec![about.clone()], next: None });

    let billing = world.client(&created.token);
    assert!(billing.sagas(&Default::default()).await.is_ok());
    let revoked = admin.revoke_token(&about.id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(admin.revoke_token(&about.id).await.unwrap(), revoked, "once is enough");
    let (status, why) = world.reads(&created.token).await;
    assert_eq!((status, why.as_str()), (401, "the token was revoked; ask an admin for another token"));

    let unknown = admin.revoke_token("0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a").await;
    assert!(matches!(unknown, Err(Error::Refused(problem)) if problem.kind == "urn:amends:problem:unknown-token"));
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn tokens_out_of_bounds_are_refused() {
    let world = World::guarded().await;
    let admin = world.client(ADMIN);
    let long = "a".repeat(65);
    for name in ["", "kim for lee", "a\nb", "k\u{e9}", &long] {
        let asked = NewToken { name: name.into(), role: Role::Viewer, expires_in: None };
        assert!(
            matches!(admin.create_token(&asked).await, Err(Error::Refused(problem)) if problem.status == 400),
            "{name}"
        );
    }
    for time in ["", "0s", "999ms", "-1d", "soon", "2026-03-01"] {
        let asked = NewToken { name: "a".into(), role: Role::Viewer, expires_in: Some(time.into()) };
        assert!(
            matches!(admin.create_token(&asked).await, Err(Error::Refused(problem)) if problem.status == 400),
            "{time}"
        );
    }
    assert!(admin.tokens(&TokenQuery::default()).await.unwrap().items.is_empty());
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_store_has_no_token_and_keeps_who_may_call() {
    let world = World::guarded().await;
    let token = world.token(Role::Viewer).await;
    world.server.stop().await.unwrap();
    for file in std::fs::read_dir(world.directory.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let random = token.strip_prefix("amends_").unwrap().as_bytes();
        assert!(!bytes.windows(16).any(|part| part == &random[..16]), "{}", path.display());
    }
    let server =
        Server::start(&config(world.directory.path(), "[auth]\nadmin_token = \"file:admin\"\n")).await.unwrap();
    let client = Client::new(&format!("http://{}", server.address())).unwrap().with_token(&token).unwrap();
    assert!(client.statistics().await.is_ok());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_audit_log_says_who_was_let_in() {
    let world = World::guarded().await;
    let token = world.token(Role::Operator).await;
    let client = world.client(&token);
    let saga = client.start("waits", &json!({ "id": "a" }), StartOptions::default()).await.unwrap().saga;
    client.pause(&saga.id, "a test").await.unwrap();
    client.clone().acting_as("ada").resume(&saga.id, "a test").await.unwrap();
    let log = client.audit(&AuditQuery::default()).await.unwrap().items;
    let actors: Vec<&str> = log.iter().map(|entry| entry.actor.as_str()).collect();
    assert_eq!(actors[..2], ["operator for ada", "operator"]);
    world.server.stop().await.unwrap();
}

/// What an admin does is there as well, each with what it was done to, and so is who ended a step that waited.
#[tokio::test]
async fn the_audit_log_says_what_was_done_to_no_saga() {
    let world = World::guarded().await;
    let admin = world.client(ADMIN).acting_as("ada");
    let asked = NewToken { name: "billing".into(), role: Role::Operator, expires_in: None };
    let created = admin.create_token(&asked).await.unwrap();
    let definition = admin.put_definition("waits", &WAITS.replace("1h", "2h")).await.unwrap();
    admin.put_definition("waits", &WAITS.replace("1h", "2h")).await.unwrap();
    let billing = world.client(&created.token);
    for (id, well) in [("a", true), ("b", false)] {
        let saga = billing.start("waits", &json!({ "id": id }), StartOptions::default()).await.unwrap().saga;
        match well {
            true => billing.complete_step(&saga.id, "approval", json!(null)).await.unwrap(),
            false => billing.fail_step(&saga.id, "approval", "no").await.unwrap(),
        };
    }
    admin.revoke_token(&created.about.id).await.unwrap();
    admin.revoke_token(&created.about.id).await.unwrap();
    let mut log = admin.audit(&AuditQuery::default()).await.unwrap().items;
    log.reverse();
    let id = &created.about.id;
    let (made, put) = (format!("{id} billing operator"), format!("waits {}", definition.version));
    let told: Vec<_> =
        log.iter().map(|entry| (entry.actor.as_str(), entry.action.as_str(), entry.subject.as_deref())).collect();
    let expected = [
        ("the server's configuration", "put definition", log[0].subject.as_deref()),
        ("admin for ada", "make token", Some(made.as_str())),
        ("admin for ada", "put definition", Some(put.as_str())),
        ("billing", "complete", None),
        ("billing", "fail", None),
        ("admin for ada", "revoke token", Some(id.as_str())),
    ];
    assert_eq!(told, expected);
    let reasons: Vec<_> = log.iter().filter_map(|entry| entry.reason.as_deref()).collect();
    assert_eq!(reasons, ["no"]);
    assert!(!format!("{log:?}").contains(&created.token), "a token is shown once");
    world.server.stop().await.unwrap();
}

/// Whoever makes a token while everybody may would be let in for good once callers are told apart.
#[tokio::test]
async fn a_server_that_knows_no_callers_makes_no_tokens() {
    let world = World::new("").await;
    let asked = NewToken { name: "a".into(), role: Role::Admin, expires_in: None };
    let made = world.client("whatever").create_token(&asked).await;
    assert!(matches!(made, Err(Error::Refused(problem)) if problem.status == 409));
    let client = Client::new(&world.base).unwrap();
    assert!(client.sagas(&Default::default()).await.is_ok(), "everything else is as it was");
    world.server.stop().await.unwrap();
}

/// At its most talkative, with a collector of traces, and whether or not the token is good.
#[tokio::test]
async fn no_log_and_no_trace_has_a_token_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let collected = Arc::new(Mutex::new(Vec::new()));
    let collector = collector(Arc::clone(&collected)).await;
    let auth = format!(
        "[auth]\nadmin_token = \"file:admin\"\n[telemetry]\notlp_endpoint = \"{collector}\"\n[log]\nlevel = \"trace\"\n"
    );
    config(directory.path(), &auth);
    let log = directory.path().join("log");
    let arguments = ["serve", "--config"].map(OsString::from).into_iter();
    let arguments: Vec<OsString> = arguments.chain([directory.path().join("amends.toml").into_os_string()]).collect();
    let program = Program::start(&arguments, &log).await;
    let base = format!("http://{}", program.address);
    let client = |token: &str| Client::new(&base).unwrap().with_token(token).unwrap();
    let asked = NewToken { name: "billing".into(), role: Role::Operator, expires_in: None };
    let token = client(ADMIN).create_token(&asked).await.unwrap().token;
    let saga = client(&token).start("waits", &json!({ "id": "a" }), StartOptions::default()).await.unwrap().saga;
    client(&token).cancel(&saga.id, "a test").await.unwrap();
    let bad = ["amends_sesame-that-nobody-made", "sesame.of.nobody"];
    let mut answers = String::new();
    for bad in bad {
        answers += &client(bad).sagas(&Default::default()).await.unwrap_err().to_string();
    }
    assert!(program.terminate().await.success());
    let written = child::read(&log) + &String::from_utf8(collected.lock().unwrap().clone()).unwrap();
    assert!(written.contains("a token was made") && written.contains(&saga.id), "there is a log, and there are traces");
    for token in [ADMIN, &token, bad[0], bad[1]] {
        assert!(!(written.clone() + &answers).contains(token), "{token}");
    }
}

/// What takes traces, and keeps them.
async fn collector(collected: Arc<Mutex<Vec<u8>>>) -> String {
    let keep = |State(collected): State<Arc<Mutex<Vec<u8>>>>, body: axum::body::Bytes| async move {
        collected.lock().unwrap().extend_from_slice(&body);
    };
    let router = Router::new().route("/v1/traces", post(keep)).with_state(collected);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A token's claims with some of them changed; null takes one away.
fn changed(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

#[tokio::test]
async fn tokens_of_an_issuer_are_taken() {
    let issuer = Issuer::start().await;
    let world = World::with(&issuer).await;
    for (algorithm, changes, status) in [
        ("RS256", json!({}), 200),
        ("ES256", json!({}), 200),
        ("EdDSA", json!({}), 200),
        ("ES256", json!({ "aud": ["other", "amends"] }), 200),
        ("ES256", json!({ "roles": "operator" }), 200),
        ("ES256", json!({ "roles": ["whatever", "admin"] }), 200),
        ("ES256", json!({ "exp": now_s() - 30 }), 200),
        ("ES256", json!({ "nbf": now_s() + 30 }), 200),
        ("ES256", json!({ "roles": null }), 403),
        ("ES256", json!({ "roles": [] }), 403),
        ("ES256", json!({ "roles": ["owner", "Admin"] }), 403),
        ("ES256", json!({ "roles": { "admin": true } }), 403),
    ] {
        let token = issuer.token(algorithm, &changed(issuer.claims(), changes.clone()));
        let (answered, why) = world.reads(&token).await;
        assert_eq!(answered, status, "{algorithm} {changes}: {why}");
    }
    assert_eq!(issuer.times(), 1, "the keys are fetched once");
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn roles_are_found_where_the_configuration_says() {
    let issuer = Issuer::start().await;
    let more = "roles_claim = \"realm_access.roles\"\nroles = { operator = [\"ops\"], admin = [\"root\"] }\n";
    let world = World::new(&(oidc(&issuer.address) + more)).await;
    for (roles, status) in [(json!(["viewer"]), 403), (json!(["ops"]), 404), (json!(["root", "ops"]), 404)] {
        let claims = changed(issuer.claims(), json!({ "roles": ["admin"], "realm_access": { "roles": roles } }));
        let token = issuer.token("ES256", &claims);
        let request = reqwest::Client::new().post(format!("{}/v1/sagas/nothing", world.base)).bearer_auth(token);
        let response = request.json(&json!({})).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{roles}");
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_an_issuer_did_not_say_to_this_server_is_refused() {
    let issuer = Issuer::start().await;
    let world = World::with(&issuer).await;
    for (changes, why) in [
        (json!({ "aud": "other" }), "the token is for another audience"),
        (json!({ "aud": ["other"] }), "the token is for another audience"),
        (json!({ "aud": null }), "the token lacks one of"),
        (json!({ "aud": 1 }), "the token lacks one of"),
        (json!({ "iss": "http://127.0.0.1:1" }), "the token is from another issuer"),
        (json!({ "iss": null }), "the token lacks one of"),
        (json!({ "exp": now_s() - 90 }), "the token has expired"),
        (json!({ "exp": null }), "the token lacks one of"),
        (json!({ "exp": "never" }), "the token lacks one of"),
        (json!({ "nbf": now_s() + 90 }), "the token is not valid yet"),
        (json!({ "nbf": "tomorrow" }), "the token cannot be read"),
        (json!({ "sub": null }), "the token lacks one of"),
        (json!({ "sub": "" }), "the subject of the token"),
        (json!({ "sub": "kim for lee" }), "the subject of the token"),
    ] {
        let (status, said) = world.reads(&issuer.token("ES256", &changed(issuer.claims(), changes.clone()))).await;
        assert!(status == 401 && said.starts_with(why), "{changes}: {status} {said}");
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_not_signed_with_the_issuers_key_is_refused() {
    let issuer = Issuer::start().await;
    let stranger = Issuer::start().await;
    let world = World::with(&issuer).await;
    let claims = issuer.claims();
    let head = |algorithm: &str, key: &str| json!({ "alg": algorithm, "kid": key });
    let good = issuer.token("ES256", &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (start, _) = message.split_once('.').unwrap();
    let other = issuer.token("ES256", &changed(claims.clone(), json!({ "roles": ["admin"] })));
    let other = other.split('.').nth(1).unwrap();
    let unknown = "the token is signed with a key that its issuer does not publish";
    let algorithms = "the token is not signed with RS256, ES256 or EdDSA";
    for (token, why) in [
        (stranger.token("ES256", &claims), "the signature of the token is wrong"),
        (format!("{start}.{other}.{signature}"), "the signature of the token is wrong"),
        (format!("{message}."), "the signature of the token is wrong"),
        (issuer.signed("RS256", &head("RS256", "ES256"), &claims), "the token is signed in another way"),
        (issuer.signed("ES256", &head("ES256", "RS256"), &claims), "the token is signed in another way"),
        (issuer.signed("HS256", &head("HS256", "RS256"), &claims), algorithms),
        (issuer.signed("HS256", &head("HS256", "HS256"), &claims), algorithms),
        (issuer.signed("HS256", &head("RS256", "RS256"), &claims), "the signature of the token is wrong"),
        (issuer.signed("none", &head("none", "RS256"), &claims), "the token is not known"),
        (issuer.signed("none", &head("RS256", "RS256"), &claims), "the signature of the token is wrong"),
        (issuer.signed("RS256", &head("PS256", "RS256"), &claims), algorithms),
        (issuer.signed("RS256", &head("RS256", "for-encryption"), &claims), unknown),
        (issuer.signed("RS256", &head("RS256", "nothing"), &claims), unknown),
        (issuer.signed("RS256", &json!({ "alg": "RS256" }), &claims), unknown),
        (
            issuer.signed("ES256", &json!({ "alg": "ES256", "kid": "ES256", "crit": ["b64"] }), &claims),
            "the token has critical headers",
        ),
    ] {
        let (status, said) = world.reads(&token).await;
        assert!(status == 401 && said.starts_with(why), "{why}: {status} {said}");
    }
    assert_eq!(world.reads(&good).await.0, 200);
    assert_eq!((issuer.times(), stranger.times()), (1, 0), "keys that are not there are not asked for again and again");
    world.server.stop().await.unwrap();
}

/// Moves the server's clock on. It runs again afterwards, because a request over the network takes real time.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn keys_come_and_go_with_what_the_issuer_publishes() {
    let issuer = Issuer::start().await;
    let world = World::with(&issuer).await;
    let keys = issuer.keys();
    let only = |id: &str| keys.iter().filter(|key| key["kid"] == id).cloned().collect::<Vec<_>>();
    issuer.publish(only("RS256"));
    let token =
        |algorithm: &str| issuer.token(algorithm, &changed(issuer.claims(), json!({ "jti": fastrand::u64(..) })));
    assert_eq!(world.reads(&token("RS256")).await.0, 200);
    let nameless = issuer.signed("RS256", &json!({ "alg": "RS256" }), &issuer.claims());
    assert_eq!(world.reads(&nameless).await.0, 200, "there is only one key");
    issuer.publish(only("ES256"));
    assert_eq!(world.reads(&token("ES256")).await.0, 401, "the keys were asked for a moment ago");
    assert_eq!(issuer.times(), 1);
    later(30).await;
    assert_eq!(world.reads(&token("ES256")).await.0, 200);
    assert_eq!(world.reads(&token("RS256")).await.0, 401, "it was withdrawn");
    assert_eq!(issuer.times(), 2);
    // Nobody asks for a new key, and still one that was withdrawn does not stay.
    issuer.publish(only("EdDSA"));
    assert_eq!(world.reads(&token("ES256")).await.0, 200);
    later(600).await;
    assert_eq!(world.reads(&token("ES256")).await.0, 401);
    assert_eq!(issuer.times(), 3);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_lets_nobody_in() {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let world = World::new(&oidc(&format!("http://{gone}"))).await;
    let issuer = Issuer::start().await;
    let response = world.ask(Method::GET, "/v1/sagas", Some(&issuer.token("ES256", &issuer.claims()))).await;
    assert_eq!(response.status(), 503);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:amends:problem:issuer-unavailable");
    assert_eq!(world.ask(Method::GET, "/readyz", None).await.status(), 200);
    world.server.stop().await.unwrap();

    // One that answers without end is not read to its end.
    let mut keys = issuer.keys();
    keys.push(json!({ "kty": "x".repeat(1024 * 1024) }));
    issuer.publish(keys);
    let world = World::with(&issuer).await;
    assert_eq!(world.reads(&issuer.token("ES256", &issuer.claims())).await.0, 503);
    world.server.stop().await.unwrap();
    issuer.publish(issuer.keys());

    // One that calls itself something else is not the one that was meant.
    let world = World::new(&oidc(&format!("{}/", issuer.address))).await;
    assert_eq!(world.reads(&issuer.token("ES256", &issuer.claims())).await.0, 503);
    world.server.stop().await.unwrap();
}

/// It may come later, so the server starts all the same, and says what is the matter.
#[tokio::test]
async fn an_admin_who_is_kept_out_is_warned_of() {
    for (auth, warning) in [
        ("file:nowhere", "the admin's token cannot be read"),
        ("file:short", "has fewer than 16 characters"),
        ("env:AMENDS_NOWHERE_TO_BE_FOUND", "the environment variable AMENDS_NOWHERE_TO_BE_FOUND is not set"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        config(directory.path(), &format!("[auth]\nadmin_token = \"{auth}\"\n"));
        std::fs::write(directory.path().join("short"), "sesame").unwrap();
        let log = directory.path().join("log");
        let file = directory.path().join("amends.toml").into_os_string();
        let program = Program::start(&["serve".into(), "--config".into(), file], &log).await;
        assert!(program.terminate().await.success());
        let written = child::read(&log);
        assert!(written.contains(warning) && !written.contains("sesame"), "{written}");
    }
}
