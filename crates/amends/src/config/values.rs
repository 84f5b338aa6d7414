//! Reading single values: each says what it takes and how to write it.

use super::report::Fault;
use super::section::must_be;
use super::tree::{Node, Origin, Value};
use amends_core::limits;
use amends_core::redact::Pointer;
use amends_core::signature::is_id;
use amends_core::time::{format_duration, parse_duration};
use amends_engine::Secret;
use http::{HeaderName, HeaderValue};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use url::{Host, Url};

/// Where sagas are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// In one SQLite file.
    Sqlite(PathBuf),
    /// In PostgreSQL, at this address. It may hold a password.
    Postgres(String),
}

impl fmt::Debug for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreLocation::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            StoreLocation::Postgres(address) => f.write_str(&without_password(address)),
        }
    }
}

impl StoreLocation {
    /// Reads a store as configuration and flags write it; a relative path begins at `base`.
    ///
    /// # Errors
    /// A sentence that says which forms there are.
    pub fn parse(text: &str, base: &Path) -> Result<StoreLocation, String> {
        match text.split_once(':') {
            Some(("sqlite", ":memory:")) => Err(
                "would keep sagas in memory only and lose them at a restart; write a file, such as sqlite:amends.db"
                    .into(),
            ),
            Some(("sqlite", "")) => Err("names no file; write one, such as sqlite:amends.db".into()),
            Some(("sqlite", path)) => Ok(StoreLocation::Sqlite(base.join(path))),
            Some(("postgres" | "postgresql", _)) => match check_hosts(text) {
                Ok(()) => Ok(StoreLocation::Postgres(text.to_owned())),
                Err(why) => Err(format!("{why}; write postgres://USER@HOST/DATABASE")),
            },
            Some(_) | None => Err(format!(
                "is no store: `{}`; write sqlite:PATH, such as sqlite:amends.db, or postgres://USER@HOST/DATABASE",
                without_password(text)
            )),
        }
    }
}

/// Looks at each of the hosts that an address of PostgreSQL names, separated by commas.
fn check_hosts(address: &str) -> Result<(), String> {
    let (front, hosts, rest) = parts(address);
    for host in hosts.split(',') {
        match Url::parse(&format!("{front}{host}{rest}")) {
            Ok(address) if address.has_host() => {}
            Ok(_) => return Err("names no host".into()),
            Err(error) => return Err(format!("is no address ({error})")),
        }
    }
    Ok(())
}

/// An address as it may be shown.
fn without_password(address: &str) -> String {
    let (front, hosts, rest) = parts(address);
    let (scheme, user) = front.split_once("://").unwrap_or(("", front));
    let front = match user.split_once(':') {
        Some((name, _password)) => format!("{scheme}://{name}:***@"),
        None => front.to_owned(),
    };
    let Some((path, query)) = rest.split_once('?') else { return format!("{front}{hosts}{rest}") };
    let shown = query.split('&').map(|pair| if pair.starts_with("password=") { "password=***" } else { pair });
    format!("{front}{hosts}{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// Splits an address at its hosts: what comes before them, with the user, and what comes after. The hosts may be several, and so
/// it may be no URL.
fn parts(address: &str) -> (&str, &str, &str) {
    let begin = address.find("://").map_or(0, |at| at + 3);
    // A password may hold anything, and none of it is to be taken for a host.
    let host = address.rfind('@').map_or(begin, |at| at + 1);
    let end = address[host..].find(['/', '?']).map_or(address.len(), |at| host + at);
    (&address[..host], &address[host..end], &address[end..])
}

/// Headers that the engine sets itself, or that would change the meaning of the message.
const RESERVED_HEADERS: [&str; 12] = [
    "host",
    "content-digest",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    "signature",
    "signature-input",
    "traceparent",
    "tracestate",
    "upgrade",
];

pub(super) fn text(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        other @ (Value::Integer(_) | Value::List(_) | Value::Table(_) | Value::Other(_)) => {
            Err(must_be("a text", other, "put it in quotes"))
        }
    }
}

/// A list of texts; in the environment they are separated by commas.
pub(super) fn texts(node: &Node) -> Result<Vec<String>, Fault> {
    match &node.value {
        Value::List(items) => items.iter().map(text).collect(),
        Value::Text(text) if !matches!(node.origin, Origin::File(_)) => {
            Ok(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
        }
        other @ (Value::Text(_) | Value::Integer(_) | Value::Table(_) | Value::Other(_)) => {
            Err(must_be("a list of texts", other, "write [\"…\", \"…\"]"))
        }
    }
}

/// Pointers into every saga.
pub(super) fn pointers(node: &Node) -> Result<Vec<Pointer>, Fault> {
    let texts = texts(node)?;
    if texts.len() > limits::POINTERS {
        let remedy = format!("keep at most {}; point to what several of them have in common", limits::POINTERS);
        return Err(Fault::new(format!("has {} pointers", texts.len()), remedy));
    }
    let pointer = |text: &String| {
        Pointer::parse(text).map_err(|error| Fault::new(format!("has `{text}`: {error}"), error.remedy))
    };
    texts.iter().map(pointer).collect()
}

/// A whole number within bounds; in the environment and in flags it is written without more ado.
pub(super) fn number(node: &Node, bounds: RangeInclusive<u32>) -> Result<u32, Fault> {
    let remedy = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
    let number = match &node.value {
        Value::Integer(number) => Some(*number),
        Value::Text(text) if !matches!(node.origin, Origin::File(_)) => text.trim().parse().ok(),
        Value::Text(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
            return Err(must_be("a number", &node.value, remedy));
        }
    };
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| Fault::new("is out of bounds", remedy))
}

/// A duration in milliseconds; `least` is the shortest that makes sense.
pub(super) fn duration(node: &Node, least: u64) -> Result<u64, Fault> {
    const REMEDY: &str = "write a number with a unit (ms, s, m, h, d) in quotes, such as \"30s\"";
    let Value::Text(text) = &node.value else {
        return Err(must_be("a duration", &node.value, REMEDY));
    };
    match parse_duration(text) {
        Ok(ms) if ms < least => Err(Fault::new("is too short", format!("write at least {}", format_duration(least)))),
        Ok(ms) => Ok(ms),
        Err(_) => Err(Fault::new(format!("is no duration: `{text}`"), REMEDY)),
    }
}

/// A duration in milliseconds that is neither too short nor too long.
pub(super) fn duration_within(node: &Node, bounds: RangeInclusive<u64>) -> Result<u64, Fault> {
    let ms = duration(node, *bounds.start())?;
    if ms <= *bounds.end() {
        return Ok(ms);
    }
    Err(Fault::new("is too long", format!("write at most {}", format_duration(*bounds.end()))))
}

/// Whether a queue holds answers, and not what steps send.
pub(super) fn holds_replies(node: &Node) -> Result<bool, Fault> {
    match text(node)?.as_str() {
        "commands" => Ok(false),
        "replies" => Ok(true),
        other => Err(Fault::new(format!("holds no `{other}`"), "write \"commands\" or \"replies\"")),
    }
}

/// A queue of SQS: its address, or its name. What cannot be one is found now, and not at the first message.
pub(super) fn sqs_queue(node: &Node) -> Result<String, Fault> {
    if cfg!(not(feature = "sqs")) {
        let remedy = "build it with `--features sqs`, or take the key away: the store then keeps the queue";
        return Err(Fault::new("names a queue of SQS, which this program was built without", remedy));
    }
    let text = text(node)?;
    if text.ends_with(".fifo") {
        return Err(Fault::new("is a FIFO queue, which Amends does not use", "name a standard queue"));
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=80).contains(&text.len()) && text.bytes().all(is_letter) {
        return Ok(text);
    }
    if text.contains("://") {
        return url(node).map(|_| text);
    }
    let remedy = "write its address, or its name of up to 80 letters, digits, `-` and `_`";
    Err(Fault::new(format!("is neither an address nor a name: `{text}`"), remedy))
}

/// Where to listen. Unless the server knows its callers only the loopback: everything else would hand control of the sagas to
/// whoever can connect.
pub(super) fn listen(node: &Node, knows_callers: bool) -> Result<SocketAddr, Fault> {
    let text = text(node)?;
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.clone(),
    };
    let address: SocketAddr = address.parse().map_err(|_| {
        Fault::new(format!("is no address and port: `{text}`"), "write one such as 127.0.0.1:7700 or [::1]:7700")
    })?;
    if knows_callers || address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Fault::new(
        format!("is {address}, where others can connect, and that requires authentication, which is not configured"),
        "set `admin_token` or `oidc` under [auth], or listen on 127.0.0.1 or [::1]",
    ))
}

/// A text that says something.
pub(super) fn nonempty(node: &Node) -> Result<String, Fault> {
    let text = text(node)?;
    if text.is_empty() { Err(Fault::new("is empty", "write a text, or take the key away")) } else { Ok(text) }
}

/// Who issues tokens. It is kept to the letter, because tokens repeat it to the letter.
pub(super) fn issuer(node: &Node) -> Result<String, Fault> {
    let text = text(node)?;
    let address = url(node)?;
    if !is_private(&address) {
        let remedy = "write its https address: whoever can change its answers on the way can make any token";
        return Err(Fault::new("is an http address of another machine", remedy));
    }
    Ok(text)
}

/// Whether nobody can listen or interfere on the way to this address: it is https, or does not leave the machine.
pub(crate) fn is_private(address: &Url) -> bool {
    let is_loopback = match address.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    address.scheme() == "https" || (address.scheme() == "http" && is_loopback)
}

/// The base address of a service.
pub(super) fn url(node: &Node) -> Result<Url, Fault> {
    const REMEDY: &str = "write one such as http://127.0.0.1:7101 or https://inventory.example/api";
    let text = text(node)?;
    let url = Url::parse(&text).map_err(|error| Fault::new(format!("is no URL: {error}"), REMEDY))?;
    let wrong = |why: &str| Err(Fault::new(why, REMEDY));
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("must be an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        let fault =
            Fault::new("has a user or a password in it", "put credentials into `headers`, as env:NAME or file:PATH");
        return Err(fault.hidden());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("has a query or a fragment; it is only the beginning of an address").map_err(Fault::hidden);
    }
    Ok(url)
}

pub(super) fn store(node: &Node, base: &Path) -> Result<StoreLocation, Fault> {
    let base = if matches!(node.origin, Origin::File(_)) { base } else { Path::new("") };
    StoreLocation::parse(&text(node)?, base).map_err(|error| {
        let (message, remedy) = error.rsplit_once("; ").unwrap_or((&error, "write sqlite:PATH"));
        Fault::new(message, remedy)
    })
}

/// A path; in the file it begins at the file's directory, elsewhere at the working directory.
pub(super) fn path(node: &Node, base: &Path) -> Result<PathBuf, Fault> {
    let text = text(node)?;
    if text.is_empty() {
        return Err(Fault::new("is empty", "write a path, or take the key away"));
    }
    Ok(if matches!(node.origin, Origin::File(_)) { base.join(text) } else { PathBuf::from(text) })
}

/// A header that calls carry. The fault never repeats the value.
pub(super) fn header(name: &str, node: &Node, base: &Path) -> Result<(String, Secret), Fault> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Fault::new("is not the name of a header", "write one such as authorization"))?;
    if RESERVED_HEADERS.contains(&parsed.as_str()) || parsed.as_str().starts_with("amends-") {
        return Err(Fault::new("is a header that Amends sets itself", "take it away"));
    }
    Ok((parsed.as_str().to_owned(), secret(&text(node)?, base)?))
}

/// A key that calls are signed by.
pub(super) fn signing_key(id: &str, node: &Node, base: &Path) -> Result<(String, Secret), Fault> {
    if !is_id(id) {
        let remedy = "use 1 to 64 letters, digits, `-`, `_` and `.`, such as 2026-11";
        return Err(Fault::new("cannot be the id of a signing key", remedy));
    }
    let remedy = "write env:NAME or file:PATH; the secret behind it has at least 32 bytes";
    Ok((id.to_owned(), reference(node, base, remedy)?))
}

/// Where a credential is.
pub(super) fn credential(node: &Node, base: &Path) -> Result<Secret, Fault> {
    reference(node, base, "write env:NAME or file:PATH, and the credential there")
}

/// Where a secret is. The fault never repeats what was written, which may be the secret itself.
fn reference(node: &Node, base: &Path, remedy: &str) -> Result<Secret, Fault> {
    match secret(&text(node)?, base) {
        Ok(Secret::Plain(_)) => Err(Fault::new("holds the secret itself", remedy)),
        Ok(reference @ (Secret::Env(_) | Secret::File(_))) => Ok(reference),
        Err(Fault { message, .. }) => Err(Fault::new(message, remedy)),
    }
}

fn secret(text: &str, base: &Path) -> Result<Secret, Fault> {
    const REMEDY: &str = "write env:NAME, file:PATH, or the value itself if it is no secret";
    match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() && !name.contains(['=', ' ']) => Ok(Secret::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(Secret::File(base.join(path))),
        Some(("env", _)) => Err(Fault::new("names no environment variable", REMEDY)),
        Some(("file", _)) => Err(Fault::new("names no file", REMEDY)),
        Some(_) | None if text.is_empty() => Err(Fault::new("is empty", REMEDY)),
        Some(_) | None => match HeaderValue::from_str(text) {
            Ok(_) => Ok(Secret::Plain(text.to_owned())),
            Err(_) => Err(Fault::new("has characters that no header can carry", REMEDY)),
        },
    }
}
