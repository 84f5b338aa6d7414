//! The real engine signs, and a real service behind the real layer verifies.

#![cfg(test)]

mod support;

use amends_core::machine::{Status, StepStatus};
use amends_engine::Secret;
use amends_idempotency::{Key, SignatureLayer, SignatureOptions};
use axum::Router;
use axum::routing::{get, post};
use serde_json::json;
use std::net::SocketAddr;
use support::{engine_with, outcome};

const OLD: &str = "the old secret, which has more than 32 bytes";
const NEW: &str = "the new secret, which has more than 32 bytes";
const OTHER: &str = "a secret that only somebody else may have";

/// Actions, compensations and a probe, with bodies and without, with a query and without.
const DEFINITION: &str = r#"
saga: signed
key: "{{ input.id }}"
steps:
  reserve:
    action: { put: "shop:/stock/{{ input.id }}?of=a%2Fb&note=b", body: { id: "{{ input.id }}" } }
    compensation: { delete: "shop:/stock/{{ input.id }}" }
  ship:
    action: { post: "shop:/parcels", body: { id: "{{ input.id }}" } }
    compensation: { post: "shop:/parcels/undo" }
    probe: { get: "shop:/parcels/{{ input.id }}", happened: "{{ response.body.happened }}" }
    retry: { attempts: 1 }
  tell:
    action: { post: "shop:/letters", body: { id: "{{ input.id }}" } }
    compensation: none
"#;

/// A service that takes what is signed by the key `new` alone.
async fn service() -> SocketAddr {
    let stock = post(async || "{}").put(async || "{}").delete(async || "{}");
    let ship = post(async || axum::http::StatusCode::SERVICE_UNAVAILABLE);
    let key = Key::new("new", NEW.as_bytes()).expect("it is long enough");
    let router = Router::new()
        .route("/stock/{id}", stock)
        .route("/parcels", ship)
        .route("/parcels/{id}", get(async || axum::Json(json!({ "happened": true }))))
        .route("/parcels/undo", post(async || "{}"))
        .route("/letters", post(async || axum::http::StatusCode::UNPROCESSABLE_ENTITY))
        .layer(SignatureLayer::new(key, None, SignatureOptions::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// What becomes of a saga whose calls are signed by these keys.
async fn run(keys: &[(&str, &str)]) -> (Status, Vec<StepStatus>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut signing = Vec::new();
    for (id, secret) in keys {
        let path = folder.path().join(id);
        std::fs::write(&path, secret).expect("a temporary folder takes files");
        signing.push(((*id).to_owned(), Secret::File(path)));
    }
    let engine = engine_with(service().await, DEFINITION, |settings| {
        settings.participants.get_mut("shop").expect("it is there").signing = signing;
    })
    .await;
    let saga = outcome(&engine, "signed", json!({ "id": "o-1" })).await.saga;
    (saga.status(), saga.steps.iter().map(|step| step.status()).collect())
}

#[tokio::test]
async fn a_service_takes_what_the_engine_signs() {
    let all_were_taken =
        (Status::Compensated, vec![StepStatus::Compensated, StepStatus::Compensated, StepStatus::Refused]);
    for keys in [&[("new", NEW)][..], &[("old", OLD), ("new", NEW)]] {
        assert_eq!(run(keys).await, all_were_taken, "{keys:?}");
    }
}

#[tokio::test]
async fn a_service_refuses_what_others_sign() {
    let nothing_was_done = (Status::Compensated, vec![StepStatus::Refused, StepStatus::Skipped, StepStatus::Skipped]);
    for keys in [&[][..], &[("old", OLD)], &[("new", OTHER)]] {
        assert_eq!(run(keys).await, nothing_was_done, "{keys:?}");
    }
}
