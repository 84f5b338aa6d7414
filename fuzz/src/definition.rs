//! A definition's source, in YAML or JSON: reading, judging, showing what is wrong.

use amends_core::lint::{self, Known, Severity};
use amends_core::{limits, parse};

pub(crate) const WORDS: &[&str] = &[
    "saga: ",
    "key: ",
    "steps:\n",
    "deadline: ",
    "dedupe: ",
    "redact: [/input/card/*, /steps/a/output]\n",
    "within: ",
    "by: ",
    "retry: ",
    "attempts: ",
    "initial: ",
    "factor: ",
    "max: ",
    "total: ",
    "kind: ",
    "pivot",
    "retriable",
    "compensatable",
    "effects: ",
    "at-most-once",
    "idempotent",
    "action: ",
    "compensation: ",
    "none",
    "probe: ",
    "happened: ",
    "post: ",
    "get: ",
    "put: ",
    "body: ",
    "timeout: ",
    "wait: ",
    "sleep: ",
    "after: [",
    "shop:/",
    "{{ input.id }}",
    "{{ output }}",
    "{{ steps['a'].output }}",
    "{{ response.status == 200 }}",
    "10m",
    "1h",
    "200ms",
    "\n  ",
    "\n    ",
    "- ",
    ": ",
    "? ",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "...\n",
    "|\n",
    ">-\n",
    "%YAML 1.2\n",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "\\u0000",
    "\u{feff}",
    "\u{2028}",
    "\t",
    "\r\n",
    "~",
    ".nan",
    "1e999",
    "0x7f",
    "99999999999999999999",
    "🦀",
];

pub(crate) fn run(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let known = Known { participants: vec!["shop".to_owned()], ..Known::default() };
    let checked = lint::check(source, Some(&known));
    for colour in [false, true] {
        let shown = lint::render(source, "fuzz.yaml", &checked.diagnostics, colour);
        assert_eq!(shown.is_empty(), checked.diagnostics.is_empty(), "what is wrong is shown, and nothing else is");
    }
    let failed = checked.diagnostics.iter().any(|found| found.severity == Severity::Error);
    let Some(definition) = checked.definition else {
        assert!(failed, "a definition is refused without a word");
        return;
    };
    assert!(!failed, "a definition with errors is taken");
    assert!(definition.steps.len() <= limits::STEPS);
    let canonical = parse::canonical(source).expect("what was taken can be read");
    // Writing it as JSON can make it longer than is taken.
    if canonical.len() <= limits::DEFINITION_BYTES {
        let again = lint::compile(&canonical).expect("a definition is still one when it is written as JSON");
        assert_eq!(again.version, definition.version, "the notation does not make another version");
    }
}

#[cfg(test)]
mod tests;
