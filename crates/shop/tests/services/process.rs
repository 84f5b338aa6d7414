//! A service as a child process, and a client that opens a connection for each request.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use tempfile::TempDir;

/// A service that runs. It dies with the test, for its standard input ends then.
pub struct Process {
    service: &'static str,
    address: String,
    child: Child,
    input: Option<ChildStdin>,
    folder: TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    head: String,
}

const SIGABRT: i32 = 6;

impl Process {
    /// Starts a service with a new database.
    pub fn start(service: &'static str) -> Process {
        Process::start_with(service, &[])
    }

    pub fn start_with(service: &'static str, arguments: &[&str]) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let (child, address) = spawn(service, folder.path().join("service.db"), arguments);
        let mut process = Process { service, address, child, input: None, folder };
        process.input = process.child.stdin.take();
        process
    }

    /// Starts it again on the same database, once it has crashed.
    pub fn restart_after_crash(&mut self) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGABRT), "it did not crash: {status}");
        let (mut child, address) = spawn(self.service, self.folder.path().join("service.db"), &[]);
        self.input = child.stdin.take();
        (self.child, self.address) = (child, address);
    }

    /// Ends the process's standard input and waits until it has gone; whether it said that all was well.
    pub fn end_input(mut self) -> bool {
        drop(self.input.take());
        self.child.wait().unwrap().success()
    }

    /// Asks it to stop, and waits until it has; whether it said that all was well.
    pub fn terminate(mut self) -> bool {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap().success()
    }

    pub fn get(&self, path: &str) -> Value {
        let reply = self.try_get(path).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body
    }

    pub fn try_get(&self, path: &str) -> Option<Reply> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// A POST with a key; `None` where the connection ends without an answer.
    pub fn try_post(&self, path: &str, key: &str, body: Value) -> Option<Reply> {
        self.exchange(&format!("POST {path} HTTP/1.1\r\nidempotency-key: {key}\r\n"), &body.to_string())
    }

    pub fn post(&self, path: &str, key: &str, body: Value) -> Reply {
        self.try_post(path, key, body).unwrap()
    }

    pub fn undo(&self, path: &str, action_key: &str, body: Value) -> Reply {
        self.try_undo(path, action_key, body).unwrap()
    }

    /// A compensation of the action under `action_key`; `None` where the connection ends without an answer.
    pub fn try_undo(&self, path: &str, action_key: &str, body: Value) -> Option<Reply> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nidempotency-key: {action_key}-compensation\r\namends-action-key: {action_key}\r\n"
        );
        self.exchange(&head, &body.to_string())
    }

    pub fn put(&self, path: &str, body: Value) -> Reply {
        let head =
            format!("PUT {path} HTTP/1.1\r\nidempotency-key: put-{path}-{body}\r\n").replace(['{', '}', '"', ','], "_");
        self.exchange(&head, &body.to_string()).unwrap()
    }

    /// Without a key.
    pub fn post_plain(&self, path: &str, body: Value) -> Reply {
        self.exchange(&format!("POST {path} HTTP/1.1\r\n"), &body.to_string()).unwrap()
    }

    /// How often the action under `key` was done and undone.
    pub fn done_and_undone(&self, key: &str) -> (u64, u64) {
        let count = &self.get("/ledger")["counts"][key];
        (count["done"].as_u64().unwrap_or(0), count["undone"].as_u64().unwrap_or(0))
    }

    /// The number of requests that the only fault struck.
    pub fn fired(&self) -> u64 {
        self.get("/faults")["faults"][0]["fired"].as_u64().unwrap()
    }

    fn exchange(&self, head: &str, body: &str) -> Option<Reply> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let json = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        write!(stream, "{head}host: shop\r\nconnection: close\r\n{json}content-length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        // A process that aborts resets the connection, which is as good as no answer.
        let _ended_or_reset = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().unwrap();
        Some(Reply { status, body: serde_json::from_str(body).unwrap_or_default(), head: head.to_lowercase() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Reply {
    pub fn replayed(&self) -> bool {
        self.head.contains("\r\nidempotent-replayed: true")
    }

    pub fn null_compensation(&self) -> bool {
        self.head.contains("\r\namends-null-compensation: true")
    }

    pub fn asks_again(&self) -> bool {
        self.head.contains("\r\nretry-after: ")
    }

    /// The last part of a problem's type.
    pub fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap().rsplit(':').next().unwrap()
    }
}

fn spawn(service: &str, database: PathBuf, arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
        .args([service, "--exit-with-parent", "--database"])
        .arg(database)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listening on http://").expect("the first line says where").trim().to_owned();
    (child, address)
}
