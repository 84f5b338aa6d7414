//! Every key there is, with its default. `amends.example.toml` and `docs/configuration.md` tell them to people.

use super::report::Fault;
use super::section::{Findings, Section};
use super::tree::{Node, Origin, Table};
use super::values::{self, StoreLocation};
use super::{Auth, Config, Http, Log, LogFormat, Oidc, Postgres, QueueConfig, Sqs, Telemetry, Tls};
use amends_client::Role;
use amends_core::limits;
use amends_core::signature::KEYS;
use amends_engine::{BreakerSettings, Identity, Participant, ParticipantTls, Settings};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;

/// The most calls that may be in flight to one participant: more than any one process should have open.
const MOST_IN_FLIGHT: u32 = 10_000;

/// The most connections to PostgreSQL of one kind: more than any one server should have.
const MOST_CONNECTIONS: u32 = 1_000;

/// The longest that SQS keeps a message invisible.
const MOST_VISIBILITY_MS: u64 = 12 * 60 * 60 * 1_000;

/// The shortest time for which a finished saga is kept: whoever started it may still be asking for it, or starting it again.
const LEAST_RETENTION_MS: u64 = 60 * 60 * 1_000;

/// Reads the whole tree. `None` where something that has no default is missing; the findings say what.
pub(super) fn config(table: Table, base: &Path, findings: &mut Findings) -> Option<Config> {
    let defaults = Settings::default();
    let mut top = Section::root(table, findings);
    let auth = auth(top.section("auth"), base);
    let listen = top.value("listen", |node| values::listen(node, auth.is_some()));
    let store = top.value("store", |node| values::store(node, base));
    let retention_ms = top.value("retention", |node| values::duration(node, LEAST_RETENTION_MS));
    let definitions = top.value("definitions", |node| values::path(node, base));
    let redact = top.value("redact", values::pointers);
    let shutdown_grace_ms = top.value("shutdown_grace", |node| values::duration(node, 0));
    let participants = participants(&mut top, base);
    let queues = queues(&mut top);
    let sqs = sqs(top.section("sqs"));
    let (per_second, visibility_ms) = compensations(top.section("compensations"));
    let live_sagas = limits(top.section("limits"));
    let postgres = postgres(top.section("postgres"));
    let http = http(top.section("http"), base);
    let log = log(top.section("log"));
    let telemetry = telemetry(top.section("telemetry"));
    top.finish();
    Some(Config {
        listen: listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 7700))),
        store: store.unwrap_or_else(|| StoreLocation::Sqlite(PathBuf::from("amends.db"))),
        retention_ms,
        definitions,
        participants: participants?,
        queues,
        sqs,
        compensations_per_second: per_second.unwrap_or(defaults.compensations_per_second),
        visibility_ms: visibility_ms.unwrap_or(defaults.visibility_ms),
        live_sagas: live_sagas.unwrap_or(defaults.live_sagas),
        postgres,
        http,
        auth,
        redact: redact.unwrap_or_default(),
        log,
        telemetry,
        shutdown_grace_ms: shutdown_grace_ms.unwrap_or(10_000),
        unknown_variables: Vec::new(),
    })
}

fn participants(top: &mut Section<'_>, base: &Path) -> Option<BTreeMap<String, Participant>> {
    let mut participants = BTreeMap::new();
    let mut complete = true;
    top.named("participants", |name, origin, section| match participant(name, origin, section, base) {
        Some(participant) => {
            participants.insert(name.to_owned(), participant);
        }
        None => complete = false,
    });
    complete.then_some(participants)
}

fn participant(name: &str, origin: &Origin, mut section: Section<'_>, base: &Path) -> Option<Participant> {
    if !is_name(name) {
        let remedy = format!("use 1 to {} lower-case letters, digits, `-` and `_`", limits::NAME_BYTES);
        section.fault(origin, Fault::new("cannot be the name of a participant", remedy));
    }
    let url =
        section.required("url", origin, "write where it is, such as url = \"http://127.0.0.1:7101\"", values::url);
    let in_flight = section.value("in_flight", |node| values::number(node, 1..=MOST_IN_FLIGHT));
    let headers = section.secrets("headers", |name, node| values::header(name, node, base));
    let signing = section.secrets("signing", |id, node| values::signing_key(id, node, base));
    if signing.len() > KEYS {
        let fault =
            Fault::new(format!("has {} keys in `signing`", signing.len()), "keep at most two: the new one and the old");
        section.fault(origin, fault);
    }
    let tls = participant_tls(section.section("tls"), base);
    if tls.is_some() && url.as_ref().is_some_and(|url| url.scheme() == "http") {
        section.fault(origin, Fault::new("has `tls` and an http URL", "write its url with https, or take `tls` away"));
    }
    let compensations_in_flight = {
        let mut compensations = section.section("compensations");
        let in_flight = compensations.value("in_flight", |node| values::number(node, 1..=MOST_IN_FLIGHT));
        compensations.finish();
        in_flight
    };
    let breaker = breaker(section.section("breaker"));
    section.finish();
    let defaults = Participant::at(url?);
    Some(Participant {
        in_flight: in_flight.map_or(defaults.in_flight, |number| number as usize),
        compensations_in_flight: compensations_in_flight
            .map_or(defaults.compensations_in_flight, |number| number as usize),
        breaker,
        headers,
        signing,
        tls,
        ..defaults
    })
}

fn participant_tls(mut section: Section<'_>, base: &Path) -> Option<ParticipantTls> {
    let file = |node: &Node| values::path(node, base);
    let authority = section.value("ca", file);
    let identity = section.pair(["certificate", "key"], file);
    section.finish();
    let identity = identity.map(|(certificate, key)| Identity { certificate, key });
    (authority.is_some() || identity.is_some()).then_some(ParticipantTls { authority, identity })
}

fn breaker(mut section: Section<'_>) -> BreakerSettings {
    let defaults = BreakerSettings::default();
    let failures = section.value("failures", |node| values::number(node, 1..=1_000));
    let open_ms = section.value("open", |node| values::duration(node, 100));
    let probes = section.value("probes", |node| values::number(node, 1..=1_000));
    section.finish();
    BreakerSettings {
        failures: failures.unwrap_or(defaults.failures),
        open_ms: open_ms.unwrap_or(defaults.open_ms),
        probes: probes.unwrap_or(defaults.probes),
    }
}

fn queues(top: &mut Section<'_>) -> BTreeMap<String, QueueConfig> {
    let mut queues = BTreeMap::new();
    top.named("queues", |name, origin, mut section| {
        if !is_name(name) {
            let remedy = format!("use 1 to {} lower-case letters, digits, `-` and `_`", limits::NAME_BYTES);
            section.fault(origin, Fault::new("cannot be the name of a queue", remedy));
        }
        queues.insert(name.to_owned(), queue(section));
    });
    queues
}

fn queue(mut section: Section<'_>) -> QueueConfig {
    let defaults = QueueConfig::default();
    let sqs = section.value("sqs", values::sqs_queue);
    let receives = section.value("receives", |node| values::number(node, 1..=1_000));
    let visibility_ms = section.value("visibility", |node| values::duration_within(node, 1_000..=MOST_VISIBILITY_MS));
    let holds_replies = section.value("holds", values::holds_replies);
    section.finish();
    QueueConfig {
        holds_replies: holds_replies.unwrap_or(defaults.holds_replies),
        sqs,
        receives: receives.unwrap_or(defaults.receives),
        visibility_ms: visibility_ms.unwrap_or(defaults.visibility_ms),
    }
}

fn sqs(mut section: Section<'_>) -> Sqs {
    let endpoint = section.value("endpoint", values::url);
    let region = section.value("region", values::nonempty);
    section.finish();
    Sqs { endpoint: endpoint.map(|url| url.to_string()), region }
}

fn compensations(mut section: Section<'_>) -> (Option<u32>, Option<u64>) {
    let per_second = section.value("per_second", |node| values::number(node, 1..=100_000));
    let visibility_ms = section.value("visibility", |node| values::duration(node, 1_000));
    section.finish();
    (per_second, visibility_ms)
}

fn limits(mut section: Section<'_>) -> Option<usize> {
    let live_sagas = section.value("live_sagas", |node| values::number(node, 1..=10_000_000));
    section.finish();
    live_sagas.map(|number| number as usize)
}

fn postgres(mut section: Section<'_>) -> Postgres {
    let defaults = Postgres::default();
    let lease_ms = section.value("lease", |node| values::duration(node, 1_000));
    let transaction_timeout_ms = section.value("transaction_timeout", |node| values::duration(node, 500));
    let writers = section.value("writers", |node| values::number(node, 1..=MOST_CONNECTIONS));
    let readers = section.value("readers", |node| values::number(node, 1..=MOST_CONNECTIONS));
    section.finish();
    Postgres {
        lease_ms: lease_ms.unwrap_or(defaults.lease_ms),
        transaction_timeout_ms: transaction_timeout_ms.unwrap_or(defaults.transaction_timeout_ms),
        writers: writers.map_or(defaults.writers, |number| number as usize),
        readers: readers.map_or(defaults.readers, |number| number as usize),
    }
}

fn http(mut section: Section<'_>, base: &Path) -> Http {
    let header_read_timeout_ms = section.value("header_read_timeout", |node| values::duration(node, 100));
    let body_read_timeout_ms = section.value("body_read_timeout", |node| values::duration(node, 100));
    let answer_write_timeout_ms = section.value("answer_write_timeout", |node| values::duration(node, 100));
    let connections = section.value("connections", |node| values::number(node, 1..=1_000_000));
    let hosts = section.value("hosts", values::texts);
    let tls = {
        let mut tls = section.section("tls");
        let files = tls.pair(["certificate", "key"], |node| values::path(node, base));
        tls.finish();
        files.map(|(certificate, key)| Tls { certificate, key })
    };
    section.finish();
    Http {
        header_read_timeout_ms: header_read_timeout_ms.unwrap_or(30_000),
        body_read_timeout_ms: body_read_timeout_ms.unwrap_or(30_000),
        answer_write_timeout_ms: answer_write_timeout_ms.unwrap_or(30_000),
        connections: connections.map_or(4_096, |number| number as usize),
        hosts: hosts.unwrap_or_default().into_iter().map(|host| host.to_ascii_lowercase()).collect(),
        tls,
    }
}

fn auth(mut section: Section<'_>, base: &Path) -> Option<Auth> {
    let admin_token = section.secret("admin_token", |node| values::credential(node, base));
    let oidc = section.optional_section("oidc").and_then(|(origin, section)| oidc(&origin, section));
    section.finish();
    (admin_token.is_some() || oidc.is_some()).then_some(Auth { admin_token, oidc })
}

fn oidc(origin: &Origin, mut section: Section<'_>) -> Option<Oidc> {
    const ISSUER: &str = "write who issues the tokens, such as issuer = \"https://login.example\"";
    const AUDIENCE: &str = "write what tokens for this server have in `aud`, such as audience = \"amends\"";
    let issuer = section.required("issuer", origin, ISSUER, values::issuer);
    let audience = section.required("audience", origin, AUDIENCE, values::nonempty);
    let roles_claim = section.value("roles_claim", values::nonempty);
    let roles = {
        let mut names = section.section("roles");
        let roles = Role::ALL.map(|role| {
            let named = names.value(role.as_str(), values::texts);
            (role, named.unwrap_or_else(|| vec![role.to_string()]))
        });
        names.finish();
        roles
    };
    section.finish();
    let roles_claim = roles_claim.unwrap_or_else(|| "roles".to_owned());
    Some(Oidc { issuer: issuer?, audience: audience?, roles_claim, roles })
}

fn log(mut section: Section<'_>) -> Log {
    let format = section.value("format", |node| match values::text(node)?.as_str() {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        other => Err(Fault::new(format!("is no format: `{other}`"), "write \"human\" or \"json\"")),
    });
    let level = section.value("level", |node| {
        let text = values::text(node)?;
        let valid = text.split(',').all(is_directive) && EnvFilter::try_new(&text).is_ok();
        valid.then(|| text.clone()).ok_or_else(|| {
            let remedy = "write error, warn, info, debug or trace, or directives such as info,amends_engine=debug";
            Fault::new(format!("is no level: `{text}`"), remedy)
        })
    });
    section.finish();
    Log { format: format.unwrap_or(LogFormat::Human), level: level.unwrap_or_else(|| "info".to_owned()) }
}

fn telemetry(mut section: Section<'_>) -> Telemetry {
    let otlp_endpoint = section.value("otlp_endpoint", values::url);
    let service_name = section.value("service_name", values::text);
    section.finish();
    Telemetry {
        otlp_endpoint: otlp_endpoint.map(|url| url.to_string()),
        service_name: service_name.unwrap_or_else(|| "amends".to_owned()),
    }
}

/// Whether a directive is a level, or gives one to a target. The filter itself takes a mistyped level for a target.
fn is_directive(directive: &str) -> bool {
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
    ["off", "error", "warn", "info", "debug", "trace"].contains(&level)
}

/// As definitions name participants.
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= limits::NAME_BYTES
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || matches!(byte, b'-' | b'_'))
}
