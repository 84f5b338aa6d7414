//! `amends demo` as a whole: the real program with its seven children. However it ends, no child outlives it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "as in any test; this also covers what the tests share")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

/// The six services and the server.
const CHILDREN: usize = 7;

/// A demo whose data is in a directory of its own, by which its children are found.
struct Demo {
    directory: TempDir,
    process: Child,
    stderr: BufReader<ChildStderr>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_amends"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", directory.path())
            // What others have set for a server of their own is nothing to the demo's.
            .env("AMENDS_LISTEN", "nowhere")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        Demo { directory, process, stderr }
    }

    /// Starts more orders than a test waits for, and waits until some have been placed.
    fn in_the_middle() -> Demo {
        let mut demo = Demo::start(&["--orders", "2000", "--rate", "20", "--faults", "none"]);
        let mut seen = String::new();
        while !seen.contains(" started, ") {
            let read = demo.stderr.read_line(&mut seen).unwrap();
            assert!(read > 0, "the demo has ended: {seen}");
        }
        assert_eq!(demo.children().len(), CHILDREN);
        demo
    }

    /// Waits for the end: whether it was good, and what was written to standard output and to standard error.
    fn end(&mut self) -> (bool, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.process.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.process.wait().unwrap().success(), stdout, stderr)
    }

    fn children(&self) -> Vec<(u32, String)> {
        let itself = self.process.id();
        let processes = processes().into_iter().filter(|(id, _)| *id != itself);
        processes.filter(|(_, command)| command.contains(&*self.directory.path().to_string_lossy())).collect()
    }

    /// What the demo has left on the disk.
    fn left_behind(&self) -> usize {
        std::fs::read_dir(self.directory.path()).unwrap().count()
    }
}

impl Drop for Demo {
    /// A test that failed leaves nothing running either.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every process with its command line.
fn processes() -> Vec<(u32, String)> {
    let read = |path: &Path| {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        let command = std::fs::read(path.join("cmdline")).ok()?;
        Some((id, String::from_utf8_lossy(&command).replace('\0', " ")))
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| read(&entry.unwrap().path())).collect()
}

fn signal(name: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().unwrap();
    assert!(status.success());
}

#[test]
fn thirty_orders_with_some_faults_end_and_agree_with_the_ledgers() {
    let mut demo = Demo::start(&["--orders", "30", "--rate", "50", "--faults", "some", "--seed", "1", "--json"]);
    let (good, stdout, stderr) = demo.end();
    assert!(good, "{stderr}\n{stdout}");
    assert_eq!(stderr, "", "a program that reads the report reads nothing else");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let outcome = &report["outcome"];
    assert_eq!(number(&outcome["orders"]), 30);
    assert_eq!(number(&outcome["sagas"]), 30);
    let ended = ["completed", "compensated", "stuck"].map(|status| number(&outcome[status]));
    assert_eq!(ended.iter().sum::<u64>(), 30, "{outcome}");
    assert!(number(&outcome["double_clicks"]) > 0, "this seed clicks twice: {outcome}");
    assert!(number(&outcome["latency"]["p50_ms"]) > 0, "{outcome}");
    assert_eq!(report["agrees"], true);
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert_eq!((number(&report["seed"]), &report["faults"]), (1, &Value::from("some")));
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(check["found"], 0, "{check}");
        let may_be_empty = ["compensated", "dead-letters"].contains(&check["check"].as_str().unwrap());
        assert!(may_be_empty || number(&check["looked_at"]) > 0, "{check}");
    }
    let fired = report["faults_fired"].as_object().unwrap();
    assert_eq!(fired.len(), 6);
    assert!(fired.values().flat_map(|kinds| kinds.as_object().unwrap().values()).any(|fired| number(fired) > 0));
    let example = &report["examples"][0];
    assert!(example["commands"][0].as_str().unwrap().contains(example["saga"].as_str().unwrap()), "{example}");
    assert_eq!(demo.children(), []);
    assert_eq!(demo.left_behind(), 0);
}

#[test]
fn a_service_that_dies_is_named_and_takes_the_others_with_it() {
    let mut demo = Demo::in_the_middle();
    let children = demo.children();
    let (payment, _) = children.iter().find(|(_, command)| command.contains("shop-service payment")).unwrap();
    signal("KILL", *payment);
    let (good, stdout, stderr) = demo.end();
    assert!(!good);
    assert_eq!(stdout, "");
    assert!(stderr.contains("the payment service ended while it was needed (signal: 9"), "{stderr}");
    assert_eq!(demo.children(), []);
    assert_eq!(demo.left_behind(), 1, "the logs are what says why");
}

#[test]
fn an_interrupt_ends_everything() {
    let mut demo = Demo::in_the_middle();
    signal("INT", demo.process.id());
    let (good, _, stderr) = demo.end();
    assert!(!good, "not every order had ended");
    assert!(stderr.contains("nothing is left running"), "{stderr}");
    assert_eq!(demo.children(), []);
    assert_eq!(demo.left_behind(), 0);
}

#[test]
fn children_end_with_a_demo_that_is_killed() {
    let mut demo = Demo::in_the_middle();
    let children = demo.children();
    signal("KILL", demo.process.id());
    assert!(!demo.process.wait().unwrap().success());
    for (child, _) in children {
        // They are nobody's children any more, and only such a program can wait for a process that is not its own.
        let ended =
            Command::new("timeout").args(["30", "tail", "-f", "/dev/null", "--pid", &child.to_string()]).status();
        assert!(ended.unwrap().success(), "process {child} goes on without its parent");
    }
    assert_eq!(demo.children(), []);
}
