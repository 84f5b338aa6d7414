//! Definitions: store one, look at one, list them.

use super::extract::{Actor, Segments, Source};
use super::problem::{self, ApiProblem};
use super::{Shared, wire};
use amends_client::{Definition, Page, Problem};
use amends_core::lint::{self, Severity};
use amends_core::text::shortened;
use amends_store::{StoredDefinition, Which};
use axum::Json;
use axum::extract::State;
use http::StatusCode;

/// Store a definition
///
/// The body is the definition in YAML or JSON. It is linted first; an identical one changes nothing. Sagas that run
/// keep the version that they began with.
#[utoipa::path(
    put,
    path = "/v1/definitions/{name}",
    operation_id = "put_definition",
    tag = "definitions",
    params(
        ("name" = String, Path, description = "The definition's name: the same as in `saga:`"),
        ("Amends-Actor" = Option<String>, Header, description = "Who acts, for the audit log"),
    ),
    request_body(description = "The definition, at most 256 KiB", content(
        (serde_json::Value = "application/yaml"),
        (serde_json::Value = "application/json"),
    )),
    responses(
        (status = 201, description = "It is stored and current", body = Definition),
        (status = 200, description = "It was stored and current already", body = Definition),
        (status = 422, description = "Lint found errors, or it has another name", body = Problem,
            content_type = "application/problem+json"),
        (status = "4XX", description = "What else is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
    actor: Actor,
    Source(source): Source,
) -> Result<(StatusCode, Json<Definition>), ApiProblem> {
    // A long definition takes a while, and nobody else's request is to wait for that.
    let (text, known) = (source.clone(), app.known.clone());
    let checked = tokio::task::spawn_blocking(move || lint::check(&text, Some(&known))).await;
    let checked = checked.expect("lint does not panic");
    let Some(definition) = checked.definition else {
        let errors = checked.diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
        let detail = format!("the definition has {errors} error(s); `diagnostics` says where, and how to mend them");
        let diagnostics = checked.diagnostics.iter().map(wire::diagnostic).collect();
        return Err(ApiProblem::new(problem::BAD_DEFINITION, detail).with_diagnostics(diagnostics));
    };
    if definition.name != name {
        let detail = format!(
            "the address says `{}` and the definition says `saga: {}`; make them the same",
            shortened(&name),
            definition.name
        );
        return Err(ApiProblem::new(problem::OTHER_NAME, detail));
    }
    let version = definition.version.clone();
    let changed = app.engine.put_definition(&source, definition, actor.name()).await?;
    let stored = find(&app, &name, Which::Version(version)).await?;
    let status = if changed { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(wire::definition(stored))))
}

/// The current version of a definition
#[utoipa::path(
    get,
    path = "/v1/definitions/{name}",
    operation_id = "get_definition",
    tag = "definitions",
    params(("name" = String, Path, description = "The definition's name")),
    responses(
        (status = 200, description = "The definition", body = Definition),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<Shared>,
    Segments(name): Segments<String>,
) -> Result<Json<Definition>, ApiProblem> {
    find(&app, &name, Which::Current).await.map(|stored| Json(wire::definition(stored)))
}

/// One version of a definition
#[utoipa::path(
    get,
    path = "/v1/definitions/{name}/versions/{version}",
    operation_id = "get_definition_version",
    tag = "definitions",
    params(
        ("name" = String, Path, description = "The definition's name"),
        ("version" = String, Path, pattern = "^[0-9a-f]{64}$", description = "The version: the SHA-256 of the content in hexadecimal"),
    ),
    responses(
        (status = 200, description = "The definition", body = Definition),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn version(
    State(app): State<Shared>,
    Segments((name, version)): Segments<(String, String)>,
) -> Result<Json<Definition>, ApiProblem> {
    find(&app, &name, Which::Version(version)).await.map(|stored| Json(wire::definition(stored)))
}

/// The current version of every definition
#[utoipa::path(
    get,
    path = "/v1/definitions",
    operation_id = "list_definitions",
    tag = "definitions",
    responses(
        (status = 200, description = "All definitions, by name", body = Page<Definition>),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(app): State<Shared>) -> Result<Json<Page<Definition>>, ApiProblem> {
    let mut stored = app.store.definitions(Which::Current).await?;
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Page { items: stored.into_iter().map(wire::definition).collect(), next: None }))
}

async fn find(app: &Shared, name: &str, which: Which) -> Result<StoredDefinition, ApiProblem> {
    let of_version = match &which {
        Which::Current => String::new(),
        Which::Version(version) => format!(" with version {}", shortened(version)),
    };
    let stored = app.store.definitions(which).await?;
    stored.into_iter().find(|definition| definition.name == name).ok_or_else(|| {
        let detail = format!(
            "there is no definition `{}`{of_version}; GET /v1/definitions lists those there are",
            shortened(name)
        );
        ApiProblem::new(problem::UNKNOWN_DEFINITION, detail)
    })
}
