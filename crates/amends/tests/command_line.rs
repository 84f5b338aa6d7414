//! The program as it is called: what it prints, how it ends, and how it refuses.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, post};
use serde_json::Value;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Definitions by their names; each ends in a way of its own.
const DEFINITIONS: [(&str, &str); 4] = [
    ("waits", "  prepare: { sleep: 1ms }\n  signal: { wait: 1h }\n"),
    ("ends", "  work: { action: { post: \"shop:/works\" }, compensation: none }\n"),
    (
        "undoes",
        "  pay: { action: { post: \"shop:/works\" }, compensation: { post: \"shop:/works\" } }\n  \
         ship: { action: { post: \"shop:/refuses\" }, compensation: none }\n",
    ),
    (
        "sticks",
        "  pay: { action: { post: \"shop:/works\" }, compensation: { post: \"shop:/is-gone\" } }\n  \
         ship: { action: { post: \"shop:/refuses\" }, compensation: none }\n",
    ),
];

/// Every command that has a help.
const COMMANDS: [&str; 35] = [
    "",
    "serve",
    "demo",
    "lint",
    "start",
    "get",
    "list",
    "watch",
    "cancel",
    "pause",
    "resume",
    "complete",
    "fail",
    "dead-letters",
    "dead-letters list",
    "dead-letters groups",
    "dead-letters show",
    "dead-letters retry",
    "dead-letters resolve",
    "dead-letters skip",
    "dead-letters edit",
    "dead-letters turn-around",
    "audit-log",
    "audit-log list",
    "audit-log export",
    "audit-log verify",
    "token",
    "token create",
    "token list",
    "token revoke",
    "migrate",
    "openapi",
    "get -h",
    "help get",
    "--version",
];

/// A server in this process, and a directory in which the program runs.
struct World {
    server: Server,
    directory: TempDir,
    shop: SocketAddr,
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let shop = participant().await;
        let file = directory.path().join("server.toml");
        let definitions = directory.path().join("definitions");
        std::fs::create_dir(&definitions).unwrap();
        for (name, steps) in DEFINITIONS {
            std::fs::write(definitions.join(format!("{name}.yaml")), definition(name, steps)).unwrap();
        }
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite:server.db\"\ndefinitions = \"definitions\"\n\
             [participants.shop]\nurl = \"http://{shop}\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        World { server: Server::start(&config).await.unwrap(), directory, shop }
    }

    /// Runs the program to its end; what differs from run to run is replaced.
    async fn shows(&self, arguments: &str) -> String {
        let mut command = amends(arguments, self.directory.path());
        command.env("AMENDS_SERVER", format!("http://{}", self.server.address()));
        let text = told(arguments, &output(&mut command).await);
        let text = text.replace(&self.server.address().to_string(), "SERVER").replace(&self.shop.to_string(), "SHOP");
        let laid_out = !["lint", "serve", "migrate"].iter().any(|command| arguments.starts_with(command));
        steady(&text.replace(&*self.directory.path().to_string_lossy(), "DIRECTORY"), laid_out)
    }

    /// Runs the program and returns what it printed as JSON.
    async fn json(&self, arguments: &str) -> Value {
        let mut command = amends(arguments, self.directory.path());
        command.env("AMENDS_SERVER", format!("http://{}", self.server.address()));
        let output = output(&mut command).await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(arguments, &output)))
    }

    /// Waits until all of the audit log is sealed.
    async fn sealed(&self) {
        let is_sealed = |log: &Value| log["items"].as_array().unwrap().iter().all(|entry| entry["sealed"] == true);
        while !is_sealed(&self.json("audit-log list --json").await) {}
    }

    async fn start(&self, definition: &str) -> String {
        let saga = self.json(&format!("start {definition} --input {{\"id\":\"{definition}\"}} --wait 0 --json")).await;
        saga["id"].as_str().unwrap().to_owned()
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

fn definition(name: &str, steps: &str) -> String {
    format!("saga: {name}\nkey: \"{{{{ input.id }}}}\"\nsteps:\n{steps}")
}

/// The program with these arguments, which are separated by blanks, in a directory and an environment of its own.
fn amends(arguments: &str, directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    command.args(arguments.split_whitespace()).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMENDS_")) {
        command.env_remove(variable);
    }
    command.env("USER", "ada").env_remove("COLUMNS").env_remove("RUST_LOG");
    command
}

async fn output(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("the program ends in time").unwrap()
}

/// A command with what it wrote and how it ended.
fn told(arguments: &str, output: &Output) -> String {
    let mut text = format!("$ amends {arguments}\n{}", String::from_utf8_lossy(&output.stdout));
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let _ = writeln!(text, "! {line}");
    }
    let _ = writeln!(text, "= {}", output.status.code().expect("it ended by itself"));
    text
}

/// A text without what differs from run to run: ids, hashes and times. Where it is `laid_out` by the program, spans of
/// time and the widths that follow from them, too.
fn steady(text: &str, laid_out: bool) -> String {
    let text = without_ids(text);
    let line = |line: &str| match line {
        line if laid_out && !line.starts_with(['!', '$']) => steady_row(line),
        line => line.split(' ').map(steady_word).collect::<Vec<_>>().join(" "),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn without_ids(text: &str) -> String {
    let mut steady = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let id = rest.get(..36).is_some_and(is_uuid);
        let length = if id { 36 } else { first.len_utf8() };
        steady.push_str(if id { "ID" } else { &rest[..length] });
        rest = &rest[length..];
    }
    steady
}

/// A line of a table, its columns two blanks apart.
fn steady_row(line: &str) -> String {
    let (indent, row) = line.split_at(line.len() - line.trim_start().len());
    let mut steady = String::new();
    let mut gap = 0;
    for word in row.split(' ') {
        let word = steady_word(word);
        let span = word.trim_start_matches(['(', '+']).trim_end_matches([')', ':', ';']);
        let word = if is_span(span) { word.replacen(span, "SPAN", 1) } else { word };
        match (word.as_str(), gap) {
            ("", _) => gap += 1,
            // A span of two units is one span.
            (word, 0) if word.starts_with("SPAN") && steady.ends_with("SPAN") => steady.push_str(&word["SPAN".len()..]),
            (word, _) => {
                steady.push_str(if steady.is_empty() {
                    ""
                } else if gap == 0 {
                    " "
                } else {
                    "  "
                });
                steady.push_str(word);
                gap = 0;
            }
        }
    }
    format!("{indent}{steady}")
}

fn steady_word(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
    let start = word.find(is_part).unwrap_or(word.len());
    let length = word[start..].find(|c| !is_part(c)).unwrap_or(word.len() - start);
    let (before, rest) = word.split_at(start);
    let (part, after) = rest.split_at(length);
    let part = part.strip_suffix(':').unwrap_or(part);
    let colon = &rest[part.len()..length];
    let is_hash = part.len() >= 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    // The end of the audit log's chain.
    if let Some((number, hash)) = part.split_once(':').filter(|(_, hash)| hash.len() == 64) {
        let hash = steady_word(hash);
        return format!("{before}{number}:{hash}{colon}{after}");
    }
    let part = match part {
        part if part.len() == 24 && part.ends_with('Z') && part.contains('T') => "TIME",
        _ if is_hash => "HASH",
        part => part,
    };
    format!("{before}{part}{colon}{after}")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_span(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    unit.len() < text.len() && ["ms", "s", "m", "h", "d"].contains(&unit)
}

/// Commands that are groups of others.
const HAVE_COMMANDS: [&str; 3] = ["dead-letters", "audit-log", "token"];

#[tokio::test]
async fn help() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for command in COMMANDS {
        let arguments = if command.contains(['-', ' ']) && !HAVE_COMMANDS.iter().any(|group| command.starts_with(group))
        {
            command.to_owned()
        } else {
            format!("{command} --help")
        };
        let output = output(&mut amends(&arguments, directory.path())).await;
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments}");
        let _ = writeln!(text, "{}", told(arguments.trim(), &output));
    }
    insta::assert_snapshot!("help", text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commands_print() {
    let world = World::new().await;
    let mut text = String::new();
    world.sealed().await;
    for arguments in ["list", "dead-letters list", "audit-log list", "list --json"] {
        let _ = writeln!(text, "{}", world.shows(arguments).await);
    }
    for (definition, wait) in [("ends", 30), ("undoes", 30), ("sticks", 30), ("waits", 0), ("waits", 0)] {
        let arguments = format!("start {definition} --input {{\"id\":\"{definition}\"}} --wait {wait}");
        let _ = writeln!(text, "{}", world.shows(&arguments).await);
    }
    let id = world.start("waits").await;
    for arguments in [
        format!("pause {id} --reason a-test"),
        format!("resume {id} --reason a-test --actor grace"),
        "get --definition ends --key ends".to_owned(),
        "get --definition undoes --key undoes".to_owned(),
        "get --definition sticks --key sticks".to_owned(),
        "list --status completed".to_owned(),
        "list --definition sticks".to_owned(),
        "list --status stuck --json".to_owned(),
        "dead-letters list".to_owned(),
        "dead-letters list --json".to_owned(),
    ] {
        let _ = writeln!(text, "{}", world.shows(&arguments).await);
    }
    let letters = world.json("dead-letters list --json").await;
    let letter = letters["items"][0]["id"].as_str().unwrap().to_owned();
    for arguments in [
        format!("dead-letters show {letter}"),
        format!("dead-letters show {letter} --json"),
        "dead-letters groups".to_owned(),
        format!("dead-letters skip {letter} --reason refunded-by-hand --dry-run"),
        format!("dead-letters skip {letter} --reason refunded-by-hand --seen 3"),
        format!("dead-letters turn-around {letter} --reason too-late --dry-run"),
        format!("cancel {id} --reason a-test --dry-run"),
        format!("dead-letters skip {letter} --reason refunded-by-hand"),
        format!("dead-letters skip {letter} --reason again"),
        "dead-letters list --closed".to_owned(),
        format!("complete {id} signal --output {{\"by\":\"hand\"}}"),
        format!("get {id} --json"),
        format!("watch {id}"),
    ] {
        let _ = writeln!(text, "{}", world.shows(&arguments).await);
    }
    world.sealed().await;
    let head = world.json("audit-log verify --json").await;
    let head = format!("{}:{}", head["number"], head["hash"].as_str().unwrap());
    for arguments in [
        "audit-log list".to_owned(),
        format!("audit-log list --saga {id} --json"),
        format!("audit-log verify --head {head}"),
        "audit-log verify --json".to_owned(),
    ] {
        let _ = writeln!(text, "{}", world.shows(&arguments).await);
    }
    insta::assert_snapshot!("output", text);
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong() {
    let world = World::new().await;
    let unknown = "0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a";
    let mut text = String::new();
    for arguments in [
        "get --server http://127.0.0.1:1 0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a",
        "list --server nowhere",
        "list --actor \u{e9}",
        &format!("get {unknown}"),
        "get 1",
        "get --definition ends --key nobody",
        "watch 1",
        "start end --input {\"id\":\"x\"}",
        "start ends --input {\"id\":",
        "start ends --input {\"id\":\"x\",\"id\":\"y\"}",
        "start ends --input {}",
        "start ends --input-file nothing.json",
        "start ends",
        &format!("cancel {unknown} --reason a-test"),
        &format!("cancel {unknown}"),
        &format!("complete {unknown} signal --output {{"),
        "audit-log list --saga 1",
        "audit-log export --after 999",
        "audit-log verify nothing.jsonl",
        "audit-log verify --head 7",
        &format!("audit-log verify --head 999:{}", "0".repeat(64)),
        &format!("audit-log verify --after 9:{0} --head 8:{0}", "0".repeat(64)),
        &format!("complete {unknown} signal --output {{\"a\":1,\"a\":2}}"),
        "dead-letters show 1",
        "list --limit 0",
        "list --status lost",
        "lst",
        "",
    ] {
        let _ = writeln!(text, "{}", world.shows(arguments).await);
    }
    insta::assert_snapshot!("errors", text);
    world.server.stop().await.unwrap();
}

/// A viewer is told what they lack, and whoever shows nothing too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_call() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("admin", "sesame-sesame-sesame\n");
    write(
        "server.toml",
        "listen = \"127.0.0.1:0\"\nstore = \"sqlite:server.db\"\n[auth]\nadmin_token = \"file:admin\"\n",
    );
    let file = Some(directory.path().join("server.toml"));
    let server = Server::start(&Config::load(&Sources { file, ..Sources::default() }).unwrap()).await.unwrap();
    let mut text = String::new();
    let mut shows = async |arguments: &str, token: &str| -> Output {
        let mut command = amends(arguments, directory.path());
        command.env("AMENDS_SERVER", format!("http://{}", server.address())).env("AMENDS_TOKEN", token);
        let output = output(&mut command).await;
        assert!(!String::from_utf8_lossy(&output.stderr).contains("sesame"), "{arguments}");
        let _ = writeln!(text, "{}", steady(&told(arguments, &output), true));
        output
    };
    for arguments in ["list", "list --token sesame", "list --token-file nowhere", "token create kim --role owner"] {
        shows(arguments, "").await;
    }
    let made = shows("token create kim --role viewer --expires 90d --token-file admin", "").await;
    let token = String::from_utf8(made.stdout).unwrap();
    for arguments in ["list", "token list", "cancel 0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a --reason a-test"] {
        shows(arguments, &token).await;
    }
    let listed = shows("token list --token-file admin --json", &token).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = listed["items"][0]["id"].as_str().unwrap();
    shows("token list --token-file admin", &token).await;
    shows(&format!("token revoke {id} --token-file admin"), &token).await;
    shows("list", &token).await;
    insta::assert_snapshot!("who_may_call", text.replace(token.trim(), "TOKEN"));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lint() {
    let world = World::new().await;
    let bad = "saga: bad\nkey: \"{{ input.id }}\"\nsteps:\n  pay: { acton: { post: \"shop:/works\" } }\n  ship: { sleep: 1s, after: py }\n";
    std::fs::write(world.directory.path().join("bad.yaml"), bad).unwrap();
    let other = definition("other", "  pay: { action: { post: \"bank:/works\" } }\n");
    std::fs::write(world.directory.path().join("other.yaml"), other).unwrap();
    let mut text = String::new();
    for arguments in [
        "lint definitions/waits.yaml definitions/ends.yaml",
        "lint bad.yaml",
        "lint bad.yaml --json",
        "lint other.yaml",
        "lint other.yaml --config server.toml",
        "lint nothing.yaml",
    ] {
        let _ = writeln!(text, "{}", world.shows(arguments).await);
    }
    insta::assert_snapshot!("lint", text);
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_to_start() {
    let world = World::new().await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().into_std().unwrap();
    let taken = (taken.local_addr().unwrap().to_string(), taken);
    let write = |name: &str, text: &str| std::fs::write(world.directory.path().join(name), text).unwrap();
    write("unknown.toml", "listen = \"127.0.0.1:0\"\n\n[http]\nbody_read_timout = \"1s\"\n");
    write(
        "several.toml",
        "listen = 7700\nstore = \"mysql:x\"\nshutdown_grace = 10\n[participants.Shop]\nin_flight = 0\n",
    );
    write(
        "secret.toml",
        "[participants.shop]\nurl = \"http://127.0.0.1:1\"\n[participants.shop.headers]\nauthorization = \"sesame\\n\"\n",
    );
    write("broken.toml", "listen = \"127.0.0.1:0\n");
    let mut text = String::new();
    for arguments in [
        "serve --listen 0.0.0.0:7700 --store sqlite:new.db",
        "serve --listen [::]:7700 --store sqlite:new.db",
        "serve --listen here --store sqlite:new.db",
        &format!("serve --listen {} --store sqlite:new.db", taken.0),
        "serve --listen 127.0.0.1:0 --store postgres:amends",
        "serve --listen 127.0.0.1:0 --store sqlite::memory:",
        "serve --listen 127.0.0.1:0 --store sqlite:server.db",
        "serve --listen 127.0.0.1:0 --store sqlite:server.toml",
        "serve --listen 127.0.0.1:0 --store sqlite:new.db --definitions nowhere",
        "serve --config nothing.toml",
        "serve --config unknown.toml",
        "serve --config several.toml",
        "serve --config secret.toml",
        "serve --config broken.toml",
        "serve --port 7700",
        "migrate --store postgres:amends",
        "migrate --store sqlite:other.db",
        "migrate --store sqlite:other.db --json",
        "migrate --store sqlite:server.db",
    ] {
        let shown = world.shows(arguments).await.replace(&taken.0, "TAKEN");
        assert!(!shown.contains("sesame"), "{shown}");
        let _ = writeln!(text, "{}", shown.replace(&format!("process {} ", std::process::id()), "process NUMBER "));
    }
    insta::assert_snapshot!("serve", text);
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_statuses() {
    let world = World::new().await;
    let input = |key: &str| format!("--input {{\"id\":\"{key}\"}}");
    for (arguments, status) in [
        (format!("start ends {} --wait 30", input("a")), 0),
        (format!("start undoes {} --wait 30", input("a")), 3),
        (format!("start sticks {} --wait 30", input("a")), 4),
        (format!("start waits {} --wait 0", input("a")), 5),
        (format!("start waits {} --wait 1", input("a")), 5),
        (format!("start sticks {}", input("a")), 0),
        (format!("start nothing {}", input("a")), 1),
        ("start ends".to_owned(), 2),
        ("list --limit 501".to_owned(), 2),
    ] {
        let shown = world.shows(&arguments).await;
        assert!(shown.ends_with(&format!("= {status}\n")), "{status} was expected: {shown}");
    }
    for (definition, status) in [("ends", 0), ("undoes", 3), ("sticks", 4)] {
        let id = world.start(definition).await;
        let shown = world.shows(&format!("watch {id}")).await;
        assert!(shown.ends_with(&format!("= {status}\n")), "{status} was expected: {shown}");
    }
    world.server.stop().await.unwrap();
}

/// Starts a server that ends with its standard input, and returns its first line and its exit status.
async fn served(command: &mut Command) -> (String, Option<i32>, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap_or_default();
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    (first, output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whoever started it may have looked at its first line and gone.
#[tokio::test]
async fn a_server_whose_output_nobody_reads_serves_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = amends("serve --exit-with-parent --listen 127.0.0.1:0", directory.path());
    let mut child = command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().expect("it says that nobody reads");
        if let (true, Some((_, address))) = (line.contains("nobody reads"), line.split_once("address=")) {
            break address.to_owned();
        }
    };
    let client = amends_client::Client::new(&format!("http://{address}")).unwrap();
    assert!(client.is_ready().await);
    drop(child.stdin.take());
    let ended = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn the_environment_lies_over_the_file_and_flags_over_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = "listen = \"0.0.0.0:1\"\nstore = \"sqlite:file.db\"\n[http]\nconnections = 1\n";
    std::fs::write(directory.path().join("amends.toml"), file).unwrap();
    let serve = |arguments: &str| amends(&format!("serve --exit-with-parent {arguments}"), directory.path());

    let (first, status, stderr) = served(serve("").env("AMENDS_LISTEN", "127.0.0.1:0")).await;
    assert!(first.starts_with("listening on http://127.0.0.1:"), "{first}{stderr}");
    assert_eq!(status, Some(0), "{stderr}");
    assert!(directory.path().join("file.db").exists());

    let mut command = serve("--listen 127.0.0.1:0");
    command.env("AMENDS_LISTEN", "nowhere").env("AMENDS_STORE", "sqlite:environment.db");
    let (first, status, stderr) = served(&mut command).await;
    assert!(first.starts_with("listening on http://127.0.0.1:"), "{first}{stderr}");
    assert_eq!(status, Some(0), "{stderr}");
    assert!(directory.path().join("environment.db").exists());

    let mut command = serve("--listen 127.0.0.1:0");
    let (_, status, stderr) = served(command.env("AMENDS_HTTP__CONNECTIONS", "none")).await;
    assert_eq!(status, Some(1));
    assert!(stderr.contains("AMENDS_HTTP__CONNECTIONS: `http.connections` is out of bounds"), "{stderr}");

    let mut command = serve("--listen 127.0.0.1:0");
    let (_, status, stderr) = served(command.env("AMENDS_HTTP__CONNECTION", "1")).await;
    assert_eq!(status, Some(0));
    assert!(stderr.contains("AMENDS_HTTP__CONNECTION looks like a setting"), "{stderr}");
}

/// The example with every setting in force. A setting follows its `#` at once, what explains it after a blank.
fn example() -> String {
    let text = include_str!("../amends.example.toml");
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect()
}

#[test]
fn the_example_holds_and_shows_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let load = |text: &str| {
        let file = directory.path().join("amends.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&Sources { file: Some(file), ..Sources::default() })
    };
    let untouched = load(include_str!("../amends.example.toml")).unwrap();
    const SQS: &str = "sqs = \"payment-commands\"\n";
    assert!(example().contains(SQS));
    let usable = if cfg!(feature = "sqs") { example() } else { example().replace(SQS, "") };
    let mut config = load(&usable).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(config.definitions.take(), Some(directory.path().join("definitions")));
    assert_eq!(config.retention_ms.take(), Some(90 * 24 * 60 * 60 * 1_000));
    assert_eq!(config.http.hosts.drain(..).collect::<Vec<_>>(), ["amends.internal"]);
    assert_eq!(config.http.tls.take().map(|tls| tls.key), Some(directory.path().join("amends.key")));
    assert!(config.telemetry.otlp_endpoint.take().is_some());
    assert_eq!(std::mem::take(&mut config.participants).into_keys().collect::<Vec<_>>(), ["payment"]);
    let redacted: Vec<String> = config.redact.drain(..).map(|pointer| pointer.to_string()).collect();
    assert_eq!(redacted, ["/input/card/number", "/steps/*/output/iban"]);
    let queues = std::mem::take(&mut config.queues);
    let sqs = cfg!(feature = "sqs").then(|| "payment-commands".to_owned());
    let expected = amends::config::QueueConfig { sqs, ..Default::default() };
    assert_eq!(queues.into_iter().collect::<Vec<_>>(), [("payment".to_owned(), expected)]);
    assert!(config.sqs.endpoint.take().is_some() && config.sqs.region.take().is_some());
    let auth = "[auth]\nadmin_token = \"env:ADMIN_TOKEN\"\n[auth.oidc]\nissuer = \"https://login.example\"\naudience = \"amends\"\n";
    assert_eq!(config.auth.take(), load(auth).unwrap().auth, "the rest are defaults");
    let mut defaults = Config::load(&Sources::default()).unwrap();
    assert_eq!(
        format!("{defaults:?}"),
        format!("{untouched:?}").replace(&*directory.path().join("").to_string_lossy(), "")
    );
    defaults.store = config.store.clone();
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
}

#[test]
fn the_documentation_has_every_setting() {
    let documentation = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let documentation = std::fs::read_to_string(documentation).unwrap();
    let mut section = String::new();
    for line in example().lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.replace("payment", "NAME").replace(']', ".");
        } else if let Some((key, _)) = line.split_once(" = ") {
            // The names of headers and of keys are chosen by people.
            let is_chosen = section.ends_with(".headers.") || section.ends_with(".signing.");
            let setting = if is_chosen { section.trim_end_matches('.').to_owned() } else { format!("{section}{key}") };
            assert!(documentation.contains(&format!("| `{setting}` |")), "{setting} is not in docs/configuration.md");
        }
    }
}
