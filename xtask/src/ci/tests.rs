//! What the gate prints, and which stages it accepts.

use super::{Outcome, STAGES, repeat, run, summary};
use crate::workspace::Workspace;
use std::time::Duration;

#[test]
fn the_summary_is_a_table_with_a_total() {
    let outcomes = [
        Outcome { name: "fmt", took: Duration::from_millis(400), passed: true },
        Outcome { name: "clippy", took: Duration::from_millis(61_300), passed: false },
    ];
    let expected = "fmt          0.4 s  ok\nclippy      61.3 s  FAILED\ntotal       61.7 s  FAILED";
    assert_eq!(summary(&outcomes), expected);
}

#[test]
fn every_stage_can_be_repeated_by_its_name() {
    for stage in &STAGES {
        assert_eq!(repeat(stage), format!("cargo xtask ci --only {}", stage.name));
    }
}

#[test]
fn an_unknown_stage_is_refused_with_the_list() {
    let workspace = Workspace { root: "nowhere".into(), target: "nowhere".into(), packages: Vec::new() };
    let error = run(&workspace, &["lint".to_owned()]).expect_err("there is no stage of that name");
    assert!(error.to_string().contains("no stage `lint`; the stages are fmt, tidy"), "{error}");
}
