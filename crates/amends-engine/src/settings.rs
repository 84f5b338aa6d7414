//! What the engine is told by its configuration.

use amends_core::redact::Pointer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// The engine's settings. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who can be called, by name.
    pub participants: BTreeMap<String, Participant>,
    /// Compensations begun per second, over all participants and all orchestrators on the store.
    pub compensations_per_second: u32,
    /// Whether other orchestrators may be on the store.
    pub is_shared: bool,
    /// How long a received message stays invisible to others; it is made visible again if nobody reports back.
    pub visibility_ms: u64,
    /// A saga whose next turn is further away than this is put to rest: it costs a row and no memory.
    pub keep_ms: u64,
    /// How often the store is asked for what is due, at the least.
    pub sweep_ms: u64,
    /// Batches of commits on their way to the store at once.
    pub commits_in_flight: usize,
    /// How many commits must have gathered for another batch to go while one is on its way.
    pub full_batch: usize,
    /// Sagas in memory above which no new one is accepted.
    pub live_sagas: usize,
    /// For how long a finished saga is kept before it is forgotten; `None` for ever.
    pub retention_ms: Option<u64>,
    /// Addresses of the server itself: no participant may be there.
    pub own_addresses: Vec<SocketAddr>,
    /// What people are not shown of any saga. What is written for them and cannot be hidden later is written without it.
    pub redact: Vec<Pointer>,
}

/// One participant.
#[derive(Clone, Debug)]
pub struct Participant {
    /// Its base URL; the paths of definitions come after it.
    pub url: Url,
    /// Actions and probes in flight at once.
    pub in_flight: usize,
    /// Compensations in flight at once.
    pub compensations_in_flight: usize,
    /// When its compensations are held back.
    pub breaker: BreakerSettings,
    /// Headers that every call carries: credentials.
    pub headers: Vec<(String, Secret)>,
    /// Keys that calls are signed by, with their ids: one, or two while one is being changed for the other; none where calls
    /// are not signed.
    pub signing: Vec<(String, Secret)>,
    /// How its TLS differs from what the system believes in; `None` where it does not.
    pub tls: Option<ParticipantTls>,
}

/// What a participant's TLS needs. Files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantTls {
    /// Certificates of the authorities that its own may come from; without them those of the system.
    pub authority: Option<PathBuf>,
    /// What it is shown of who calls.
    pub identity: Option<Identity>,
}

/// A certificate to show, and its key. Files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// When compensations to a participant are held back because they keep failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before a few are let through.
    pub open_ms: u64,
    /// How many are let through then; if they succeed it closes.
    pub probes: u32,
}

/// A value that must not be stored or shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable of the server, read at every send.
    Env(String),
    /// A file's content without the line's end, read at every send, so that it can be rotated.
    File(PathBuf),
    /// The value itself: for what is not secret.
    Plain(String),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            participants: BTreeMap::new(),
            compensations_per_second: 200,
            is_shared: false,
            visibility_ms: 60_000,
            keep_ms: 10_000,
            sweep_ms: 500,
            commits_in_flight: 1,
            full_batch: 128,
            live_sagas: 50_000,
            retention_ms: None,
            own_addresses: Vec::new(),
            redact: Vec::new(),
        }
    }
}

impl Participant {
    /// A participant at `url` with the default limits.
    #[must_use]
    pub fn at(url: Url) -> Participant {
        Participant {
            url,
            in_flight: 64,
            compensations_in_flight: 8,
            breaker: BreakerSettings::default(),
            headers: Vec::new(),
            signing: Vec::new(),
            tls: None,
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings { failures: 5, open_ms: 5_000, probes: 2 }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Env(name) => write!(f, "env:{name}"),
            Secret::File(path) => write!(f, "file:{}", path.display()),
            Secret::Plain(_) => f.write_str("(a value)"),
        }
    }
}
