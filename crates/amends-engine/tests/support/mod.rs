//! A participant over real TCP that answers as it is told, and an engine that calls it.

#![cfg(test)]
#![allow(dead_code, reason = "each test file uses other parts of it")]

use amends_core::lint;
use amends_core::machine::Status;
use amends_engine::{Engine, EngineOptions, Participant, Settings, Snapshot, StartRequest};
use amends_store::{MemoryStore, Processes};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a participant does with one request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Sends these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and keeps the connection for the next request.
    Kept(Vec<u8>),
    /// Reads the request and never answers.
    Silence,
    /// Sends these bytes, and then others without end.
    Endless(Vec<u8>),
    /// Sends the first bytes, and then the second again and again, as fast as they are taken.
    Flood(Vec<u8>, Vec<u8>),
    /// Sends the first bytes, and then the second again and again, one byte every ten milliseconds.
    Drip(Vec<u8>, Vec<u8>),
}

/// A complete answer with a JSON body.
pub fn json(status: u16, body: &str) -> Behaviour {
    with_headers(status, "content-type: application/json\r\n", body)
}

/// A complete answer with headers, each ended by a line break.
pub fn with_headers(status: u16, headers: &str, body: &str) -> Behaviour {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    Behaviour::Raw(format!("{head}{body}").into_bytes())
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// The client's end of the connection.
    pub connection: std::net::SocketAddr,
}

/// A participant that answers as it is told: by path, one behaviour a request, the last one for ever.
#[derive(Clone)]
pub struct Scripted {
    pub address: std::net::SocketAddr,
    scripts: Arc<Mutex<BTreeMap<String, VecDeque<Behaviour>>>>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    /// Of each flood and drip that has ended: how many bytes were taken of it.
    taken: mpsc::UnboundedSender<u64>,
    ends: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<u64>>>,
}

impl Scripted {
    pub async fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (taken, ends) = mpsc::unbounded_channel();
        let participant = Scripted {
            address: listener.local_addr().expect("a bound socket has an address"),
            scripts: Arc::default(),
            arrived: Arc::default(),
            taken,
            ends: Arc::new(tokio::sync::Mutex::new(ends)),
        };
        let serving = participant.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        participant
    }

    pub fn answers(&self, path: &str, behaviours: impl IntoIterator<Item = Behaviour>) -> &Scripted {
        self.scripts.lock().expect("no test panics here").insert(path.into(), behaviours.into_iter().collect());
        self
    }

    /// The requests that have arrived for a path.
    pub fn arrived(&self, path: &str) -> Vec<Arrived> {
        let arrived = self.arrived.lock().expect("no test panics here");
        arrived.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Waits for the end of a flood or a drip, which is the engine's to make, and says how much was taken of it.
    pub async fn taken(&self) -> u64 {
        let patience = std::time::Duration::from_secs(30);
        let mut ends = self.ends.lock().await;
        let end = tokio::time::timeout(patience, ends.recv()).await;
        end.expect("the engine ends the connection").expect("the sender is as old as the receiver")
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let connection = stream.peer_addr().ok()?;
        let mut stream = BufReader::new(stream);
        while self.serve_one(&mut stream, connection).await? {}
        stream.shutdown().await.ok()
    }

    /// Serves one request, and says whether the connection is kept.
    async fn serve_one(&self, stream: &mut BufReader<TcpStream>, connection: std::net::SocketAddr) -> Option<bool> {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.ok()?;
            match header.trim_end().split_once(": ") {
                Some((name, value)) => headers.insert(name.to_owned(), value.to_owned()),
                None => break,
            };
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).ok()?;
        let behaviour = self.next(&path);
        let request = Arrived { method, path, headers, body, connection };
        self.arrived.lock().expect("no test panics here").push(request);
        match behaviour {
            Behaviour::Raw(bytes) => stream.write_all(&bytes).await.ok()?,
            Behaviour::Kept(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return Some(true);
            }
            Behaviour::Silence => std::future::pending().await,
            Behaviour::Endless(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                let more = vec![b'x'; 64 * 1024];
                while stream.write_all(&more).await.is_ok() {}
            }
            Behaviour::Flood(bytes, more) => {
                stream.write_all(&bytes).await.ok()?;
                let more = more.repeat((64 * 1024 / more.len()).max(1));
                let mut taken = 0;
                while stream.write_all(&more).await.is_ok() {
                    taken += more.len() as u64;
                }
                self.taken.send(taken).ok()?;
            }
            Behaviour::Drip(bytes, drops) => {
                stream.get_mut().set_nodelay(true).ok()?;
                stream.write_all(&bytes).await.ok()?;
                let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
                let mut taken = 0;
                for byte in drops.into_iter().cycle() {
                    ticks.tick().await;
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    taken += 1;
                }
                self.taken.send(taken).ok()?;
            }
        }
        Some(false)
    }

    fn next(&self, path: &str) -> Behaviour {
        let mut scripts = self.scripts.lock().expect("no test panics here");
        match scripts.get_mut(path) {
            Some(script) if script.len() > 1 => script.pop_front().expect("it has more than one"),
            Some(script) => script.front().cloned().unwrap_or_else(|| json(200, "{}")),
            None => json(200, "{}"),
        }
    }
}

/// An engine over a memory store, which knows the participant as `shop` and has this definition.
pub async fn engine(participant: std::net::SocketAddr, definition: &str) -> Engine {
    engine_with(participant, definition, |_| {}).await
}

pub async fn engine_with(
    participant: std::net::SocketAddr,
    definition: &str,
    adjust: impl FnOnce(&mut Settings),
) -> Engine {
    let store = Arc::new(MemoryStore::new(Processes::One));
    let url = format!("http://{participant}").parse().expect("an address makes a URL");
    let mut settings = Settings { sweep_ms: 20, ..Settings::default() };
    settings.participants.insert("shop".into(), Participant::at(url));
    adjust(&mut settings);
    let options = EngineOptions { store: store.clone(), views: store, settings };
    let engine = Engine::start(options).await.expect("a memory store takes an engine");
    let compiled = lint::compile(definition).expect("the test's definition is valid");
    engine.put_definition(definition, compiled, "a test").await.expect("a memory store takes a definition");
    engine
}

/// Starts a saga and waits until it is finished or stuck.
pub async fn outcome(engine: &Engine, definition: &str, input: serde_json::Value) -> Snapshot {
    let request = StartRequest {
        definition: definition.into(),
        input: Arc::new(input),
        traceparent: None,
        wait_ms: Some(30_000),
    };
    let started = engine.start_saga(request).await.expect("the start is accepted");
    assert_ne!(started.saga.saga.status(), Status::Running, "{:?}", started.saga.saga);
    started.saga
}
