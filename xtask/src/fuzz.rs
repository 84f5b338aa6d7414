//! Fuzzing: the targets of `fuzz/`, driven for long by libFuzzer with coverage where that can be built, and by our own
//! mutator where it cannot and in the gate.

use crate::command::CommandLine;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

/// The targets that there are; `fuzz/src/lib.rs` has them.
pub const TARGETS: [&str; 4] = ["definition", "expression", "headers", "http"];

/// Mutants of each target in the gate: some seconds.
const SMALL: u32 = 10_000;
const SECONDS: u32 = 180;
/// What one input may take under libFuzzer, in seconds.
const SLOW: u32 = 5;
/// The counters that libFuzzer steers by. Rust's stable compiler knows them, too.
const COUNTERS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What is fuzzed, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// All of them if there is none.
    target: Option<String>,
    /// For each.
    seconds: u32,
    guided: bool,
}

impl Options {
    /// Reads `[TARGET] [--seconds S] [--unguided]`.
    pub fn read(words: &[&str]) -> Result<Options> {
        let mut options = Options { target: None, seconds: SECONDS, guided: true };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--unguided" => options.guided = false,
                "--seconds" => {
                    let seconds = words.next().context("--seconds takes a number")?;
                    options.seconds = seconds.parse().context("--seconds takes a number")?;
                }
                name if TARGETS.contains(&name) => options.target = Some(name.to_owned()),
                other => bail!("`fuzz` does not take {other}; the targets are {}", TARGETS.join(", ")),
            }
        }
        Ok(options)
    }
}

/// The stage of the gate: the corpus of each target, and some thousand mutants.
pub fn small(workspace: &Workspace) -> Result<()> {
    let line = format!("cargo run --quiet --package amends-fuzz -- --mutants {SMALL} --findings");
    CommandLine::new(&line).arg(findings(workspace).display()).run()
}

/// Fuzzes for long, and says by what means.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen: Vec<&str> = options.target.as_deref().map_or(TARGETS.to_vec(), |target| vec![target]);
    let guided = if options.guided { guided(workspace) } else { None };
    match &guided {
        Some(_) => println!("by libFuzzer, guided by coverage"),
        None => println!("by the mutator of fuzz/src/mutate.rs, without coverage"),
    }
    for target in chosen {
        match &guided {
            Some(program) => guide(workspace, program, target, options.seconds)?,
            None => mutate(workspace, target, options.seconds)?,
        }
    }
    Ok(())
}

/// Each run has other mutants: its seed is the time.
fn mutate(workspace: &Workspace, target: &str, seconds: u32) -> Result<()> {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
    CommandLine::new("cargo run --quiet --profile sim --package amends-fuzz --")
        .args(&format!("{target} --seconds {seconds} --seed {seed} --findings"))
        .arg(findings(workspace).display())
        .run()
}

/// Builds the targets with libFuzzer; `None` where that cannot be, for want of a C++ compiler or of the counters.
fn guided(workspace: &Workspace) -> Option<PathBuf> {
    let host = CommandLine::new("rustc --print host-tuple").output()?;
    let (host, folder) = (host.trim(), workspace.target.join("fuzz-guided"));
    // The same versions as in the product; cargo adds libFuzzer's.
    std::fs::copy(workspace.root.join("Cargo.lock"), workspace.root.join("fuzz/guided/Cargo.lock")).ok()?;
    // With a target named, build scripts and macros are built without the counters.
    let built = CommandLine::new("cargo build --quiet --release --manifest-path")
        .arg(workspace.root.join("fuzz/guided/Cargo.toml").display())
        .args(&format!("--target {host} --target-dir"))
        .arg(folder.display())
        .env("RUSTFLAGS", &format!("{COUNTERS} --cfg fuzzing"))
        .run();
    match built {
        Ok(()) => Some(folder.join(host).join("release/amends-fuzz-guided")),
        Err(error) => {
            println!("libFuzzer cannot be built: {error:#}");
            None
        }
    }
}

/// What it learns stays below the target directory, and is where the next run begins.
fn guide(workspace: &Workspace, program: &std::path::Path, target: &str, seconds: u32) -> Result<()> {
    let learned = workspace.target.join("fuzz-corpus").join(target);
    let findings = findings(workspace);
    for folder in [&learned, &findings] {
        std::fs::create_dir_all(folder)?;
    }
    let corpus = workspace.root.join("fuzz/corpus").join(target);
    ensure!(corpus.is_dir(), "{} is missing", corpus.display());
    CommandLine::of(&program.display().to_string())
        .arg(learned.display())
        .arg(corpus.display())
        .args(&format!(
            "-max_total_time={seconds} -timeout={SLOW} -rss_limit_mb=4096 -max_len=8192 -print_final_stats=1"
        ))
        .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
        .env("FUZZ_TARGET", target)
        .run()
}

fn findings(workspace: &Workspace) -> PathBuf {
    workspace.target.join("fuzz-findings")
}

#[cfg(test)]
mod tests;
