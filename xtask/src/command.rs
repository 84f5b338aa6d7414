//! A command that can be shown, so that a person can repeat it, and run.

use anyhow::{Context, Result, ensure};
use std::fmt;
use std::process::{Command, Stdio};

/// A program, its arguments and what is added to its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl CommandLine {
    /// Takes the words of a line; no word of it may contain a blank.
    pub fn new(line: &str) -> CommandLine {
        let (program, arguments) = line.split_once(' ').unwrap_or((line, ""));
        Self::of(program).args(arguments)
    }

    /// A program, whose path may contain blanks, without arguments.
    pub fn of(program: &str) -> CommandLine {
        CommandLine { program: program.to_owned(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// The same with the words of a line as further arguments; none of them may contain a blank.
    pub fn args(mut self, line: &str) -> CommandLine {
        self.arguments.extend(line.split_whitespace().map(str::to_owned));
        self
    }

    /// The same with one more argument, which may contain blanks.
    pub fn arg(mut self, argument: impl fmt::Display) -> CommandLine {
        self.arguments.push(argument.to_string());
        self
    }

    /// The same with one more variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> CommandLine {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Shows the command, runs it with our own input and output, and fails if it does.
    pub fn run(&self) -> Result<()> {
        println!("$ {self}");
        let status = self.command().status().with_context(|| format!("`{}` cannot be started", self.program))?;
        ensure!(status.success(), "this failed ({status}):\n    {self}");
        Ok(())
    }

    /// Whether the command can be started and succeeds; it shows nothing.
    pub fn succeeds(&self) -> bool {
        let silent = self.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        silent.is_ok_and(|status| status.success())
    }

    /// What the command prints, if it succeeds.
    pub fn output(&self) -> Option<String> {
        let output = self.command().stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Without what cargo tells us about xtask: some build scripts watch these variables, and their crates would be
    /// compiled anew whenever a person's own `cargo build` and ours took turns.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.to_str().is_some_and(is_about_xtask)) {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The command as a shell reads it.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

fn is_about_xtask(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
