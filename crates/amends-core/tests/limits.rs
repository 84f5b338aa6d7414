//! The bounds, held against what people are told of them.
#![cfg(test)]

use amends_core::limits::{DEFINITION_BYTES, INPUT_BYTES, JSON_DEPTH, KEY_CHARS, OUTPUT_BYTES, REASON_BYTES, STEPS};

/// A document as one line of words.
fn document(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_bounds_are_those_that_the_documents_promise() {
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    let (definition, output, reason) = (kib(DEFINITION_BYTES), kib(OUTPUT_BYTES), kib(REASON_BYTES));
    let input = format!("{} MiB", INPUT_BYTES / 1024 / 1024);
    let sizes = format!("a definition has {definition} and {STEPS} steps, an input {input}, a kept answer {output}");
    let promises = [
        ("configuration.md", format!("{sizes}, JSON {JSON_DEPTH} levels, a key {KEY_CHARS} characters")),
        ("api.md", format!("any JSON up to {input}")),
        ("api.md", format!("need a reason, up to {reason} of text")),
    ];
    for (name, promise) in promises {
        assert!(document(name).contains(&promise), "docs/{name} does not say: {promise}");
    }
}
