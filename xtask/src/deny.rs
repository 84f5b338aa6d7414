//! cargo-deny: which licences, crates and sources may be in the dependency tree (`deny.toml`).
//!
//! One version is pinned, so that every machine judges alike, and it is compiled from its published source rather
//! than downloaded as a binary that somebody else has built. It is kept under the target directory, where a cache
//! of that directory finds it again. Without optimisation it compiles in half the time and still judges the tree in
//! a second.

use crate::command::CommandLine;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::Path;

const VERSION: &str = "0.20.2";

/// Checks everything but advisories, whose database is a git repository that a build machine may not reach.
pub fn check(workspace: &Workspace) -> Result<()> {
    let tool = tool(&workspace.target)?;
    CommandLine::of(&tool).args("--locked check --hide-inclusion-graph bans licenses sources").run()
}

/// The pinned version: from the path, or from the target directory, where it is installed if need be.
fn tool(target: &Path) -> Result<String> {
    let tools = target.join("tools");
    let installed = tools.join("bin").join("cargo-deny").display().to_string();
    for candidate in ["cargo-deny", &installed] {
        if is_pinned(candidate) {
            return Ok(candidate.to_owned());
        }
    }
    println!("compiling cargo-deny {VERSION}, once for this target directory");
    let build = tools.join("build");
    installation(&tools, &build).run()?;
    std::fs::remove_dir_all(&build).with_context(|| format!("{} cannot be removed", build.display()))?;
    Ok(installed)
}

fn is_pinned(program: &str) -> bool {
    let version = CommandLine::of(program).args("--version").output();
    version.is_some_and(|version| version.split_whitespace().last() == Some(VERSION))
}

fn installation(tools: &Path, build: &Path) -> CommandLine {
    CommandLine::new("cargo install cargo-deny --locked --quiet --no-default-features --version")
        .arg(format_args!("={VERSION}"))
        .args("--config profile.release.lto=false --config profile.release.opt-level=0")
        .args("--config profile.release.codegen-units=16 --root")
        .arg(tools.display())
        .args("--target-dir")
        .arg(build.display())
}
