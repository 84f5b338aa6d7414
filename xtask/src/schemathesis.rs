//! schemathesis against the real server: requests made up from the OpenAPI document, and answers held against it.
//!
//! It is installed from `fuzz/schemathesis/requirements.txt` into a virtual environment below the target directory.
//! `hooks.py` beside that lets it meet sagas and dead letters that exist and writes down what was answered, so
//! that a run that met nothing does not pass.

use crate::command::CommandLine;
use crate::python;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The examples of an operation in the gate. It takes about fifteen seconds, most of them Python's.
const SMALL: u32 = 30;

/// What definitions, inputs and reasons may say is more than a schema can: being refused does not contradict it.
const EXCLUDED: &str = "positive_data_acceptance";

/// What the server begins with.
const DEFINITIONS: [&str; 4] =
    ["definitions/doubts.yaml", "definitions/sends.yaml", "definitions/sticks.yaml", "definitions/waits.yaml"];

/// How much is asked, and from which seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    examples: u32,
    seed: u32,
}

impl Options {
    /// Reads `--examples N` and `--seed S`.
    pub fn read(words: &[&str]) -> Result<Options> {
        let mut options = Options { examples: SMALL, seed: 1 };
        for option in words.chunks(2) {
            match option {
                ["--examples", number] => options.examples = number.parse().context("--examples takes a number")?,
                ["--seed", number] => options.seed = number.parse().context("--seed takes a number")?,
                _ => bail!("`schemathesis` takes nothing but `--examples N` and `--seed S`"),
            }
        }
        Ok(options)
    }
}

/// The stage of the gate.
pub fn small(workspace: &Workspace) -> Result<()> {
    run(workspace, &Options::read(&[])?)
}

/// Builds the server, starts it on an empty store, and lets schemathesis at it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let own = workspace.root.join("fuzz/schemathesis");
    let program = python::install(workspace, "schemathesis", &own.join("requirements.txt"))?.join("schemathesis");
    CommandLine::new("cargo build --quiet --package amends").run()?;
    let place = workspace.target.join("schemathesis");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::create_dir_all(place.join("definitions"))?;
    for file in ["admin", "amends.toml"].into_iter().chain(DEFINITIONS) {
        std::fs::copy(own.join(file), place.join(file)).with_context(|| format!("{file} cannot be copied"))?;
    }
    let server = Server::start(&workspace.target.join("debug/amends"), &place)?;
    let met = place.join("met.json");
    let path = |path: &Path| path.display().to_string();
    // The admin's, who may do everything. Without it each operation must refuse, which is one of the checks.
    let token = std::fs::read_to_string(place.join("admin"))?.trim().to_owned();
    // It leaves things behind where it is run.
    CommandLine::new("env")
        .arg(format!("--chdir={}", path(&place)))
        .arg(path(&program))
        .args("--no-color run --checks all --exclude-checks")
        .arg(EXCLUDED)
        .args("--continue-on-failure --suppress-health-check too_slow --warnings off --request-timeout 30 --generation-database none")
        .args(&format!("--max-examples {} --seed {} --url {}", options.examples, options.seed, server.url))
        .arg("--header")
        .arg(format!("Authorization: Bearer {token}"))
        .arg(format!("{}/openapi.json", server.url))
        .env("AMENDS_MET", &path(&met))
        .env("AMENDS_TOKEN", &token)
        .env("AMENDS_URL", &server.url)
        .env("PYTHONPATH", &path(&own))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .run()?;
    drop(server);
    let met = std::fs::read_to_string(&met).context("schemathesis did not say what it met")?;
    judge(&serde_json::from_str(&met)?)
}

/// Shows what each operation answered. One that never did what it is for was not tried.
fn judge(met: &Value) -> Result<()> {
    let operations = met.as_object().context("what was met is not an object")?;
    ensure!(!operations.is_empty(), "schemathesis called nothing");
    let mut untried = Vec::new();
    for (operation, answers) in operations {
        let answers = answers.as_object().context("answers are counted by their status")?;
        let counts: Vec<String> = answers.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        println!("{operation:<50} {}", counts.join(", "));
        if !answers.keys().any(|status| status.starts_with('2')) {
            untried.push(operation.as_str());
        }
    }
    ensure!(untried.is_empty(), "nothing that succeeds was ever asked of {}", untried.join(", "));
    Ok(())
}

/// The server, until this is dropped.
struct Server {
    child: Child,
    url: String,
    /// Kept open: a program whose output nobody can read any more ends.
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(program: &Path, place: &Path) -> Result<Server> {
        let mute = mute_participant()?;
        let mut command = Command::new(program);
        command.env("AMENDS_PARTICIPANTS__MUTE__URL", format!("http://{mute}"));
        command.args(["serve", "--config", "amends.toml"]).current_dir(place).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let output = BufReader::new(child.stdout.take().context("the server's output is piped")?);
        // It is owned from here on, so that it ends whatever it says.
        let mut server = Server { child, url: String::new(), output };
        let mut first = String::new();
        server.output.read_line(&mut first)?;
        let url = first.trim().strip_prefix("listening on ");
        server.url = url.with_context(|| format!("the server does not say where it listens: {first}"))?.to_owned();
        Ok(server)
    }
}

/// A participant that takes calls and hangs up, for as long as this process lives.
fn mute_participant() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut call in listener.incoming().flatten() {
            // Whoever hangs up before anything was sent has refused the call.
            let _ = call.read(&mut [0; 1]);
        }
    });
    Ok(address)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its store is thrown away, so it need not stop in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;
