//! The gate: stages in order, the first failure ends it.
//!
//! The stages share what they build. Clippy and the documentation need the dependencies only checked, so they
//! follow each other; the tests compile them once more, and the documentation's tests reuse that. No stage sets
//! `RUSTFLAGS`, which would build every dependency anew.

use crate::command::CommandLine;
use crate::workspace::Workspace;
use crate::{deny, fuzz, machine, schemathesis, sqs, tidy};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};
use test_postgres::Durability;

/// One step of the gate.
struct Stage {
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace) -> Result<()>,
}

/// Quick ones first, so that the commonest mistakes are reported soonest.
const STAGES: [Stage; 10] = [
    Stage { name: "fmt", about: "the code is formatted", run: fmt },
    Stage { name: "tidy", about: "the house rules hold", run: tidy::run },
    Stage { name: "clippy", about: "neither the compiler nor clippy warns", run: clippy },
    Stage { name: "doc", about: "the documentation builds without warnings", run: doc },
    Stage { name: "deny", about: "licences, crates and sources are allowed ones", run: deny::check },
    Stage { name: "test", about: "the tests pass", run: test },
    Stage { name: "sim", about: "the engine keeps its promises in a few thousand simulations", run: sim },
    Stage {
        name: "fuzz",
        about: "the fuzz targets bear their corpus and some thousand mutants of it",
        run: fuzz::small,
    },
    Stage { name: "api", about: "schemathesis finds the API to be as its document says", run: schemathesis::small },
    Stage { name: "doctest", about: "the examples in the documentation pass", run: doctest },
];

/// Preparing the machine is shown like a stage, but is no part of the gate.
const SETUP: Stage =
    Stage { name: "setup", about: "the machine has what the project needs", run: |_| machine::set_up() };

/// How a stage went.
struct Outcome {
    name: &'static str,
    took: Duration,
    passed: bool,
}

/// Runs the gate, or only the stages named.
pub fn run(workspace: &Workspace, only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !STAGES.iter().any(|stage| stage.name == *name)) {
        bail!("there is no stage `{unknown}`; the stages are {}", stage_names());
    }
    let chosen = STAGES.iter().filter(|stage| only.is_empty() || only.iter().any(|name| name == stage.name));
    run_stages(workspace, chosen)
}

/// Prepares the machine and runs the gate.
pub fn run_with_setup(workspace: &Workspace) -> Result<()> {
    run_stages(workspace, std::iter::once(&SETUP).chain(&STAGES))
}

/// The names of the stages, in their order.
pub fn stage_names() -> String {
    STAGES.map(|stage| stage.name).join(", ")
}

fn run_stages<'a>(workspace: &Workspace, stages: impl Iterator<Item = &'a Stage>) -> Result<()> {
    let mut outcomes = Vec::new();
    let mut result = Ok(());
    for stage in stages {
        println!("\n=== {}: {}", stage.name, stage.about);
        let started = Instant::now();
        result = (stage.run)(workspace);
        let outcome = Outcome { name: stage.name, took: started.elapsed(), passed: result.is_ok() };
        println!("=== {}", line(&outcome));
        outcomes.push(outcome);
        if result.is_err() {
            result =
                result.with_context(|| format!("stage `{}` failed; repeat it with: {}", stage.name, repeat(stage)));
            break;
        }
    }
    println!("\n{}", summary(&outcomes));
    result
}

fn repeat(stage: &Stage) -> String {
    if stage.name == SETUP.name {
        "cargo xtask test".to_owned()
    } else {
        format!("cargo xtask ci --only {}", stage.name)
    }
}

fn summary(outcomes: &[Outcome]) -> String {
    let total = Outcome {
        name: "total",
        took: outcomes.iter().map(|outcome| outcome.took).sum(),
        passed: outcomes.iter().all(|outcome| outcome.passed),
    };
    outcomes.iter().chain([&total]).map(line).collect::<Vec<_>>().join("\n")
}

fn line(outcome: &Outcome) -> String {
    let verdict = if outcome.passed { "ok" } else { "FAILED" };
    format!("{:<8} {:>7.1} s  {verdict}", outcome.name, outcome.took.as_secs_f64())
}

fn fmt(_: &Workspace) -> Result<()> {
    CommandLine::new("cargo fmt --all --check").run()
}

/// The second time as the program is built for use, without what features add to it for tests.
fn clippy(_: &Workspace) -> Result<()> {
    CommandLine::new("cargo clippy --workspace --all-features --all-targets -- -D warnings").run()?;
    CommandLine::new("cargo clippy --workspace --all-targets -- -D warnings").run()
}

fn doc(_: &Workspace) -> Result<()> {
    CommandLine::new("cargo doc --workspace --all-features --no-deps").env("RUSTDOCFLAGS", "-D warnings").run()
}

/// Nextest runs the tests of all binaries side by side; cargo's own runner takes its place where it is missing.
fn test(workspace: &Workspace) -> Result<()> {
    let runner = if CommandLine::new("cargo nextest --version").succeeds() { "nextest run" } else { "test" };
    // The tests share one PostgreSQL: each has a database of its own in it.
    let postgres = test_postgres::Server::start(Durability::None).context("PostgreSQL does not start")?;
    // And one SQS: each makes queues of its own in it.
    let emulator = sqs::Emulator::start(workspace)?;
    CommandLine::new(&format!("cargo {runner} --workspace --all-features --lib --bins --tests --examples"))
        .env(test_postgres::VARIABLE, &postgres.url("postgres"))
        .env(sqs::VARIABLE, &emulator.url)
        .run()
}

/// In the profile of the tests, whose dependencies are compiled by now.
fn sim(_: &Workspace) -> Result<()> {
    CommandLine::new("cargo run --quiet --package amends-sim -- --seeds 5000").run()
}

fn doctest(_: &Workspace) -> Result<()> {
    CommandLine::new("cargo test --workspace --all-features --doc").run()
}

#[cfg(test)]
mod tests;
