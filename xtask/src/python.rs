//! Programs in Python that tests need, at pinned versions, each in a virtual environment below the target directory, where a cache
//! of that directory finds them again.

use crate::command::CommandLine;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Installs what the requirements name, unless it is there, and returns the folder with its programs.
pub fn install(workspace: &Workspace, name: &str, requirements: &Path) -> Result<PathBuf> {
    let environment = workspace.target.join("tools").join(name);
    let stamp = environment.join("requirements.txt");
    let wanted = std::fs::read(requirements).with_context(|| format!("{} is missing", requirements.display()))?;
    let programs = environment.join("bin");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) && programs.join("python").exists() {
        return Ok(programs);
    }
    CommandLine::new("python3 -m venv --clear").arg(environment.display()).run()?;
    CommandLine::of(&programs.join("python").display().to_string())
        .args("-m pip install --quiet --disable-pip-version-check --requirement")
        .arg(requirements.display())
        .run()?;
    // Written last: an installation that broke off is begun anew.
    std::fs::write(&stamp, wanted)?;
    Ok(programs)
}
