//! Mistakes in the configuration as people read them: where, what is wrong, how to mend it.

use super::tree::Origin;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;

/// One mistake.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) origin: Origin,
    pub(super) fault: Fault,
}

/// What is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) remedy: String,
    /// Whether the line holds a credential and so must not be shown.
    pub(super) secret: bool,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault { message: message.into(), remedy: remedy.into(), secret: false }
    }

    /// The same fault of a value that must not be shown.
    pub(super) fn hidden(self) -> Fault {
        Fault { secret: true, ..self }
    }
}

/// Why a configuration cannot be used: every mistake in it.
#[derive(Clone, Debug)]
pub struct ConfigError {
    file_name: String,
    source: String,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(file_name: &str, source: &str, mut problems: Vec<Problem>) -> ConfigError {
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File(span) => (0, span.start),
            Origin::Variable(_) | Origin::Flag(_) => (1, 0),
        });
        ConfigError { file_name: file_name.to_owned(), source: source.to_owned(), problems }
    }

    /// The mistakes with their places. `colour` is for terminals.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
        let reports: Vec<String> = self.problems.iter().map(|problem| self.render_one(problem, &renderer)).collect();
        reports.join("\n\n")
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let Fault { message, remedy, secret } = &problem.fault;
        let title = match &problem.origin {
            Origin::File(span) if *secret => {
                let line = self.source[..span.start].matches('\n').count() + 1;
                format!("{message} ({}, line {line})", self.file_name)
            }
            Origin::File(_) => message.clone(),
            Origin::Variable(_) | Origin::Flag(_) => format!("{}: {message}", problem.origin),
        };
        let title = Level::ERROR.primary_title(title);
        let span = match &problem.origin {
            Origin::File(span) if !secret => span.clone(),
            // There is no line to show, and so nothing that the help could be drawn below.
            Origin::File(_) | Origin::Variable(_) | Origin::Flag(_) => {
                let help = Level::HELP.secondary_title(remedy.as_str());
                return [Group::with_title(title), Group::with_title(help)]
                    .map(|group| renderer.render(&[group]))
                    .join("\n");
            }
        };
        let snippet = Snippet::source(self.source.as_str()).path(self.file_name.as_str());
        let snippet = snippet.annotation(AnnotationKind::Primary.span(span));
        renderer.render(&[title.element(snippet).element(Level::HELP.message(remedy.as_str()))])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigError {}
