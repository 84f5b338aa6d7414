//! The server's configuration: one TOML file, the environment over it, flags over both.
//!
//! Every mistake is found at once and shown with its place. A key that is not known is a mistake, because a
//! mistyped bound that silently does not apply is found out in an incident. The exception is the environment: an
//! unknown variable is only warned of.

mod read;
mod report;
mod section;
mod tree;
mod values;

#[cfg(test)]
mod tests;

pub use report::ConfigError;
pub use values::StoreLocation;
pub(crate) use values::is_private;

use amends_client::Role;
use amends_core::lint::Known;
use amends_core::redact::Pointer;
use amends_engine::{Participant, Secret, Settings};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tree::{Origin, Table};

/// Variables of the command line and of tests, which are no settings of the server.
const NOT_SETTINGS: [&str; 6] =
    ["AMENDS_SERVER", "AMENDS_ACTOR", "AMENDS_CA", "AMENDS_TOKEN", "AMENDS_CONFIG", amends_failpoints::VARIABLE];

/// What the server is told. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where sagas are kept.
    pub store: StoreLocation,
    /// For how long a finished saga is kept before it is forgotten; `None` for ever.
    pub retention_ms: Option<u64>,
    /// The directory whose definitions are loaded at the start.
    pub definitions: Option<PathBuf>,
    /// Who can be called, by name.
    pub participants: BTreeMap<String, Participant>,
    /// The queues that steps send to and answers come from, by name.
    pub queues: BTreeMap<String, QueueConfig>,
    /// How Amazon SQS is reached, where queues are kept there.
    pub sqs: Sqs,
    /// Compensations begun per second, over all participants.
    pub compensations_per_second: u32,
    /// How long a message that was received stays invisible to others.
    pub visibility_ms: u64,
    /// Sagas in memory above which no new one is accepted.
    pub live_sagas: usize,
    /// How it goes about a store on PostgreSQL.
    pub postgres: Postgres,
    /// How the server treats its own callers.
    pub http: Http,
    /// How it knows them; `None` where everybody who can connect may do everything.
    pub auth: Option<Auth>,
    /// What people are shown of no saga, whatever its definition says.
    pub redact: Vec<Pointer>,
    /// What it writes to its log.
    pub log: Log,
    /// Where traces go.
    pub telemetry: Telemetry,
    /// How long calls in flight get to end when the server is stopped.
    pub shutdown_grace_ms: u64,
    /// Variables that look like settings and are none.
    pub unknown_variables: Vec<String>,
}

/// One queue. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Its queue in Amazon SQS, by an address or a name; `None` where the store keeps it.
    pub sqs: Option<String>,
    /// How often a message is received before it is dead, where the store keeps it; SQS has a setting of its own.
    pub receives: u32,
    /// How long a message that was received stays invisible to others.
    pub visibility_ms: u64,
    /// Whether what comes there are answers to what steps have sent.
    pub holds_replies: bool,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig { sqs: None, receives: 5, visibility_ms: 60_000, holds_replies: false }
    }
}

/// How Amazon SQS is reached. What is not said here is found as AWS's own tools find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sqs {
    /// Where it is, other than at the region's own address.
    pub endpoint: Option<String>,
    /// The region whose queues they are.
    pub region: Option<String>,
}

/// How the server goes about a store on PostgreSQL. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Without a sign of life for so long, an orchestrator is taken to be dead, and others take over its sagas. It gives one
    /// at a third of that.
    pub lease_ms: u64,
    /// A transaction that does nothing for so long is ended by the database.
    pub transaction_timeout_ms: u64,
    /// Commits on their way at once, each on a connection of its own.
    pub writers: usize,
    /// Connections for what people read.
    pub readers: usize,
}

impl Default for Postgres {
    fn default() -> Postgres {
        Postgres { lease_ms: 15_000, transaction_timeout_ms: 5_000, writers: 3, readers: 4 }
    }
}

/// How the server treats its own callers. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// How long a caller may take to send a request's head; an idle connection is closed after as long.
    pub header_read_timeout_ms: u64,
    /// How long a caller may take to send a request's body.
    pub body_read_timeout_ms: u64,
    /// How long a caller may leave what is sent to it unread before it is cut off.
    pub answer_write_timeout_ms: u64,
    /// Connections open at once; more wait to be accepted.
    pub connections: usize,
    /// Names that a request may call the server by (`Host`), besides `localhost` and addresses of the loopback.
    pub hosts: Vec<String>,
    /// Without it callers speak plain HTTP.
    pub tls: Option<Tls>,
}

/// Where the server's certificate is, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How the server knows its callers, besides by the tokens that its store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The token of an admin who is there from the beginning: never [`Secret::Plain`].
    pub admin_token: Option<Secret>,
    /// Who else says who somebody is.
    pub oidc: Option<Oidc>,
}

/// An issuer of tokens by OpenID Connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Its address, to the letter as its tokens have it in `iss`.
    pub issuer: String,
    /// What its tokens must have in `aud` to be meant for this server.
    pub audience: String,
    /// The claim that has the roles: a name, or names with dots between them that lead into objects.
    pub roles_claim: String,
    /// What the issuer calls each role.
    pub roles: [(Role, Vec<String>); 3],
}

/// What the server writes to its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines are written: a level, or directives such as `info,amends_engine=debug`.
    pub level: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// For programs: one JSON object a line.
    Json,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// The base address of an OpenTelemetry collector that speaks OTLP over HTTP; without it nothing is sent.
    pub otlp_endpoint: Option<String>,
    /// What the server calls itself in traces.
    pub service_name: String,
}

/// Where the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Flags that were given.
    pub flags: Vec<FlagValue>,
}

/// A flag that stands for a key.
#[derive(Clone, Debug)]
pub struct FlagValue {
    /// As it is written, such as `--listen`.
    pub flag: &'static str,
    /// The key it stands for.
    pub key: &'static str,
    /// What was given.
    pub value: String,
}

impl Config {
    /// What definitions may name.
    #[must_use]
    pub fn known(&self) -> Known {
        Known {
            participants: self.participants.keys().cloned().collect(),
            queues: self.queues.keys().cloned().collect(),
        }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// A [`ConfigError`] with every mistake, or the reason why the file cannot be read.
    pub fn load(sources: &Sources) -> anyhow::Result<Config> {
        let (name, source) = match &sources.file {
            None => (String::new(), String::new()),
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let source = read
                    .map_err(|error| anyhow::anyhow!("the configuration {} cannot be read: {error}", path.display()))?;
                (path.display().to_string(), source)
            }
        };
        let base = sources.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        let document = Document { name: &name, source: &source, base };
        Ok(document.read(sources).map_err(|problems| ConfigError::new(&name, &source, problems))?)
    }

    /// The engine's part of it. `listening` is where the server itself is to be found.
    #[must_use]
    pub fn engine_settings(&self, listening: SocketAddr) -> Settings {
        Settings {
            participants: self.participants.clone(),
            compensations_per_second: self.compensations_per_second,
            visibility_ms: self.visibility_ms,
            live_sagas: self.live_sagas,
            retention_ms: self.retention_ms,
            own_addresses: vec![listening],
            redact: self.redact.clone(),
            ..Settings::default()
        }
    }
}

/// The file, and where the paths in it begin.
struct Document<'a> {
    name: &'a str,
    source: &'a str,
    base: PathBuf,
}

impl Document<'_> {
    fn read(&self, sources: &Sources) -> Result<Config, Vec<report::Problem>> {
        let mut findings = section::Findings::default();
        let mut table = tree::parse(self.source).map_err(|errors| self.syntax(errors))?;
        overlay(&mut table, sources, &mut findings);
        let config = read::config(table, &self.base, &mut findings);
        match config {
            Some(config) if findings.problems.is_empty() => {
                Ok(Config { unknown_variables: findings.unknown_variables, ..config })
            }
            Some(_) | None => Err(findings.problems),
        }
    }

    fn syntax(&self, errors: Vec<tree::SyntaxError>) -> Vec<report::Problem> {
        let remedy = format!("mend the TOML of {}; https://toml.io shows the syntax", self.name);
        let problem = |error: tree::SyntaxError| report::Problem {
            origin: Origin::File(error.span),
            fault: report::Fault::new(error.message, remedy.as_str()),
        };
        errors.into_iter().map(problem).collect()
    }
}

/// Lays the environment and the flags over the file.
fn overlay(table: &mut Table, sources: &Sources, findings: &mut section::Findings) {
    let mut set = |path: Vec<String>, value: &str, origin: Origin| {
        if let Err(part) = tree::set(table, &path, value, &origin) {
            let fault = report::Fault::new(
                format!("`{part}` is a value, so there is no `{}`", path.join(".")),
                "two underscores in a variable's name go one level down; see docs/configuration.md",
            );
            findings.problems.push(report::Problem { origin, fault });
        }
    };
    let mut variables: Vec<_> = sources.variables.iter().collect();
    variables.sort();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix("AMENDS_").filter(|_| !NOT_SETTINGS.contains(&name.as_str())) else {
            continue;
        };
        let path = path.split("__").map(str::to_ascii_lowercase).collect();
        set(path, value, Origin::Variable(name.clone()));
    }
    for flag in &sources.flags {
        set(vec![flag.key.to_owned()], &flag.value, Origin::Flag(flag.flag));
    }
}
