//! Breaks the code on purpose, in a copy, to see whether the simulation notices: a harness that finds nothing has shown
//! nothing as long as it is not known to find what is there.
//!
//! A bug is a piece of the source and what stands in its place. A test holds the pieces to the source as it is, so that none
//! of them silently stops breaking anything.

#[cfg(test)]
mod tests;

use crate::command::CommandLine;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// How many seeds a bug may survive before it counts as not noticed.
const SEEDS: u64 = 20_000;

/// One way to break a promise.
struct Bug {
    about: &'static str,
    changes: &'static [Change],
}

/// Where, relative to the workspace's root; what is there; and what is put in its place.
type Change = (&'static str, &'static str, &'static str);

const ORCHESTRATOR: &str = "crates/amends-engine/src/orchestrator.rs";
const INTAKE: &str = "crates/amends-engine/src/orchestrator/intake.rs";
const LANES: &str = "crates/amends-engine/src/orchestrator/lanes.rs";
const LIVE: &str = "crates/amends-engine/src/orchestrator/live.rs";
const WRITES: &str = "crates/amends-engine/src/orchestrator/writes.rs";
const DECIDE: &str = "crates/amends-core/src/machine/decide.rs";
const IDEMPOTENCY: &str = "crates/amends-core/src/idempotency.rs";

const BUGS: [Bug; 8] = [
    Bug {
        about: "a call is made before its intent is committed",
        changes: &[(
            ORCHESTRATOR,
            "        live.staged = Some(staged);\n",
            "        let calls = std::mem::take(&mut staged.calls);\n        live.staged = Some(staged);\n        \
             self.perform(id, calls);\n",
        )],
    },
    Bug {
        about: "a step whose outcome is unknown is not undone itself",
        changes: &[(
            DECIDE,
            "self.emit(Event::ActionUnknown { step, failure: failure.clone(), ask_at: None });",
            "self.emit(Event::ActionRefused { step, failure: failure.clone() });",
        )],
    },
    Bug {
        about: "a compensation leaves no tombstone",
        changes: &[(
            IDEMPOTENCY,
            "        None => CompensationDecision::LeaveTombstone,",
            "        None => CompensationDecision::NothingToUndo,",
        )],
    },
    Bug {
        about: "a saga at rest is not woken",
        changes: &[(
            WRITES,
            "wake_at.map_or(Rest::Parked, Rest::Until)",
            "wake_at.map_or(Rest::Parked, |_| Rest::Parked)",
        )],
    },
    Bug {
        about: "an action is sent after the saga has turned back",
        changes: &[
            (
                LIVE,
                "saga.phase == Phase::Forward && !saga.held && matches!(state, StepState::Acting(_))",
                "!saga.held && matches!(state, StepState::Acting(_))",
            ),
            (ORCHESTRATOR, "        if turned_back {\n", "        if turned_back && id.is_nil() {\n"),
        ],
    },
    Bug {
        about: "a retry is sent under a new key",
        changes: &[(
            LANES,
            "(own_key, None)",
            "(if call.attempt == 1 { own_key } else { format!(\"{own_key}-{}\", call.attempt) }, None)",
        )],
    },
    Bug {
        about: "an outcome is told before it is committed",
        changes: &[(
            ORCHESTRATOR,
            "        live.staged = Some(staged);\n",
            "        let early = Snapshot { saga: staged.saga.clone(), ..live.snapshot.clone() };\n        \
             live.staged = Some(staged);\n        self.tell(&early, Vec::new(), false);\n",
        )],
    },
    Bug {
        about: "recovery stops at a saga that it cannot read",
        changes: &[(
            INTAKE,
            "                self.claim = Claim::At(next_due.min(sweep_at));\n                \
             sagas.into_iter().for_each(|saga| self.take_in(saga));\n",
            "                self.claim = Claim::At(next_due.min(sweep_at));\n                \
             sagas.into_iter().take_while(|saga| saga.definition.is_ok()).for_each(|saga| self.take_in(saga));\n",
        )],
    },
];

/// Plants each bug in a copy of its own, and reports how long it went unnoticed.
pub fn run(workspace: &Workspace) -> Result<()> {
    let home = workspace.target.join("planted");
    let copy = home.join("workspace");
    let mut survivors = Vec::new();
    println!("{:<55} noticed", "planted");
    for bug in &BUGS {
        copy_sources(&workspace.root, &copy)?;
        plant(bug, &copy)?;
        let verdict = simulate(&copy, &home.join("target"))?;
        println!("{:<55} {}", bug.about, verdict.as_deref().unwrap_or("NOT NOTICED"));
        if verdict.is_none() {
            survivors.push(bug.about);
        }
    }
    ensure!(survivors.is_empty(), "not noticed within {SEEDS} seeds: {}", survivors.join("; "));
    Ok(())
}

/// Copies what git knows. Only files that differ are written, so that little is compiled anew.
fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let list = CommandLine::new("git ls-files --cached --others --exclude-standard").output();
    for file in list.context("git does not list the files of the workspace")?.lines() {
        let (from, to) = (root.join(file), copy.join(file));
        let text = std::fs::read(&from).with_context(|| format!("{} cannot be read", from.display()))?;
        if std::fs::read(&to).ok().as_ref() != Some(&text) {
            let folder = to.parent().context("a file is in a folder")?;
            std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            std::fs::write(&to, text).with_context(|| format!("{} cannot be written", to.display()))?;
        }
    }
    Ok(())
}

fn plant(bug: &Bug, copy: &Path) -> Result<()> {
    for change in bug.changes {
        let path = copy.join(change.0);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        std::fs::write(&path, broken(change, &text)?)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// The text with the change in it.
fn broken((file, there, instead): &Change, text: &str) -> Result<String> {
    let times = text.matches(there).count();
    ensure!(times == 1, "in {file} this is found {times} times, not once:\n{there}");
    Ok(text.replace(there, instead))
}

/// What the simulation says of the copy; `None` where it notices nothing.
fn simulate(copy: &Path, target: &Path) -> Result<Option<String>> {
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--package", "amends-sim"]).env("CARGO_TARGET_DIR", target).current_dir(copy);
    ensure!(build.status().context("cargo cannot be started")?.success(), "the broken copy does not compile");
    let mut run = Command::new(target.join("debug/amends-sim"));
    run.args(["--seeds", &SEEDS.to_string()]).stdin(Stdio::null());
    let output = run.output().context("the simulation cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let verdict = said.lines().find_map(|line| line.strip_prefix("error: after "));
    Ok(verdict.map(|verdict| format!("after {}", verdict.chars().take(160).collect::<String>())))
}
