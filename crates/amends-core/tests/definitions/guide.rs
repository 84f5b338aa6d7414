//! `docs/definitions.md` says what is so: its examples are clean, and its tables are complete.

use amends_core::expression::{FILTERS, TESTS};
use amends_core::lint::{self, codes};
use std::fs;

fn guide() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/definitions.md");
    fs::read_to_string(path).expect("the guide is there")
}

#[test]
fn every_example_is_clean() {
    let guide = guide();
    let blocks = guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let definitions: Vec<&str> = blocks.filter(|block| block.starts_with("saga:")).collect();
    assert_eq!(definitions.len(), 3);
    for source in definitions {
        let checked = lint::check(source, None);
        assert_eq!(lint::render(source, "definitions.md", &checked.diagnostics, false), "");
    }
}

#[test]
fn every_code_is_explained() {
    let guide = guide();
    let rows = guide.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let code = cells.next()?.strip_suffix('`')?;
        let severity = cells.next()?;
        matches!(severity, "error" | "warning").then(|| (code.to_owned(), severity.to_owned()))
    });
    let mut expected: Vec<_> =
        codes::ALL.iter().map(|code| (code.name.to_owned(), code.severity.to_string())).collect();
    expected.sort();
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn filters_and_tests_are_listed() {
    let guide = guide();
    for (title, names) in [("Filters", FILTERS), ("Tests", TESTS)] {
        let (_, rest) = guide.split_once(&format!("**{title}**: ")).expect("there is a list");
        let list = rest.split("\n\n").next().unwrap_or_default().trim_end_matches('.').replace('\n', " ");
        let expected: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        assert_eq!(list, expected.join(", "));
    }
}
