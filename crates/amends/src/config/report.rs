//! Mistakes in the configuration as people read them: where, what is wrong, how to mend it.

use super::tree::Origin;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;

/// One mistake.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) origin: Origin,
    pub(super) fault: Fault,
    /// Whether the line may be shown: one that holds a credential may not.
    pub(super) secret: bool,
}

/// What is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault { message: message.into(), remedy: remedy.into() }
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
    pub(super) fn new(file_name: &str, source: &str, problems: Vec<Problem>) -> ConfigError {
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
        let Fault { message, remedy } = &problem.fault;
        let help = Level::HELP.message(remedy.as_str());
        match &problem.origin {
            Origin::File(span) if !problem.secret => {
                let snippet = Snippet::source(self.source.as_str()).path(self.file_name.as_str());
                let place = AnnotationKind::Primary.span(span.clone());
                renderer.render(&[Level::ERROR
                    .primary_title(message.as_str())
                    .element(snippet.annotation(place))
                    .element(help)])
            }
            Origin::File(span) => {
                let line = self.source[..span.start].matches('\n').count() + 1;
                let title = format!("{message} ({}, line {line})", self.file_name);
                renderer.render(&[Level::ERROR.primary_title(title).element(help)])
            }
            Origin::Variable(_) | Origin::Flag(_) => {
                let title = format!("{}: {message}", problem.origin);
                renderer.render(&[Level::ERROR.primary_title(title).element(help)])
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigError {}
