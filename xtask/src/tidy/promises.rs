//! What the documentation says is defended against, and the tests that it names for it.

use super::Finding;
use std::collections::HashSet;

/// Where it is said, in tables whose last column names tests.
pub const DOCUMENT: &str = "docs/security.md";

/// Every test that the document names must be there: a name that has gone would leave a promise that nothing shows.
pub fn check(document: &str, texts: &[(String, String)]) -> Vec<Finding> {
    let functions: HashSet<&str> = texts.iter().flat_map(|(_, text)| text.split("fn ").skip(1)).map(name).collect();
    let mut findings = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let gone = promised(line).into_iter().filter(|test| !functions.contains(test));
        findings.extend(gone.map(|test| Finding {
            path: DOCUMENT.to_owned(),
            line: index + 1,
            wrong: format!("there is no test `{test}`"),
            mend: "name the test that shows it",
        }));
    }
    findings
}

/// The tests that a row of a table names, without their modules. Whatever else is quoted there (files, modules, commands) has other
/// characters in it, or is called `tests`.
fn promised(line: &str) -> Vec<&str> {
    let Some(tests) = line.strip_prefix('|').and_then(|row| row.split('|').nth(2)) else {
        return Vec::new();
    };
    let quoted = tests.split('`').skip(1).step_by(2).map(|path| path.rsplit("::").next().unwrap_or(path));
    quoted.filter(|test| *test != "tests" && name(test) == *test).collect()
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    &text[..end.unwrap_or(text.len())]
}
