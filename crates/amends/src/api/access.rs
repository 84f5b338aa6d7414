//! What each route needs, in one table, and the one place where it is asked for.

use super::App;
use super::problem::{self, ApiProblem};
use amends_client::Role;
use axum::extract::{MatchedPath, Request};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

/// What a request needs to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: for those who look after the process.
    Open,
    /// A caller with this role, or a greater one.
    Needs(Role),
}

use Access::{Needs, Open};
use Role::{Admin, Operator, Viewer};

/// Every route with its method. A test compares it with the API's description.
pub const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/healthz", Open),
    ("GET", "/readyz", Open),
    ("GET", "/metrics", Needs(Viewer)),
    ("GET", "/openapi.json", Needs(Viewer)),
    ("GET", "/v1/statistics", Needs(Viewer)),
    ("GET", "/v1/audit", Needs(Viewer)),
    ("GET", "/v1/audit/head", Needs(Viewer)),
    ("GET", "/v1/audit/export", Needs(Viewer)),
    ("GET", "/v1/sagas", Needs(Viewer)),
    ("GET", "/v1/sagas/{definition_or_id}", Needs(Viewer)),
    ("POST", "/v1/sagas/{definition_or_id}", Needs(Operator)),
    ("GET", "/v1/sagas/{id}/events", Needs(Viewer)),
    ("POST", "/v1/sagas/{id}/cancel", Needs(Operator)),
    ("POST", "/v1/sagas/{id}/pause", Needs(Operator)),
    ("POST", "/v1/sagas/{id}/resume", Needs(Operator)),
    ("POST", "/v1/sagas/{id}/steps/{step}/complete", Needs(Operator)),
    ("POST", "/v1/sagas/{id}/steps/{step}/fail", Needs(Operator)),
    ("GET", "/v1/definitions", Needs(Viewer)),
    ("GET", "/v1/definitions/{name}", Needs(Viewer)),
    ("PUT", "/v1/definitions/{name}", Needs(Admin)),
    ("GET", "/v1/definitions/{name}/versions/{version}", Needs(Viewer)),
    ("GET", "/v1/dead-letters", Needs(Viewer)),
    ("GET", "/v1/dead-letters/groups", Needs(Viewer)),
    ("GET", "/v1/dead-letters/{id}", Needs(Viewer)),
    ("POST", "/v1/dead-letters/{id}/retry", Needs(Operator)),
    ("POST", "/v1/dead-letters/{id}/resolve", Needs(Operator)),
    ("POST", "/v1/dead-letters/{id}/skip", Needs(Operator)),
    ("POST", "/v1/dead-letters/{id}/edit", Needs(Operator)),
    ("POST", "/v1/dead-letters/{id}/turn-around", Needs(Operator)),
    ("POST", "/v1/replies", Needs(Operator)),
    ("GET", "/v1/queues", Needs(Viewer)),
    ("POST", "/v1/queues/{queue}/messages", Needs(Operator)),
    ("POST", "/v1/queues/{queue}/receive", Needs(Operator)),
    ("POST", "/v1/queues/{queue}/handle", Needs(Operator)),
    ("GET", "/v1/queues/{queue}/dead", Needs(Viewer)),
    ("GET", "/v1/queues/{queue}/redrives", Needs(Viewer)),
    ("POST", "/v1/queues/{queue}/redrives", Needs(Operator)),
    ("POST", "/v1/queues/{queue}/redrives/{id}/cancel", Needs(Operator)),
    ("GET", "/v1/tokens", Needs(Admin)),
    ("POST", "/v1/tokens", Needs(Admin)),
    ("DELETE", "/v1/tokens/{id}", Needs(Admin)),
];

/// What a request needs. A route that is not in the table is the admin's: one that was forgotten is closed. Where there is no route,
/// a viewer may hear that.
fn needed(method: &Method, route: Option<&str>) -> Access {
    let Some(route) = route else { return Needs(Viewer) };
    // The router answers HEAD as it would GET.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let row = ROUTES.iter().find(|(of, path, _)| *of == method && *path == route);
    row.map_or(Needs(Admin), |(_, _, access)| *access)
}

/// Lets a request in or refuses it, and leaves in it who calls. The credential goes no further.
pub(crate) async fn authorize(app: &App, request: &mut Request) -> Result<(), ApiProblem> {
    let token = bearer(request.headers());
    request.headers_mut().remove(AUTHORIZATION);
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let (Some(authenticator), Needs(role)) = (&app.auth, needed(request.method(), route)) else { return Ok(()) };
    let caller = authenticator.caller(&token.ok_or_else(|| missing(role))?).await?;
    if caller.role < Some(role) {
        let has = caller.role.map_or("has no role".to_owned(), |has| format!("has the role {has}"));
        let detail = format!("this needs the role {role}, and {} {has}; use a token that has it", caller.name);
        return Err(ApiProblem::new(problem::FORBIDDEN, detail));
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

fn missing(role: Role) -> ApiProblem {
    let detail = format!("this needs a token with the role {role}; send it as `Authorization: Bearer TOKEN`");
    ApiProblem::new(problem::UNAUTHENTICATED, detail)
}

/// The token that a request shows (RFC 6750). Two are none: somebody on the way could read the other one.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_not_in_the_table_is_the_admins() {
        assert_eq!(needed(&Method::GET, Some("/v1/new-things")), Needs(Admin));
        assert_eq!(needed(&Method::PATCH, Some("/v1/sagas")), Needs(Admin));
        assert_eq!(needed(&Method::HEAD, Some("/v1/sagas")), Needs(Viewer));
        assert_eq!(needed(&Method::HEAD, Some("/healthz")), Open);
        assert_eq!(needed(&Method::POST, Some("/healthz")), Needs(Admin));
        assert_eq!(needed(&Method::GET, None), Needs(Viewer));
    }

    #[test]
    fn tokens_are_taken_from_one_header_alone() {
        let of = |values: &[&'static str]| {
            let values = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value)));
            bearer(&values.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            }))
        };
        for taken in [["Bearer abc"], ["bearer abc"], ["BEARER  abc "]] {
            assert_eq!(of(&taken).as_deref(), Some("abc"), "{taken:?}");
        }
        for refused in [&[][..], &["abc"], &["Bearer"], &["Bearer "], &["Basic abc"], &["Bearer abc", "Bearer abc"]] {
            assert_eq!(of(refused), None, "{refused:?}");
        }
    }
}
