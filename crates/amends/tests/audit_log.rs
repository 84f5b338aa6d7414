//! The chain of the audit log, as somebody has it who does not believe the server. docs/security.md names these tests.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use amends_client::{AuditExport, Client, Error, StartOptions};
use amends_core::chain::{Head, Verifier};
use serde_json::json;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;
use tokio::process::Command;

const WAITS: &str = "saga: waits\nkey: \"{{ input.id }}\"\nsteps:\n  approval: { wait: 1h }\n";

/// A server on a store.
struct World {
    server: Server,
    client: Client,
    directory: TempDir,
}

impl World {
    async fn on(store: &str) -> World {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.toml");
        std::fs::write(&file, format!("listen = \"127.0.0.1:0\"\nstore = \"{store}\"\n")).unwrap();
        let config = Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        let server = Server::start(&config).await.unwrap();
        let client = Client::new(&format!("http://{}", server.address())).unwrap().acting_as("ada");
        World { server, client, directory }
    }

    /// Waits until so many entries are sealed.
    async fn sealed(&self, number: u64) -> Head {
        loop {
            let head = self.client.audit_head().await.unwrap();
            if head.number >= number {
                return format!("{}:{}", head.number, head.hash).parse().unwrap();
            }
        }
    }

    async fn export(&self, after: Option<u64>) -> Vec<String> {
        let mut export = self.client.export_audit(&AuditExport { after }).await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = export.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    /// Runs `amends audit-log verify`; how it ended, and what it said.
    async fn verify(&self, arguments: &str) -> (Option<i32>, String) {
        let server = format!("http://{}", self.server.address());
        verify(&format!("{arguments} --server {server}"), self.directory.path()).await
    }
}

async fn verify(arguments: &str, directory: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    command.args(["audit-log", "verify"]).args(arguments.split_whitespace()).current_dir(directory);
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().await.unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// More than is in memory at once, whole and from where an earlier export ended.
#[tokio::test]
async fn a_long_log_is_exported_whole() {
    let world = World::on("sqlite:amends.db").await;
    for number in 0..450 {
        let definition = WAITS.replace("1h", &format!("{}s", number + 1));
        world.client.put_definition("waits", &definition).await.unwrap();
    }
    let head = world.sealed(450).await;
    let lines = world.export(None).await;
    let mut verifier = Verifier::new(Head::BEGINNING, Some(head));
    lines.iter().for_each(|line| verifier.take(line).unwrap());
    assert_eq!(verifier.finish(), Ok(head));
    for after in [0, 1, 199, 200, 449, 450] {
        assert_eq!(world.export(Some(after)).await, lines[after as usize..], "{after}");
    }
    let refused = world.client.export_audit(&AuditExport { after: Some(451) }).await;
    assert!(matches!(refused, Err(Error::Refused(problem)) if problem.status == 400));
    let (first, second) = lines.split_at(123);
    let middle = {
        let mut verifier = Verifier::new(Head::BEGINNING, None);
        first.iter().for_each(|line| verifier.take(line).unwrap());
        verifier.finish().unwrap()
    };
    std::fs::write(world.directory.path().join("second"), second.join("\n") + "\n").unwrap();
    let (status, said) = world.verify(&format!("second --after {middle} --head {head}")).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&head.to_string()), "{said}");
    world.server.stop().await.unwrap();
}

/// The file alone, without the server.
#[tokio::test]
async fn what_was_done_to_an_export_is_noticed() {
    let world = World::on("sqlite:amends.db").await;
    world.client.put_definition("waits", WAITS).await.unwrap();
    let saga = world.client.start("waits", &json!({ "id": "a" }), StartOptions::default()).await.unwrap().saga;
    world.client.pause(&saga.id, "first").await.unwrap();
    world.client.resume(&saga.id, "second").await.unwrap();
    world.client.cancel(&saga.id, "third").await.unwrap();
    let head = world.sealed(4).await;
    let lines = world.export(None).await;
    let directory = world.directory;
    world.server.stop().await.unwrap();
    let changed = [&lines[0], &lines[1], &lines[2].replace("ada", "eve"), &lines[3]].map(String::clone);
    let returned = lines.iter().map(|line| line.clone() + "\r").collect::<Vec<_>>();
    let cases = [
        (lines.clone(), "entries fit"),
        (changed.to_vec(), "entry 3 was changed"),
        ([&lines[..2], &lines[3..]].concat(), "entry 3 is missing"),
        (vec![lines[0].clone(), lines[2].clone(), lines[1].clone(), lines[3].clone()], "entry 2 is not in its place"),
        (lines[..3].to_vec(), "the log ends with entry 3, and entry 4 is known"),
        (returned, "canonical form"),
    ];
    for (lines, expected) in cases {
        std::fs::write(directory.path().join("log"), lines.join("\n") + "\n").unwrap();
        let (status, said) = verify(&format!("log --head {head}"), directory.path()).await;
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(status, Some(if expected == "entries fit" { 0 } else { 1 }), "{said}");
    }
}

/// Whoever owns the tables can write what they like; the chain says so, and a head that was kept says the rest.
#[tokio::test]
async fn what_was_done_to_the_tables_is_noticed() {
    let url = test_postgres::database();
    let world = World::on(&url).await;
    world.client.put_definition("waits", WAITS).await.unwrap();
    let saga = world.client.start("waits", &json!({ "id": "a" }), StartOptions::default()).await.unwrap().saga;
    world.client.pause(&saga.id, "first").await.unwrap();
    world.client.resume(&saga.id, "second").await.unwrap();
    let head = world.sealed(3).await;
    let kept = format!("--head {head}");
    assert_eq!(world.verify(&kept).await.0, Some(0));
    let tamper = |statement: &str| {
        test_postgres::execute(&url, &format!("ALTER TABLE amends.audit DISABLE TRIGGER ALL; {statement}")).unwrap();
    };
    tamper("UPDATE amends.audit SET actor = 'eve' WHERE number = 2");
    let (status, said) = world.verify("").await;
    assert!(status == Some(1) && said.contains("entry 2 was changed"), "{said}");
    tamper("UPDATE amends.audit SET actor = 'ada' WHERE number = 2");
    assert_eq!(world.verify(&kept).await.0, Some(0), "it is as it was");
    tamper("DELETE FROM amends.audit WHERE number = 3; UPDATE amends.numbering SET last = 2 WHERE list = 'audit'");
    assert_eq!(world.verify("").await.0, Some(0), "nothing but a head that was kept shows it");
    let (status, said) = world.verify(&kept).await;
    assert!(status == Some(1) && said.contains("the log ends with entry 2, and entry 3 is known"), "{said}");
    world.server.stop().await.unwrap();
}
