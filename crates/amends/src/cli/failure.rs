//! Why a command failed, as people read it: `error:` with what is wrong, `help:` with how to mend it.

use crate::config::ConfigError;
use crate::server::DefinitionError;
use amends_client::{Diagnostic, Error, Problem};
use amends_store::OpenError;
use anstyle::{AnsiColor, Style};
use std::fmt::Write;
use std::io::{self, ErrorKind, IsTerminal};
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It can be said in a sentence.
    Said { message: String, help: Option<String> },
    /// It is shown at its place in a file.
    Rendered(String),
    /// Whoever read the output has gone: nothing is left to say, and nobody to say it to.
    Unread,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Failure {
        Failure::Said { message: message.into(), help: None }
    }

    pub(super) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure::Said { message: message.into(), help: Some(help.into()) }
    }

    /// Tells it and returns the exit status.
    pub(super) fn report(&self) -> ExitCode {
        let text = match self {
            Failure::Unread => return ExitCode::SUCCESS,
            Failure::Rendered(text) => text.clone(),
            Failure::Said { message, help } => said(message, help.as_deref()),
        };
        anstream::eprintln!("{text}");
        ExitCode::FAILURE
    }
}

/// The two lines of a failure, in colour.
pub(super) fn said(message: &str, help: Option<&str>) -> String {
    let (error, cyan) = (AnsiColor::Red.on_default().bold(), AnsiColor::Cyan.on_default().bold());
    let reset = Style::new().render_reset();
    let mut text = format!("{}error{reset}: {message}", error.render());
    if let Some(help) = help {
        let _ = write!(text, "\n{}help{reset}: {help}", cyan.render());
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Refused(problem) => refused(&problem),
            Error::Unreachable { server, cause } if cause.contains("certificate") => Failure::with_help(
                format!("the server at {server} cannot be believed: {cause}"),
                "where its authority is one of your own, name that with --ca or AMENDS_CA",
            ),
            Error::Unreachable { server, cause } => Failure::with_help(
                format!("the server at {server} does not answer: {cause}"),
                "start one with `amends serve`, or name another with --server or AMENDS_SERVER",
            ),
            Error::BadAddress(_) | Error::BadAuthority(_) | Error::BadToken => Failure::new(error.to_string()),
        }
    }
}

/// What to do where the server does not know who asks, or lets them do less.
const LET_IN: [(&str, &str); 2] = [
    (
        "urn:amends:problem:unauthenticated",
        "name a token with --token-file or AMENDS_TOKEN; an admin makes one with `amends token create NAME --role ROLE`",
    ),
    (
        "urn:amends:problem:forbidden",
        "name another token with --token-file or AMENDS_TOKEN; an admin makes one with `amends token create NAME --role ROLE`",
    ),
];

fn refused(problem: &Problem) -> Failure {
    let mut message = super::output::plain(&problem.to_string());
    if let Some((_, help)) = LET_IN.iter().find(|(kind, _)| *kind == problem.kind) {
        let what = message.split_once("; ").map_or(message.as_str(), |(what, _)| what);
        return Failure::with_help(what, *help);
    }
    for Diagnostic { severity, line, column, message: said, remedy, .. } in &problem.diagnostics {
        let _ = write!(message, "\n  {line}:{column}: {severity}: {said}; {remedy}");
    }
    // A problem says what is wrong, a semicolon, and how to mend it.
    match message.split_once("; ").filter(|_| problem.diagnostics.is_empty()) {
        Some((what, how)) => Failure::with_help(what, how),
        None => Failure::new(message),
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        if let Some(config) = error.downcast_ref::<ConfigError>() {
            return Failure::Rendered(config.render(colour));
        }
        if let Some(definitions) = error.downcast_ref::<DefinitionError>() {
            return Failure::Rendered(definitions.render(colour));
        }
        match error.downcast_ref::<OpenError>() {
            Some(OpenError::Held { .. }) => Failure::with_help(
                error.to_string(),
                "stop that server, or give this one a store of its own with --store",
            ),
            Some(OpenError::Newer { .. } | OpenError::NotAStore { .. } | OpenError::Unusable { .. }) | None => {
                Failure::new(format!("{error:#}"))
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::new(error.to_string()),
        }
    }
}
