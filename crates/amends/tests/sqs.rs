//! The real server with a queue in an emulated SQS.
#![cfg(test)]

mod support;

use amends_core::time::Timestamp;
use amends_store::queues::{NewMessage, Sent};
use amends_store::{Queues, SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use support::child::{self, Launch};
use tokio::time::timeout;

const QUEUE: &str = "payment-commands";

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

fn emulator() -> String {
    std::env::var("TEST_SQS").expect("this test needs an SQS: run `cargo xtask sqs` beside it, and set what it says")
}

/// Asks the emulator, which looks at no signature.
async fn ask(operation: &str, body: Value) -> Value {
    // The client wants to know one even where it speaks plain HTTP. A second time there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked = reqwest::Client::new()
        .post(emulator())
        .header("x-amz-target", format!("AmazonSQS.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request")
        .body(body.to_string());
    let answer = asked.send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

async fn put(folder: &Path, ids: &[&str]) {
    let store = SqliteStore::open(SqliteOptions::new(folder.join("amends.db"))).unwrap();
    let message = |id: &&str| NewMessage { id: (*id).into(), body: format!("of {id}"), at: Timestamp(0) };
    let sent = store.send_to(QUEUE, ids.iter().map(message).collect()).await.unwrap();
    assert_eq!(sent, vec![Sent::Done; ids.len()]);
}

async fn start(folder: &Path) -> child::Program {
    launch(folder).await.unwrap_or_else(|status| panic!("{status}: {}", child::read(&folder.join("log"))))
}

async fn launch(folder: &Path) -> Result<child::Program, ExitStatus> {
    let arguments: [OsString; 3] = ["serve".into(), "--config".into(), folder.join("amends.toml").into()];
    // Region and credentials are found as AWS's tools find them, and not those of whoever runs the test.
    let within = "env --unset=AWS_REGION --unset=AWS_DEFAULT_REGION AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_CONFIG_FILE=/dev/null \
                  AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true";
    let within: Vec<OsString> = within.split_whitespace().map(OsString::from).collect();
    Launch { arguments: &arguments, log: &folder.join("log"), failpoints: None, within: &within }.start().await
}

fn configure(folder: &Path, sqs: &str, endpoint: &str) {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\n[queues.{QUEUE}]\nsqs = \"{sqs}\"\n[queues.kept]\n\
         [sqs]\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\n"
    );
    std::fs::write(folder.join("amends.toml"), text).unwrap();
}

#[tokio::test]
async fn what_the_store_keeps_for_sqs_is_taken_there() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("test-{:016x}", fastrand::u64(..));
    let queue = ask("CreateQueue", json!({ "QueueName": name })).await["QueueUrl"].clone();
    put(folder.path(), &["saga/charge/1", "saga/charge/2"]).await;
    configure(folder.path(), &name, &emulator());
    let server = start(folder.path()).await;
    let mut received = Vec::new();
    while received.len() < 2 {
        let asked = json!({ "QueueUrl": queue, "WaitTimeSeconds": 20, "MessageAttributeNames": ["amends-id"] });
        let answer = timeout(PATIENCE, ask("ReceiveMessage", asked)).await.expect("the messages come");
        for message in answer["Messages"].as_array().into_iter().flatten() {
            let id = message["MessageAttributes"]["amends-id"]["StringValue"].as_str().unwrap();
            received.push((id.to_owned(), message["Body"].as_str().unwrap().to_owned()));
        }
    }
    received.sort();
    let expected = ["saga/charge/1", "saga/charge/2"].map(|id| (id.to_owned(), format!("of {id}")));
    assert_eq!(received, expected);
    assert!(server.terminate().await.success());
    let store = SqliteStore::open(SqliteOptions::new(folder.path().join("amends.db"))).unwrap();
    assert_eq!(store.depth(QUEUE, Timestamp(u64::MAX / 4)).await.unwrap(), amends_store::queues::Depth::default());
}

#[tokio::test]
async fn the_server_starts_and_stops_without_sqs() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["saga/charge/1"]).await;
    configure(folder.path(), "payments", "http://127.0.0.1:1");
    let server = start(folder.path()).await;
    assert!(timeout(PATIENCE, server.terminate()).await.expect("it stops in time").success());
    let store = SqliteStore::open(SqliteOptions::new(folder.path().join("amends.db"))).unwrap();
    let depth = store.depth(QUEUE, Timestamp(u64::MAX / 4)).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (1, 0), "it waits in the store");
}

#[tokio::test]
async fn a_queue_of_sqs_needs_a_region() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\nqueues.{QUEUE}.sqs = \"payments\"\n");
    std::fs::write(folder.path().join("amends.toml"), text).unwrap();
    assert!(launch(folder.path()).await.is_err());
    let log = child::read(&folder.path().join("log"));
    assert!(log.contains("no region is configured; set `sqs.region` or AWS_REGION"), "{log}");
}
