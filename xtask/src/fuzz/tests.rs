//! What the task takes, and that it knows the targets there are.

use super::{Options, SECONDS, TARGETS};

#[test]
fn options_name_a_target_and_a_time() {
    let all = Options { target: None, seconds: SECONDS, guided: true };
    assert_eq!(Options::read(&[]).unwrap(), all);
    let one = Options { target: Some("http".to_owned()), seconds: 7, guided: false };
    assert_eq!(Options::read(&["http", "--seconds", "7", "--unguided"]).unwrap(), one);
    for wrong in [&["htp"][..], &["--seconds"], &["--seconds", "long"]] {
        assert!(Options::read(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn every_target_is_known_here_and_has_a_corpus() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let source = std::fs::read_to_string(format!("{root}/fuzz/src/lib.rs")).unwrap();
    assert_eq!(source.matches("Target { name: \"").count(), TARGETS.len());
    for target in TARGETS {
        assert!(source.contains(&format!("Target {{ name: \"{target}\"")), "{target}");
        assert!(std::fs::read_dir(format!("{root}/fuzz/corpus/{target}")).unwrap().next().is_some(), "{target}");
    }
}
