//! What every request passes before its handler: is it meant for this server, is it of a bearable size, and may its caller.
//! And what every answer passes afterwards: it is counted, and a handler's panic becomes an answer.

use super::problem::{self, ApiProblem};
use super::{Shared, access};
use amends_core::text::shortened;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, Uri, header};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// How long a path with its query may be, in bytes.
const ADDRESS_BYTES: usize = 8 * 1024;
/// How large the headers may be together, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// Watches one request.
pub(crate) async fn watch(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let admitted = match admit(&app, &request) {
        Ok(()) => access::authorize(&app, &mut request).await,
        refused @ Err(_) => refused,
    };
    let response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(%method, route, "a handler panicked");
            ApiProblem::new(problem::INTERNAL, "the server made a mistake; its log says more").into_response()
        }),
    };
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics.count(&method, &route, status, took);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(%method, route, status, micros, "answered");
    } else {
        tracing::debug!(%method, route, status, micros, "answered");
    }
    response
}

fn admit(app: &Shared, request: &Request) -> Result<(), ApiProblem> {
    let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if address > ADDRESS_BYTES {
        let detail = format!("the address has {address} bytes; {ADDRESS_BYTES} are taken");
        return Err(ApiProblem::new(problem::ADDRESS_TOO_LONG, detail));
    }
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > HEADER_BYTES {
        let detail = format!("the headers have {size} bytes; {HEADER_BYTES} are taken");
        return Err(ApiProblem::new(problem::HEADERS_TOO_LARGE, detail));
    }
    match host(request.uri(), request.headers()) {
        Some(host) if !is_ours(app.listening.ip(), &app.hosts, &host) => {
            let detail = format!(
                "this server is not called `{}`; call it by its address, or put the name into `hosts` of [http]",
                shortened(&host)
            );
            Err(ApiProblem::new(problem::WRONG_HOST, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the server is called by a name of its own. A page of the web can point a name of its own at the loopback
/// and so make a browser talk to this server as if it were that page's; the name gives it away.
fn is_ours(ours: IpAddr, names: &[String], host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    match name.parse::<IpAddr>() {
        // An address is nobody's to point elsewhere, so where any leads here any is taken.
        Ok(address) => address.is_loopback() || address == ours || ours.is_unspecified(),
        Err(_) => name == "localhost" || names.iter().any(|ours| ours == name),
    }
}

/// The name that the server is called by, without the port and in lower case.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let header = || headers.get(header::HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let authority = uri.authority().map(|authority| authority.as_str().to_owned()).or_else(header)?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => &authority,
    };
    Some(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_server() {
        let names = ["amends.internal".to_owned()];
        for (listening, host, is_taken) in [
            ("127.0.0.1", "localhost", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "[::1]", true),
            ("127.0.0.1", "amends.internal", true),
            ("127.0.0.1", "evil.example", false),
            ("127.0.0.1", "10.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0", "10.0.0.2", true),
            ("::", "[fe80::1]", true),
            ("0.0.0.0", "evil.example", false),
        ] {
            assert_eq!(is_ours(listening.parse().unwrap(), &names, host), is_taken, "{listening} {host}");
        }
    }
}
