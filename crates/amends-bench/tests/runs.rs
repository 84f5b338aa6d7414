//! The benchmarks run, and the services' ledger agrees with every run. What they measure here means nothing.

#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// Runs the program beside the server of the same build, and gives what it prints.
fn run(arguments: &str) -> String {
    let bench = Path::new(env!("CARGO_BIN_EXE_amends-bench"));
    assert!(bench.with_file_name("amends").exists(), "the server is measured as a program: cargo build -p amends");
    let output = Command::new(bench).args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn throughput() {
    let table = run("throughput --in-flight 3 --latency 0,1 --rounds 1 --seconds 0.3 --warm-up 0.1");
    for row in ["bare floor", "durable floor", "amends / durable floor", "after 1 ms, one in 10 refused"] {
        assert!(table.contains(row), "{row}: {table}");
    }
}

#[test]
fn throughput_on_postgres() {
    let arguments = "--in-flight 3 --latency 0 --refused 10 --rounds 1 --seconds 0.3 --warm-up 0.1";
    let table = run(&format!("throughput --store postgres --instances 2 --readers 2 {arguments}"));
    for row in ["PostgreSQL", "amends / durable floor", "2 instances / one", "2 readers / none"] {
        assert!(table.contains(row), "{row}: {table}");
    }
}

#[test]
fn age() {
    for store in ["sqlite", "postgres"] {
        let table = run(&format!("age --store {store} --sagas 1110 --window 10"));
        assert_eq!(table.lines().count(), 12, "{table}");
    }
}

#[test]
fn recovery() {
    let found = run("recovery --sagas 200");
    assert!(found.contains("calls repeated by the services' ledger      0"), "{found}");
}

#[test]
fn sleepers() {
    let found = run("sleepers --sagas 200");
    assert!(found.contains("sagas asleep                                200"), "{found}");
}

/// Three servers keep to one rate, and whoever comes back is first met by a few.
#[test]
fn herd() {
    let found = run("herd --sagas 60 --per-second 20 --away 1 --ill 1");
    assert!(found.contains("it is back, and ill"), "{found}");
}
