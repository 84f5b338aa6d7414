//! The definitions of a directory, loaded at the start. All of them are read before any is stored, so that a start
//! that fails has changed nothing.

use amends_core::definition::Definition;
use amends_core::limits;
use amends_core::lint::{self, Known, Severity};
use amends_engine::Engine;
use amends_store::{StoreAndViews, Which};
use anyhow::Context;
use std::fmt;
use std::path::{Path, PathBuf};

/// The endings of files that are definitions.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Definitions that are not valid, with what lint says.
#[derive(Debug)]
pub struct DefinitionError {
    files: Vec<(String, String, Vec<lint::Diagnostic>)>,
}

impl DefinitionError {
    /// What lint says. `colour` is for terminals.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let files = self.files.iter();
        let reports: Vec<String> =
            files.map(|(name, source, found)| lint::render(source, name, found, colour)).collect();
        reports.join("\n\n")
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for DefinitionError {}

/// A definition of a file.
pub(super) struct Loaded {
    path: PathBuf,
    source: String,
    definition: Definition,
}

/// Reads and judges every definition of a directory.
pub(super) fn load(directory: &Path, known: &Known) -> anyhow::Result<Vec<Loaded>> {
    let mut loaded: Vec<Loaded> = Vec::new();
    let mut invalid = Vec::new();
    for path in files(directory)? {
        let name = path.display().to_string();
        let source = read(&path)?;
        let checked = lint::check(&source, Some(known));
        let Some(definition) = checked.definition else {
            let errors = checked.diagnostics.into_iter().filter(|found| found.severity == Severity::Error).collect();
            invalid.push((name, source, errors));
            continue;
        };
        for found in &checked.diagnostics {
            tracing::warn!("{name}:{}:{}: {} ({})", found.line, found.column, found.message, found.remedy);
        }
        if let Some(other) = loaded.iter().find(|other| other.definition.name == definition.name) {
            anyhow::bail!("{name} and {} both define the saga `{}`", other.path.display(), definition.name);
        }
        loaded.push(Loaded { path, source, definition });
    }
    if invalid.is_empty() { Ok(loaded) } else { Err(DefinitionError { files: invalid }.into()) }
}

/// Who puts them, as the audit log shows it.
const ACTOR: &str = "the server's configuration";

/// Stores what was loaded and returns the names.
pub(super) async fn store(engine: &Engine, loaded: Vec<Loaded>) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for Loaded { source, definition, .. } in loaded {
        names.push(definition.name.clone());
        if engine.put_definition(&source, definition, ACTOR).await? {
            tracing::info!(definition = names.last(), "stored a new version of a definition");
        }
    }
    Ok(names)
}

/// Says which definitions that are stored name participants or queues that are not configured: their sagas would get stuck.
pub(super) async fn warn_of_unusable(store: &dyn StoreAndViews, known: &Known) -> anyhow::Result<()> {
    for stored in store.definitions(Which::Current).await? {
        let checked = lint::check(&stored.source, Some(known));
        for found in checked.diagnostics.iter().filter(|found| found.severity == Severity::Error) {
            tracing::warn!(definition = stored.name, "a stored definition cannot be used: {}", found.message);
        }
    }
    Ok(())
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("the definitions in {} cannot be read", directory.display());
    let entries = std::fs::read_dir(directory).with_context(unreadable)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(unreadable)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a definition.
///
/// # Errors
/// Where the file cannot be read, is not UTF-8, or is so large that it is no definition.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
    if length > limits::DEFINITION_BYTES as u64 {
        anyhow::bail!("{shown} has {length} bytes; a definition has at most {} KiB", limits::DEFINITION_BYTES / 1024);
    }
    let bytes = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    String::from_utf8(bytes)
        .map_err(|error| anyhow::anyhow!("{shown} is not UTF-8 from byte {} on", error.utf8_error().valid_up_to() + 1))
}
