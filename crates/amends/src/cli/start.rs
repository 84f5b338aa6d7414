//! `amends start`.

use super::failure::Failure;
use super::remote::Remote;
use super::{Outcome, output, show, watch};
use crate::api::json as strict;
use amends_client::{Client, StartOptions, Started};
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest that the server waits before it answers.
const ONE_WAIT: Duration = Duration::from_secs(60);

/// What to start, and with what.
#[derive(Args, Debug)]
pub(super) struct StartArgs {
    /// The definition's name
    definition: String,
    #[command(flatten)]
    input: Input,
    /// Wait this long for the outcome; the exit status says what it was
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Input {
    /// The input, as JSON
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// The file with the input; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// Read the input from standard input
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    standard_input: Option<String>,
}

impl Input {
    /// The input as it was written. What is wrong with it beyond its syntax, such as two equal keys, is the server's to say.
    fn read(&self) -> Result<Box<RawValue>, Failure> {
        let text = match (&self.input, &self.input_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) if path.as_os_str() != "-" => std::fs::read_to_string(path)
                .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))?,
            (None, Some(_) | None) => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text
            }
        };
        raw_json(&text, "the input")
    }
}

/// Reads a JSON value that was given on the command line, as strictly as the server reads what it is sent: what is sent is
/// written anew, and the server could not see that something was dropped.
pub(super) fn json(text: &str, what: &str) -> Result<Value, Failure> {
    let _text_as_it_is = raw_json(text, what)?;
    strict::read(text.as_bytes()).map_err(|problem| Failure::new(format!("{what}: {}", problem.detail())))
}

fn raw_json(text: &str, what: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let help = r#"quote it for the shell, such as '{"order_id": "A-1"}'"#;
        Failure::with_help(format!("{what} is not JSON: {error}"), help)
    })
}

pub(super) async fn run(arguments: StartArgs) -> Outcome {
    let input = arguments.input.read()?;
    let client = arguments.remote.client()?;
    let started = start(&client, &arguments, &input).await?;
    let saga = &started.saga;
    if arguments.remote.json {
        output::print_json(saga)?;
    } else {
        let found = if started.created { "" } else { " (it was there already)" };
        output::print(&format!("{}{found}", saga.id))?;
        if arguments.wait.is_some() {
            output::print(&show::outcome(saga, Timestamp::now()))?;
        }
    }
    if arguments.wait.is_some() { Ok(watch::exit_status(saga.status)) } else { Ok(ExitCode::SUCCESS) }
}

/// Starts the saga, and starts it again as long as there is time to wait: the same start finds the same saga.
async fn start(client: &Client, arguments: &StartArgs, input: &RawValue) -> Result<Started, Failure> {
    let Some(seconds) = arguments.wait.filter(|seconds| *seconds > 0) else {
        return Ok(client.start(&arguments.definition, input, StartOptions::default()).await?);
    };
    let spinner = spinner(&arguments.definition);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut created = false;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let options = StartOptions { wait: Some(left.min(ONE_WAIT)), ..StartOptions::default() };
        let started = client.start(&arguments.definition, input, options).await?;
        created |= started.created;
        if watch::is_settled(started.saga.status) || Instant::now() >= end {
            spinner.finish_and_clear();
            return Ok(Started { created, ..started });
        }
    }
}

fn spinner(definition: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(format!("waiting for {definition}"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
