//! SQL that decides: a `CASE` over a state is a transition that the machine does not know of.

use super::source::words;
use super::{File, Finding};

const STORE: &str = "crates/amends-store/";
const STATE_WORDS: [&str; 2] = ["state", "status"];

/// The string literals of the store's Rust files.
pub fn case_in_literals(file: &File) -> Vec<Finding> {
    let literals = file.source.literals.iter();
    literals.flat_map(|literal| case_on_state(&file.path, literal.line, &literal.text)).collect()
}

/// A piece of SQL that starts on `first_line` of the file at `path`; files outside the store are not judged.
pub fn case_on_state(path: &str, first_line: usize, sql: &str) -> Vec<Finding> {
    if !path.starts_with(STORE) {
        return Vec::new();
    }
    let lower = sql.to_ascii_lowercase();
    let cases = words(&lower, "case").filter(|&at| decides_on_state(&lower[at + "case".len()..]));
    cases
        .map(|at| Finding {
            path: path.to_owned(),
            line: first_line + lower[..at].matches('\n').count(),
            wrong: "`CASE` on a state in SQL".to_owned(),
            mend: "decide in amends-core and hand the store the value to write",
        })
        .collect()
}

/// Whether what follows `case` is an SQL expression (at most one operand before `when`) that names a state.
fn decides_on_state(rest: &str) -> bool {
    let expression = words(rest, "end").next().map_or(rest, |end| &rest[..end]);
    let is_sql = expression.split_whitespace().take(2).any(|word| word == "when");
    let names = expression.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| STATE_WORDS.contains(&part));
    is_sql && names
}
