//! The house rules that a program can check. Each finding says where, what is wrong and how to mend it.
//!
//! What the compiler, clippy and cargo-deny see is left to them. A rule is a function from a file to findings,
//! and `tests.rs` holds for each a piece of code that it flags and one that it does not.

mod code;
mod manifests;
mod promises;
mod purity;
mod source;
mod sql;
#[cfg(test)]
mod tests;

use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use source::Source;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the workspace's root.
    path: String,
    /// Counted from 1.
    line: usize,
    wrong: String,
    mend: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.wrong, self.mend)
    }
}

/// A Rust file with its place in the workspace.
struct File {
    /// Relative to the workspace's root, with `/` between its parts.
    path: String,
    source: Source,
    /// Whether only tests compile the whole file.
    tests: bool,
}

type Rule = fn(&File) -> Vec<Finding>;

const RULES: [Rule; 8] = [
    code::file_length,
    code::function_length,
    code::module_name,
    code::sleeping_test,
    code::unfinished,
    code::unwrap,
    purity::purity,
    sql::case_in_literals,
];

/// Files other than Rust that people write here.
const TEXTS: [&str; 9] = ["css", "html", "js", "sh", "sql", "toml", "ts", "yaml", "yml"];

/// Checks the whole workspace and prints what it finds.
pub fn run(workspace: &Workspace) -> Result<()> {
    let mut texts = Vec::new();
    collect(&workspace.root, "", &mut texts)?;
    let mut findings = check(&texts);
    findings.extend(manifests::check(workspace));
    let document = std::fs::read_to_string(workspace.root.join(promises::DOCUMENT));
    findings
        .extend(promises::check(&document.with_context(|| format!("{} cannot be read", promises::DOCUMENT))?, &texts));
    findings.sort();
    findings.iter().for_each(|finding| println!("{finding}"));
    ensure!(findings.is_empty(), "tidy has {} to mend", counted(findings.len()));
    println!("tidy: {} files, nothing to mend", texts.len());
    Ok(())
}

fn counted(findings: usize) -> String {
    if findings == 1 { "1 finding".to_owned() } else { format!("{findings} findings") }
}

/// Reads the files below `folder` that have rules: their paths from the root and their texts.
fn collect(root: &Path, folder: &str, texts: &mut Vec<(String, String)>) -> Result<()> {
    let path = root.join(folder);
    for entry in std::fs::read_dir(&path).with_context(|| format!("{} cannot be listed", path.display()))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let relative = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            let generated = name.starts_with('.') || name == "target" || name == "node_modules";
            if !generated {
                collect(root, &relative, texts)?;
            }
        } else if extension(&name) == "rs" || TEXTS.contains(&extension(&name)) {
            let text = std::fs::read_to_string(entry.path()).with_context(|| format!("{relative} cannot be read"))?;
            texts.push((relative, text));
        }
    }
    Ok(())
}

/// Applies every rule for files to `(path, text)` pairs.
fn check(texts: &[(String, String)]) -> Vec<Finding> {
    let (rust, others): (Vec<_>, Vec<_>) = texts.iter().partition(|(path, _)| extension(path) == "rs");
    let files = classify(rust.into_iter().map(|(path, text)| (path.clone(), Source::scan(text))).collect());
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|file| RULES.iter().flat_map(move |rule| rule(file))).collect();
    for (path, text) in others {
        findings.extend(code::unfinished_text(path, text));
        if extension(path) == "sql" {
            findings.extend(sql::case_on_state(path, 1, text));
        }
    }
    findings
}

/// Tells the files of tests from the product's: by their place, and by the declaration of their module.
fn classify(sources: Vec<(String, Source)>) -> Vec<File> {
    let declared: HashSet<String> = sources
        .iter()
        .flat_map(|(path, source)| {
            let folder = module_folder(path).to_owned();
            source.test_modules().into_iter().map(move |module| format!("{folder}/{module}"))
        })
        .collect();
    let is_test = |path: &str| {
        let module = path.strip_suffix(".rs").unwrap_or(path);
        let ancestors = module.match_indices('/').map(|(at, _)| &module[..at]).chain([module]);
        module.split('/').any(|part| part == "tests") || ancestors.into_iter().any(|above| declared.contains(above))
    };
    sources.into_iter().map(|(path, source)| File { tests: is_test(&path), path, source }).collect()
}

/// The folder in which the modules are that the file at `path` declares.
fn module_folder(path: &str) -> &str {
    let module = path.strip_suffix(".rs").unwrap_or(path);
    match module.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        Some(_) | None => module,
    }
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

impl File {
    fn is_test(&self, offset: usize) -> bool {
        self.tests || self.source.is_test(offset)
    }

    /// Where `word` stands in code that is part of the product.
    fn product_words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.source.words(word).filter(|&offset| !self.is_test(offset))
    }

    fn finding(&self, line: usize, wrong: impl Into<String>, mend: &'static str) -> Finding {
        Finding { path: self.path.clone(), line, wrong: wrong.into(), mend }
    }

    fn finding_at(&self, offset: usize, wrong: impl Into<String>, mend: &'static str) -> Finding {
        self.finding(self.source.line_at(offset), wrong, mend)
    }
}
