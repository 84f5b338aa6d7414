//! The rules that every Rust file keeps.

use super::source::words;
use super::{File, Finding};

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 800;
const VAGUE_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "managers"];
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];
const ALLOW_SLEEP: &str = "tidy: allow-sleep";

/// Functions of the product stay short enough to be read at once.
pub fn function_length(file: &File) -> Vec<Finding> {
    let functions = file.source.functions().into_iter().filter(|function| !file.is_test(function.offset));
    let long = functions.filter(|function| function.lines.len() > FUNCTION_LINES);
    long.map(|function| {
        let wrong = format!("`{}` has {} lines, {FUNCTION_LINES} are allowed", function.name, function.lines.len());
        file.finding(function.lines.start, wrong, "give its parts names of their own")
    })
    .collect()
}

/// Files of the product stay short; tests may list as many cases as they need.
pub fn file_length(file: &File) -> Vec<Finding> {
    let lines = file.source.line_count();
    if file.tests || lines <= FILE_LINES {
        return Vec::new();
    }
    let wrong = format!("the file has {lines} lines, {FILE_LINES} are allowed");
    vec![file.finding(FILE_LINES + 1, wrong, "split it by what it decides, or move its tests into tests.rs")]
}

/// A panic in the product says why it cannot happen.
pub fn unwrap(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let forbidden = [("unwrap", ")", "`.unwrap()` outside a test"), ("expect", "\"\"", "`.expect` without a reason")];
    for (method, argument, wrong) in forbidden {
        let calls = file.product_words(method).filter(|&offset| {
            let call = file.source.after(offset + method.len()).strip_prefix('(');
            let matches = call.is_some_and(|arguments| arguments.trim_start().starts_with(argument));
            matches && file.source.before(offset).ends_with('.')
        });
        findings.extend(
            calls.map(|offset| {
                file.finding_at(offset, wrong, "return the error, or say in `expect` why it cannot happen")
            }),
        );
    }
    findings
}

/// A module is named after what it does.
pub fn module_name(file: &File) -> Vec<Finding> {
    const MEND: &str = "name it after what it does, or move its parts to where they are used";
    let mut findings = Vec::new();
    let parts = file.path.strip_suffix(".rs").unwrap_or(&file.path).split('/');
    for part in parts.filter(|part| VAGUE_NAMES.contains(part)) {
        findings.push(file.finding(1, format!("a module named `{part}`"), MEND));
    }
    for offset in file.source.words("mod") {
        let declaration = file.source.after(offset + "mod".len());
        let named = VAGUE_NAMES.iter().find(|&&name| words(declaration, name).next() == Some(0));
        if let Some(name) = named.filter(|name| declaration[name.len()..].trim_start().starts_with('{')) {
            findings.push(file.finding_at(offset, format!("a module named `{name}`"), MEND));
        }
    }
    findings
}

/// Work that is left to do is not left in comments.
pub fn unfinished(file: &File) -> Vec<Finding> {
    let lines = file.source.comments.iter().map(|comment| (comment.line, comment.text.as_str()));
    unfinished_lines(&file.path, lines)
}

/// The same for a file of another language, all of whose lines count.
pub fn unfinished_text(path: &str, text: &str) -> Vec<Finding> {
    unfinished_lines(path, (1..).zip(text.lines()))
}

fn unfinished_lines<'a>(path: &str, lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in lines {
        for marker in UNFINISHED.into_iter().filter(|marker| words(text, marker).next().is_some()) {
            findings.push(Finding {
                path: path.to_owned(),
                line,
                wrong: format!("`{marker}` in a comment"),
                mend: "do it now, or say what holds today and why",
            });
        }
    }
    findings
}

/// A test that sleeps is slow where the machine is fast and fails where it is slow.
pub fn sleeping_test(file: &File) -> Vec<Finding> {
    let calls = file.source.words("sleep").filter(|&offset| {
        let called = file.source.after(offset + "sleep".len()).starts_with('(');
        let declared = file.source.before(offset).rsplit(char::is_whitespace).next() == Some("fn");
        called && !declared && file.is_test(offset)
    });
    calls.filter_map(|offset| match sleep_reason(file, file.source.line_at(offset)) {
        Some(reason) if !reason.is_empty() => None,
        Some(_) => Some(file.finding_at(offset, "an allowed `sleep` without a reason", "write the reason behind `allow-sleep`")),
        None => Some(file.finding_at(
            offset,
            "a test sleeps",
            "wait for a signal or move the virtual clock; if neither can be, end the line with `// tidy: allow-sleep <reason>`",
        )),
    })
    .collect()
}

/// What follows `tidy: allow-sleep` in a comment on `line`.
fn sleep_reason(file: &File, line: usize) -> Option<&str> {
    let mut comments = file.source.comments.iter().filter(|comment| comment.line == line);
    comments.find_map(|comment| comment.text.split_once(ALLOW_SLEEP)).map(|(_, reason)| reason.trim())
}
