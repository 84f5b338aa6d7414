//! What `amends-core` must not touch, so that a test can play any order of events at any time.

use super::source::first_segments;
use super::{File, Finding};

const CORE: &str = "crates/amends-core/src/";
const MEND: &str = "take the value as an argument, and leave the effect to the crate that drives the core";

/// Identifiers that are forbidden wherever they stand, and what each would bring in.
const WORDS: [(&str, &str); 11] = [
    ("async", "a runtime"),
    ("await", "a runtime"),
    ("tokio", "a runtime"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("now_v7", "a clock and randomness"),
    ("new_v4", "randomness"),
    ("new_v7", "randomness"),
    ("fastrand", "randomness"),
    ("getrandom", "randomness"),
    ("thread_local", "state that outlives a call"),
];

/// Modules of `std`, and what each would bring in.
const STD_MODULES: [(&str, &str); 6] = [
    ("env", "the environment"),
    ("fs", "IO"),
    ("io", "IO"),
    ("net", "IO"),
    ("process", "the environment"),
    ("thread", "a runtime"),
];

const PRINTING: [&str; 4] = ["print", "println", "eprint", "eprintln"];

/// The core decides; it does not wait, look at a clock, draw lots or read anything.
pub fn purity(file: &File) -> Vec<Finding> {
    if !file.path.starts_with(CORE) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (word, brings) in WORDS {
        findings.extend(file.product_words(word).map(|at| impure(file, at, word, brings)));
    }
    findings.extend(std_modules(file));
    findings.extend(calls(file));
    findings.sort_by_key(|finding| finding.line);
    findings
}

fn std_modules(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for offset in file.product_words("std") {
        let Some(rest) = file.source.after(offset + "std".len()).strip_prefix("::") else {
            continue;
        };
        for segment in first_segments(rest) {
            if let Some((module, brings)) = STD_MODULES.iter().find(|(module, _)| *module == segment) {
                findings.push(impure(file, offset, &format!("std::{module}"), brings));
            }
        }
    }
    findings
}

/// What only its surroundings tell: `rand` as a path, `now` as a call through a type, a macro that prints.
fn calls(file: &File) -> Vec<Finding> {
    let (source, mut findings) = (&file.source, Vec::new());
    for offset in file.product_words("rand") {
        if source.after(offset + "rand".len()).starts_with("::") || source.before(offset).ends_with("use") {
            findings.push(impure(file, offset, "rand", "randomness"));
        }
    }
    for offset in file.product_words("now") {
        if source.before(offset).ends_with("::") && source.after(offset + "now".len()).starts_with('(') {
            findings.push(impure(file, offset, "::now()", "a clock"));
        }
    }
    for word in PRINTING {
        let printed = file.product_words(word).filter(|offset| source.after(offset + word.len()).starts_with('!'));
        findings.extend(printed.map(|offset| impure(file, offset, &format!("{word}!"), "IO")));
    }
    findings
}

fn impure(file: &File, offset: usize, name: &str, brings: &str) -> Finding {
    file.finding_at(offset, format!("`{name}` brings {brings} into amends-core"), MEND)
}
