//! The workspace as `cargo metadata` describes it, without its dependencies' own crates.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where things are, and the crates that are ours.
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    pub packages: Vec<Package>,
}

/// One of our crates.
pub struct Package {
    pub name: String,
    /// Relative to the workspace's root.
    pub manifest_path: String,
    /// The text of its `Cargo.toml`.
    pub manifest: String,
    pub dependencies: Vec<Dependency>,
}

pub struct Dependency {
    pub name: String,
    pub kind: Kind,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Dev,
    Build,
}

impl Workspace {
    /// Asks cargo about the workspace of the current directory.
    pub fn load() -> Result<Workspace> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be started")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata did not answer with JSON")?;
        Self::from_metadata(&metadata, |path| {
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
        })
    }

    /// Reads cargo's answer; `read` returns the text of a manifest.
    pub fn from_metadata(metadata: &Value, read: impl Fn(&Path) -> Result<String>) -> Result<Workspace> {
        let root = PathBuf::from(text(metadata, "workspace_root")?);
        let target = PathBuf::from(text(metadata, "target_directory")?);
        let packages = list(metadata, "packages")?.iter().map(|package| {
            let path = PathBuf::from(text(package, "manifest_path")?);
            let dependencies = list(package, "dependencies")?.iter().map(dependency).collect::<Result<_>>()?;
            Ok(Package {
                name: text(package, "name")?.to_owned(),
                manifest_path: path.strip_prefix(&root).unwrap_or(&path).display().to_string(),
                manifest: read(&path)?,
                dependencies,
            })
        });
        let packages = packages.collect::<Result<_>>()?;
        Ok(Workspace { root, target, packages })
    }
}

fn dependency(value: &Value) -> Result<Dependency> {
    let kind = match value.get("kind").and_then(Value::as_str) {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        Some(_) | None => Kind::Normal,
    };
    Ok(Dependency { name: text(value, "name")?.to_owned(), kind })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("cargo metadata has no `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("cargo metadata has no list `{key}`"))
}
