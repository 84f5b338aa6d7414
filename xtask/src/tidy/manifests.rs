//! The rules for `Cargo.toml`: who may import whom, and that versions and lints are set once, for all.

use super::Finding;
use crate::workspace::{Kind, Package, Workspace};

/// What each crate may import of the others, other than for its tests.
const WALLS: &[(&str, &[&str])] = &[
    ("amends-core", &[]),
    ("amends-failpoints", &[]),
    ("amends-store", &["amends-core", "amends-failpoints"]),
    ("amends-sqs", &["amends-core", "amends-store"]),
    ("amends-engine", &["amends-core", "amends-failpoints", "amends-store"]),
    ("amends-idempotency", &["amends-core"]),
    ("amends-model", &[]),
    ("amends-sim", &["amends-core", "amends-engine", "amends-store"]),
    ("amends-client", &[]),
    ("shop", &["amends-client", "amends-idempotency"]),
    (
        "amends",
        &[
            "amends-client",
            "amends-core",
            "amends-engine",
            "amends-failpoints",
            "amends-idempotency",
            "amends-sqs",
            "amends-store",
            "shop",
        ],
    ),
    (
        "amends-bench",
        &[
            "amends-client",
            "amends-core",
            "amends-engine",
            "amends-idempotency",
            "amends-store",
            "shop",
            "test-postgres",
        ],
    ),
    ("amends-fuzz", &["amends", "amends-core", "amends-engine", "amends-store"]),
    ("test-postgres", &[]),
    ("xtask", &["test-postgres"]),
];

/// The one crate that sees the binary from within: it throws requests at its router.
const FUZZ: &str = "amends-fuzz";

/// The crates that only report errors to people and so may use `anyhow`.
const ANYHOW: [&str; 7] = ["amends", "shop", "amends-bench", "amends-model", "amends-sim", FUZZ, "xtask"];

/// What would make the core impure without a word of it in its source.
const IMPURE: [&str; 5] = ["async-trait", "fastrand", "getrandom", "rand", "tokio"];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    workspace.packages.iter().flat_map(|package| check_package(workspace, package)).collect()
}

fn check_package(workspace: &Workspace, package: &Package) -> Vec<Finding> {
    let entries = entries(&package.manifest);
    let mut findings = inheritance(package, &entries);
    for dependency in &package.dependencies {
        let entry = entries.iter().find(|entry| entry.name == dependency.name && entry.kind == dependency.kind);
        let line = entry.map_or(1, |entry| entry.line);
        if let Some((wrong, mend)) = verdict(workspace, package, &dependency.name, dependency.kind) {
            findings.push(Finding { path: package.manifest_path.clone(), line, wrong, mend });
        }
    }
    findings
}

/// What is wrong with `package` using `dependency`, and how to mend it.
fn verdict(workspace: &Workspace, package: &Package, dependency: &str, kind: Kind) -> Option<(String, &'static str)> {
    const WALL: &str =
        "move the code to the crate that may see it, or move the wall (ARCHITECTURE.md, `WALLS` in tidy)";
    let name = package.name.as_str();
    if dependency == "amends" && name != FUZZ {
        return Some((format!("`{name}` imports `amends`, which nothing may"), WALL));
    }
    if dependency == "anyhow" && !ANYHOW.contains(&name) {
        return Some((format!("`anyhow` in the library `{name}`"), "return an error enum that a caller can branch on"));
    }
    if kind == Kind::Dev {
        return None;
    }
    if name == "amends-core" && IMPURE.contains(&dependency) {
        return Some((
            format!("`{dependency}` in `amends-core`, which is pure"),
            "use it in the crate that drives the core",
        ));
    }
    let internal = workspace.packages.iter().any(|other| other.name == dependency);
    let walls = WALLS.iter().find(|(walled, _)| *walled == name).map(|(_, allowed)| *allowed);
    match walls {
        Some(allowed) if internal && !allowed.contains(&dependency) => {
            Some((format!("`{name}` imports `{dependency}`, which it may not"), WALL))
        }
        Some(_) | None => None,
    }
}

/// What a crate takes from the workspace rather than set itself, and that the walls know it.
fn inheritance(package: &Package, entries: &[Entry]) -> Vec<Finding> {
    let finding = |line, wrong, mend| Finding { path: package.manifest_path.clone(), line, wrong, mend };
    let mut findings = Vec::new();
    if !WALLS.iter().any(|(walled, _)| *walled == package.name) {
        let wrong = format!("no wall is set for the crate `{}`", package.name);
        findings.push(finding(1, wrong, "say in `WALLS` of tidy what it may import"));
    }
    if !inherits_lints(&package.manifest) {
        let wrong = "the crate does not inherit the lints".to_owned();
        findings.push(finding(1, wrong, "add `[lints]` with `workspace = true`"));
    }
    for entry in entries.iter().filter(|entry| !entry.inherited) {
        let wrong = format!("`{}` is not inherited", entry.name);
        findings.push(finding(
            entry.line,
            wrong,
            "name it in the workspace's Cargo.toml and write `.workspace = true` here",
        ));
    }
    findings
}

fn inherits_lints(manifest: &str) -> bool {
    let mut section = "";
    manifest.lines().map(without_comment).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let compact: String = line.split_whitespace().collect();
        (section == "[lints]" && compact == "workspace=true")
            || (section.is_empty() && compact == "lints.workspace=true")
    })
}

/// A dependency as a manifest declares it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub kind: Kind,
    pub name: String,
    pub inherited: bool,
}

/// The dependencies that a manifest declares, in lines (`name = …`) and in tables (`[dependencies.name]`).
pub fn entries(manifest: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = Section::Other;
    let mut depth = 0;
    for (line, text) in (1..).zip(manifest.lines().map(without_comment)) {
        let continued = depth > 0;
        if !continued && text.starts_with('[') {
            section = Section::of(text);
            if let Section::Dependency(kind, name) = &section {
                entries.push(Entry { line, kind: *kind, name: name.clone(), inherited: false });
            }
            continue;
        }
        depth += opened(text);
        match &section {
            Section::Dependencies(kind) if !continued && text.contains('=') => {
                entries.push(Entry::read(line, *kind, text))
            }
            Section::Dependency(..) if inherits(text) => mark_inherited(&mut entries),
            Section::Dependencies(_) if continued && inherits(text) => mark_inherited(&mut entries),
            Section::Dependencies(_) | Section::Dependency(..) | Section::Other => {}
        }
    }
    entries
}

impl Entry {
    fn read(line: usize, kind: Kind, text: &str) -> Entry {
        let name = text.split(['.', '=', ' ']).next().unwrap_or_default().trim_matches(['"', '\'']);
        Entry { line, kind, name: name.to_owned(), inherited: inherits(text) }
    }
}

/// A table of a manifest, as far as dependencies are concerned.
enum Section {
    Dependencies(Kind),
    Dependency(Kind, String),
    Other,
}

impl Section {
    fn of(header: &str) -> Section {
        let path = header.trim_matches(['[', ']', ' ']);
        let kinds =
            [("dev-dependencies", Kind::Dev), ("build-dependencies", Kind::Build), ("dependencies", Kind::Normal)];
        for (table, kind) in kinds {
            if path == table || path.ends_with(&format!(".{table}")) {
                return Section::Dependencies(kind);
            }
            if let Some((before, name)) = path.split_once(&format!("{table}."))
                && (before.is_empty() || before.ends_with('.'))
            {
                return Section::Dependency(kind, name.to_owned());
            }
        }
        Section::Other
    }
}

fn mark_inherited(entries: &mut [Entry]) {
    if let Some(entry) = entries.last_mut() {
        entry.inherited = true;
    }
}

fn inherits(text: &str) -> bool {
    let compact: String = text.split_whitespace().collect();
    super::source::words(&compact, "workspace").any(|at| compact[at..].starts_with("workspace=true"))
}

/// How many more brackets `text` opens than it closes.
fn opened(text: &str) -> i32 {
    text.chars().map(|c| i32::from(matches!(c, '[' | '{')) - i32::from(matches!(c, ']' | '}'))).sum()
}

/// A line up to its comment. No dependency line has a `#` inside a string.
fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}
