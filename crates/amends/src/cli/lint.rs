//! `amends lint`: the checks of a definition, without a server.

use super::serve::configuration;
use super::{Outcome, output};
use crate::server;
use amends_core::lint::{self, Diagnostic, Severity};
use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which definitions.
#[derive(Args, Debug)]
pub(super) struct LintArgs {
    /// Definitions in YAML or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server's configuration: participants that it does not name are errors
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// What was found in one file.
#[derive(Serialize)]
struct Report {
    file: String,
    diagnostics: Vec<Diagnostic>,
    #[serde(skip)]
    source: String,
}

pub(super) fn run(arguments: &LintArgs) -> Outcome {
    let known = match &arguments.config {
        Some(path) => Some(configuration(Some(path), Vec::new())?.known()),
        None => None,
    };
    let mut reports = Vec::new();
    for path in &arguments.files {
        let source = server::read_definition(path)?;
        let diagnostics = lint::check(&source, known.as_ref()).diagnostics;
        reports.push(Report { file: path.display().to_string(), diagnostics, source });
    }
    let errors = count(&reports, Severity::Error);
    if arguments.json {
        output::print_json(&reports)?;
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        output::print(&text(&reports, colour))?;
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn count(reports: &[Report], severity: Severity) -> usize {
    reports.iter().flat_map(|report| &report.diagnostics).filter(|found| found.severity == severity).count()
}

fn text(reports: &[Report], colour: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    for Report { file, diagnostics, source } in reports {
        if !diagnostics.is_empty() {
            parts.push(lint::render(source, file, diagnostics, colour) + "\n");
        }
    }
    let (errors, warnings) = (count(reports, Severity::Error), count(reports, Severity::Warning));
    let style: Style = match (errors, warnings) {
        (0, 0) => AnsiColor::Green.on_default(),
        (0, _) => AnsiColor::Yellow.on_default(),
        (_, _) => AnsiColor::Red.on_default().bold(),
    };
    let files = numbered(reports.len(), "file");
    let said = match (errors, warnings) {
        (0, 0) => format!("{files}, nothing to complain about"),
        (_, _) => format!("{files}, {}, {}", numbered(errors, "error"), numbered(warnings, "warning")),
    };
    parts.push(format!("{style}{said}{style:#}"));
    parts.join("\n")
}

fn numbered(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
