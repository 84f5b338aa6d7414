use super::DefinitionError;
use super::definitions::{self, Loaded};
use amends_core::lint::Known;
use std::path::Path;
use tempfile::TempDir;

fn known() -> Known {
    Known { participants: vec!["shop".to_owned()], ..Known::default() }
}

fn good(name: &str) -> String {
    format!("saga: {name}\nkey: \"{{{{ input.id }}}}\"\nsteps:\n  pause: {{ sleep: 1s }}\n")
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Why the definitions of a directory cannot be loaded, without the directory's own name.
fn refused(directory: &Path) -> String {
    let error = definitions::load(directory, &known()).map(|loaded| loaded.len()).unwrap_err();
    format!("{error:#}").replace(&format!("{}/", directory.display()), "")
}

#[test]
fn a_directory_is_loaded_by_its_endings() {
    let json = r#"{"saga": "c", "key": "{{ input.id }}", "steps": {"pause": {"sleep": "1s"}}}"#;
    let files = [("a.yaml", good("a")), ("b.yml", good("b")), ("c.json", json.into()), ("d.yaml.bak", "?".into())];
    let directory = directory(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    std::fs::create_dir(directory.path().join("e.yaml")).unwrap();
    let loaded: Vec<Loaded> = definitions::load(directory.path(), &Known::default()).unwrap();
    assert_eq!(loaded.len(), 3);
    assert!(definitions::load(tempfile::tempdir().unwrap().path(), &Known::default()).unwrap().is_empty());
}

#[test]
fn every_definition_that_is_not_valid_is_shown() {
    let stranger = good("b").replace("{ sleep: 1s }", "{ action: { post: \"shoq:/works\" }, compensation: none }");
    let mistyped = good("c").replace("sleep", "slep");
    let directory = directory(&[("a.yaml", &good("a")), ("b.yaml", &stranger), ("c.yaml", &mistyped)]);
    let error = definitions::load(directory.path(), &known()).map(|loaded| loaded.len()).unwrap_err();
    assert!(error.downcast_ref::<DefinitionError>().is_some());
    insta::assert_snapshot!(refused(directory.path()));
}

#[test]
fn what_is_no_definition_at_all_is_named() {
    let twice = directory(&[("a.yaml", &good("a")), ("b.yaml", &good("a"))]);
    assert_eq!(refused(twice.path()), "b.yaml and a.yaml both define the saga `a`");
    let large = directory(&[("a.yaml", &"#".repeat(300_000))]);
    assert_eq!(refused(large.path()), "a.yaml has 300000 bytes; a definition has at most 256 KiB");
    let binary = directory(&[]);
    std::fs::write(binary.path().join("a.yaml"), b"saga: \xff").unwrap();
    assert_eq!(refused(binary.path()), "a.yaml is not UTF-8 from byte 7 on");
    let nowhere = refused(&binary.path().join("nowhere"));
    assert!(nowhere.contains("nowhere cannot be read: "), "{nowhere}");
}
