//! The API's description: it changes only on purpose, and what it describes is there.
#![cfg(test)]

use amends::api;
use amends::config::{Config, FlagValue, Sources};
use amends::server::Server;
use reqwest::{Client, Method};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Answers that mean that an endpoint is not there.
const ABSENT: [&str; 2] = ["urn:amends:problem:unknown-address", "urn:amends:problem:method-not-allowed"];
/// Methods that a path of the document can have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn document() -> Value {
    serde_json::from_str(&api::openapi()).unwrap()
}

async fn start(directory: &TempDir) -> Server {
    let flag = |flag, key, value| FlagValue { flag, key, value };
    let store = format!("sqlite:{}", directory.path().join("amends.db").display());
    let flags = vec![flag("--listen", "listen", "127.0.0.1:0".to_owned()), flag("--store", "store", store)];
    Server::start(&Config::load(&Sources { flags, ..Sources::default() }).unwrap()).await.unwrap()
}

/// Every method and path of the document.
fn endpoints(document: &Value) -> Vec<(Method, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = METHODS.into_iter().filter(|method| item.get(method).is_some());
        methods.map(|method| (method.to_uppercase().parse().unwrap(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// A path whose parameters have values.
fn filled(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "x".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[test]
fn the_document_changes_only_on_purpose() {
    insta::assert_snapshot!("openapi", api::openapi());
}

#[test]
fn every_operation_says_what_it_is_and_answers_with_problems_as_such() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (method, path) in endpoints(&document) {
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        let place = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{place} has no summary");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} is the id of {place} and of another operation");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{place}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = response["content"].as_object().unwrap();
            let is_problem = status.starts_with(['4', '5']);
            assert_eq!(content.contains_key("application/problem+json"), is_problem, "{place} {status}");
        }
    }
}

#[tokio::test]
async fn everything_in_the_document_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(&directory).await;
    let document = document();
    let endpoints = endpoints(&document);
    // Whatever is not routed together with its description could be missing from the document.
    assert_eq!(
        include_str!("../src/api/router.rs").matches(".route(").count(),
        1,
        "only /openapi.json is not in itself"
    );
    for (method, path) in &endpoints {
        let url = format!("http://{}{}", server.address(), filled(path));
        let response = Client::new().request(method.clone(), url).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let kind = serde_json::from_str::<Value>(&text).unwrap_or_default()["type"].take();
        assert!(!ABSENT.contains(&kind.as_str().unwrap_or_default()), "{method} {path} answers {status}: {text}");
        assert!(status.as_u16() < 500, "{method} {path} answers {status}: {text}");
        assert_ne!(status.as_u16(), 405, "{method} {path}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_and_the_program_hand_out_the_same_document() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(&directory).await;
    let response = reqwest::get(format!("http://{}/openapi.json", server.address())).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), api::openapi());
    server.stop().await.unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_amends")).arg("openapi").output().unwrap();
    assert!(printed.status.success());
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim_end(), api::openapi().trim_end());
}

#[test]
fn the_documentation_has_every_endpoint_and_every_problem() {
    let documentation = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let documentation = std::fs::read_to_string(documentation).unwrap();
    for (method, path) in endpoints(&document()) {
        let name = if method == Method::POST { "definition" } else { "id" };
        let endpoint = format!("| `{method} {}` |", path.replace("definition_or_id", name));
        assert!(documentation.contains(&endpoint), "{endpoint} is not in docs/api.md");
    }
    for kind in api::problem::ALL {
        let row = format!("| `{}` | {} | {} |", kind.name, kind.status, kind.title);
        assert!(documentation.contains(&row), "docs/api.md has no line {row}");
    }
}
