//! Every endpoint there is.

use super::problem::{self, ApiProblem};
use super::{Shared, audit, dead_letters, definitions, guard, health, history, queues, sagas, tokens};
use amends_core::text::shortened;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use http::{Method, Uri};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Amends",
        description = "A saga server: makes a transaction that spans several services end well. Errors come as \
            `application/problem+json` (RFC 9457) with a stable `type`. A server whose configuration has `[auth]` answers \
            401 to whoever shows no token, and 403 where the token's role is not enough.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "sagas", description = "Executions of definitions"),
        (name = "definitions", description = "The steps of sagas as data"),
        (name = "dead letters", description = "What the machine gave up on and a person must settle"),
        (name = "queues", description = "Commands to services and their answers, by message"),
        (name = "tokens", description = "Who may call"),
        (name = "operations", description = "How the server is"),
    ),
    modifiers(&Credentials),
    security(("token" = [])),
)]
struct Document;

/// How callers say who they are.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description =
            Some("A token of the server's own, or a JWT of the issuer that it is configured with".into());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

fn endpoints() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(sagas::list))
        .routes(routes!(sagas::start, sagas::get))
        .routes(routes!(history::events))
        .routes(routes!(sagas::cancel))
        .routes(routes!(sagas::pause))
        .routes(routes!(sagas::resume))
        .routes(routes!(sagas::complete))
        .routes(routes!(sagas::fail))
        .routes(routes!(definitions::list))
        .routes(routes!(definitions::put, definitions::get))
        .routes(routes!(definitions::version))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::groups))
        .routes(routes!(dead_letters::get))
        .routes(routes!(dead_letters::retry))
        .routes(routes!(dead_letters::resolve))
        .routes(routes!(dead_letters::skip))
        .routes(routes!(dead_letters::edit))
        .routes(routes!(dead_letters::turn_around))
        .routes(routes!(audit::list))
        .routes(routes!(audit::head))
        .routes(routes!(audit::export))
        .routes(routes!(queues::reply))
        .routes(routes!(queues::list))
        .routes(routes!(queues::send))
        .routes(routes!(queues::receive))
        .routes(routes!(queues::handle))
        .routes(routes!(queues::dead))
        .routes(routes!(queues::redrives, queues::redrive))
        .routes(routes!(queues::cancel_redrive))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(health::statistics))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The API's description (OpenAPI 3.1) as JSON.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = endpoints().split_for_parts();
    document.to_pretty_json().expect("the document is plain data")
}

/// The service that answers every request.
pub fn router(app: Shared) -> Router {
    let (router, document) = endpoints().split_for_parts();
    let document = document.to_pretty_json().expect("the document is plain data");
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    router
        .route("/openapi.json", get(move || async move { (json, document) }))
        .fallback(unknown_address)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), guard::watch))
        .with_state(app)
}

async fn unknown_address(uri: Uri) -> ApiProblem {
    let path = shortened(uri.path());
    ApiProblem::new(
        problem::UNKNOWN_ADDRESS,
        format!("there is nothing at {path}; GET /openapi.json describes what there is"),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiProblem {
    let (method, path) = (shortened(method.as_str()), shortened(uri.path()));
    ApiProblem::new(problem::METHOD_NOT_ALLOWED, format!("{path} does not take {method}; `Allow` says what it takes"))
}
