//! `amends serve`.

use super::{Outcome, output};
use crate::config::{Config, FlagValue, Sources};
use crate::logging;
use crate::server::Server;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The configuration that is used without being named, where it exists.
const DEFAULT_FILE: &str = "amends.toml";

/// What the server is told on the command line.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The configuration [default: amends.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "AMENDS_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes any that is free [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where to keep sagas [default: sqlite:amends.db]
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// The directory whose definitions are loaded at the start
    #[arg(long, value_name = "DIRECTORY")]
    definitions: Option<String>,
    /// Stop when standard input ends: whoever started the server is gone
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

pub(super) async fn run(arguments: ServeArgs) -> Outcome {
    let config = configuration(arguments.config.as_deref(), arguments.flags())?;
    logging::start(&config.log);
    // From here on a signal stops the server in order, also while it starts.
    let stop = Stop::new(arguments.exit_with_parent)?;
    let server = Server::start(&config).await?;
    // Other commands end when nobody reads what they print. A server serves all the same.
    if output::print(&greeting(&server, &config)).is_err() {
        tracing::warn!(address = %server.address(), "nobody reads what the server prints; it serves all the same");
    }
    server.run(stop.signalled()).await?;
    Ok(ExitCode::SUCCESS)
}

/// What is said once the server takes requests; the first line is for programs.
fn greeting(server: &Server, config: &Config) -> String {
    let address = server.address();
    let definitions = match server.definitions() {
        [] => "no definitions loaded".to_owned(),
        names => format!("definitions {}", names.join(", ")),
    };
    let version = env!("CARGO_PKG_VERSION");
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    format!("listening on {scheme}://{address}\namends {version} at {address}, store {}, {definitions}", config.store)
}

/// The configuration: a file, if there is one, the environment, and flags.
pub(super) fn configuration(file: Option<&Path>, flags: Vec<FlagValue>) -> anyhow::Result<Config> {
    let default = || Path::new(DEFAULT_FILE).exists().then(|| PathBuf::from(DEFAULT_FILE));
    let file = file.map(Path::to_owned).or_else(default);
    // What is not UTF-8 cannot be a setting.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(&Sources { file, variables: variables.collect(), flags })
}

impl ServeArgs {
    fn flags(&self) -> Vec<FlagValue> {
        let given = [
            ("--listen", "listen", &self.listen),
            ("--store", "store", &self.store),
            ("--definitions", "definitions", &self.definitions),
        ];
        let given = given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value.clone()?)));
        given.map(|(flag, key, value)| FlagValue { flag, key, value }).collect()
    }
}

/// The signals that stop the server: the first in order, the second at once.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    exit_with_parent: bool,
}

impl Stop {
    fn new(exit_with_parent: bool) -> anyhow::Result<Stop> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Stop { terminate, interrupt, exit_with_parent })
    }

    async fn signalled(mut self) {
        let parent_gone = shop::watch_parent(self.exit_with_parent);
        tokio::select! {
            () = self.next() => {}
            () = parent_gone => {}
        }
        tracing::info!("stopping; calls in flight get their time to end, a second signal ends at once");
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("ended at once; what was in flight is found again at the next start");
            std::process::exit(1);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
