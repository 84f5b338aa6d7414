//! Callers who drip, stop, say nothing or never read: each is cut off within the bound that the configuration sets, and
//! nobody else waits for it.
//!
//! The places for connections are few in most of these tests, so that a healthy caller is served at all only where the
//! hostile ones do not keep theirs.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use reqwest::Client;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};

/// What each of the bounds is set to.
const BOUND: Duration = Duration::from_millis(500);
/// By when a caller must be cut off: the bound, and what a machine that does other things may add.
const CUT_OFF: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// A drop of a request.
const DROP: Duration = Duration::from_millis(20);
/// The steps of the saga whose history is long.
const STEPS: usize = 40;
const OUTPUT_BYTES: usize = 250 * 1024;

struct World {
    server: Server,
    http: Client,
    base: String,
    _directory: TempDir,
}

impl World {
    /// A server that takes so many connections at once.
    async fn new(connections: usize) -> World {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("amends.toml");
        let bound = BOUND.as_millis();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\n[http]\nconnections = {connections}\n\
             header_read_timeout = \"{bound}ms\"\nbody_read_timeout = \"{bound}ms\"\nanswer_write_timeout = \"{bound}ms\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        let server = Server::start(&config).await.unwrap();
        let base = format!("http://{}", server.address());
        let http = Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap();
        let world = World { server, http, base, _directory: directory };
        let steps: String = (0..STEPS).map(|step| format!("  s{step}: {{ wait: 1h }}\n")).collect();
        world.define("waits", &steps).await;
        world
    }

    async fn define(&self, name: &str, steps: &str) {
        let source = format!("saga: {name}\nkey: \"{{{{ input.id }}}}\"\nsteps:\n{steps}");
        let request = self.http.put(format!("{}/v1/definitions/{name}", self.base)).body(source);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Starts a saga, as anybody does who means well, and says how long that took.
    async fn serve(&self, input: &Value) -> (String, Duration) {
        let began = Instant::now();
        let request = self.http.post(format!("{}/v1/sagas/waits", self.base)).json(input);
        let response = request.send().await.expect("a healthy caller is served");
        assert_eq!(response.status(), 202);
        let saga: Value = response.json().await.unwrap();
        (saga["id"].as_str().unwrap().to_owned(), began.elapsed())
    }

    async fn complete(&self, saga: &str, step: usize) {
        let url = format!("{}/v1/sagas/{saga}/steps/s{step}/complete", self.base);
        let output = json!({ "output": "x".repeat(OUTPUT_BYTES) });
        let response = self.http.post(url).json(&output).send().await.expect("a healthy caller is served");
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }
}

/// Sends a request drop by drop and says when the connection ended, and with what answer.
async fn drip(address: SocketAddr, at_once: String, drops: String) -> (Duration, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let began = Instant::now();
    stream.write_all(at_once.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut ticks = interval(DROP);
        for byte in drops.bytes().cycle() {
            ticks.tick().await;
            if writing.write_u8(byte).await.is_err() {
                break;
            }
        }
    });
    let mut answer = Vec::new();
    // A connection that is closed while drops are on their way is reset, which may take the answer with it.
    match timeout(CUT_OFF, reading.read_to_end(&mut answer)).await.expect("the server ends the connection") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    dripping.abort();
    (began.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}

/// A connection of somebody who reads nothing, with little room for what is sent.
async fn reads_nothing(address: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_drips_is_cut_off_and_hinders_nobody() {
    let world = World::new(8).await;
    let start = "POST /v1/sagas/waits HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let chunked = format!("{start}transfer-encoding: chunked\r\n\r\n");
    let cases = [
        (
            "a head",
            String::new(),
            "GET /v1/sagas HTTP/1.1\r\nhost: localhost\r\nx-long: ".to_owned() + &"x".repeat(9_999),
            "",
        ),
        ("a line", String::new(), "x".repeat(9_999), ""),
        ("a body", format!("{start}content-length: 99999\r\n\r\n"), " ".repeat(9_999), "HTTP/1.1 408"),
        ("chunks without an end", chunked, "1\r\n \r\n".to_owned(), "HTTP/1.1 408"),
        (
            "a second request",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            "x".repeat(9_999),
            "HTTP/1.1 200",
        ),
    ];
    let peers: Vec<_> = cases
        .into_iter()
        .map(|(name, at_once, drops, answer)| (name, answer, tokio::spawn(drip(world.address(), at_once, drops))))
        .collect();
    for id in 0..5 {
        let (_, took) = world.serve(&json!({ "id": id.to_string() })).await;
        assert!(took < CUT_OFF, "a healthy caller waited for {took:?}");
    }
    for (name, expected, peer) in peers {
        let (took, answer) = peer.await.unwrap();
        assert!(took >= BOUND, "{name} was cut off after {took:?} already: {answer}");
        assert!(answer.is_empty() || answer.starts_with(expected), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_thousand_idle_connections_end_and_hinder_nobody() {
    let world = World::new(4_096).await;
    let mut idle = Vec::new();
    let began = Instant::now();
    for number in 0..1_000 {
        match TcpStream::connect(world.address()).await {
            Ok(mut stream) => {
                // Half of them begin to speak and stop.
                if number % 2 == 0 {
                    stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
                }
                idle.push(stream);
            }
            // This process has a bound on its files of its own, and both ends are in it.
            Err(error) => {
                assert!(number > 200, "{error}");
                break;
            }
        }
    }
    if idle.len() < 1_000 {
        idle.truncate(idle.len() - 50);
    }
    let (_, took) = world.serve(&json!({ "id": "o-1" })).await;
    assert!(took < CUT_OFF, "a healthy caller waited for {took:?}");
    for mut stream in idle {
        let mut nothing = Vec::new();
        timeout(CUT_OFF, stream.read_to_end(&mut nothing)).await.expect("the server ends the connection").unwrap();
        assert!(nothing.is_empty(), "{}", String::from_utf8_lossy(&nothing));
    }
    assert!(began.elapsed() >= BOUND);
}

#[tokio::test]
async fn silent_connections_that_take_all_places_give_them_back() {
    let world = World::new(4).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(world.address()).await.unwrap());
    }
    // Two rounds of four have to be cut off before it is this caller's turn.
    let (_, took) = world.serve(&json!({ "id": "o-1" })).await;
    assert!(took < CUT_OFF, "a healthy caller waited for {took:?}");
}

#[tokio::test]
async fn who_asks_for_much_and_reads_nothing_is_cut_off() {
    let world = World::new(1).await;
    let (saga, _) = world.serve(&json!({ "id": "o-1", "much": "x".repeat(1_000_000) })).await;
    let request = format!("GET /v1/sagas/{saga} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(64);
    let mut hostile = reads_nothing(world.address(), &request).await;
    let (_, took) = world.serve(&json!({ "id": "o-2" })).await;
    assert!(took >= BOUND / 2, "the hostile caller did not hold the only place");
    let mut got = vec![0; 64 * 1024];
    let mut total = 0;
    while let Ok(read @ 1..) = timeout(CUT_OFF, hostile.read(&mut got)).await.expect("it ends") {
        total += read;
    }
    assert!(total < 64 * 1_000_000, "all of it was sent");
}

#[tokio::test]
async fn who_follows_a_saga_and_reads_nothing_is_cut_off() {
    let world = World::new(2).await;
    let (saga, _) = world.serve(&json!({ "id": "o-1" })).await;
    let request =
        format!("GET /v1/sagas/{saga}/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    let mut hostile = reads_nothing(world.address(), &request).await;
    // The engine goes on meanwhile, and so does everybody who speaks with it.
    for step in 0..STEPS - 1 {
        let began = Instant::now();
        world.complete(&saga, step).await;
        assert!(began.elapsed() < CUT_OFF, "step {step} took {:?}", began.elapsed());
    }
    // Both places are free again: one caller after the other takes one and keeps it for the time of its silence.
    let _silent = TcpStream::connect(world.address()).await.unwrap();
    let (_, took) = world.serve(&json!({ "id": "o-2" })).await;
    assert!(took < CUT_OFF, "a healthy caller waited for {took:?}");
    let mut got = vec![0; 64 * 1024];
    let mut total = 0;
    while let Ok(read @ 1..) = timeout(CUT_OFF, hostile.read(&mut got)).await.expect("it was cut off") {
        total += read;
    }
    assert!(total < (STEPS - 1) * OUTPUT_BYTES, "all {total} bytes were sent");
}

#[tokio::test]
async fn who_follows_a_saga_that_is_silent_is_not_cut_off() {
    let world = World::new(8).await;
    let (saga, _) = world.serve(&json!({ "id": "o-1" })).await;
    let request = world.http.get(format!("{}/v1/sagas/{saga}/events", world.base));
    let mut stream = request.header("accept", "text/event-stream").send().await.unwrap();
    let mut silence = interval(2 * BOUND);
    silence.tick().await;
    for step in 0..2 {
        silence.tick().await;
        world.complete(&saga, step).await;
    }
    let mut seen = String::new();
    // The wait of the first step, its end and the next wait, and those of the next.
    while seen.matches("event: wait-").count() < 5 {
        let chunk = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap().expect("the stream goes on");
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
}
