//! Definitions in one line: `a b(pivot,probe) c(retriable,after=a+b)`.
//!
//! A step calls the participant `p` and, if it is compensatable, has a compensation. The options:
//!
//! - `pivot`, `retriable`; `after=a+b`, `after=` for a step that waits for none
//! - `once`: at-most-once; `probe`: has a probe; `gone`: 404 ends its compensation
//! - `sent`: its action and compensation are messages, answered within 60 s
//! - `bare`: there is nothing to undo; `unsaid`: the definition does not say how it is undone
//! - `wait` (60 s), `sleep` (10 s), or `wait=5s`
//! - `tries=3`: attempts, where the default is 2; `patient`: delays of seconds, where the default is none at all
//! - `needs`, `undo-needs`, `probe-needs`: the call reads something that the input does not have
//! - `reads=a`, `undo-reads=a`: the call reads a part of the output of step `a`; `undo-output`: the compensation reads
//!   the whole of its own step's, which may be null
//!
//! Before the steps there may be `deadline=30s`.

use crate::definition::Definition;
use std::fmt::Write;

/// Attempts are free of delay, so that a table says when things happen without knowing the jitter.
pub const PROMPT: &str = "initial: 1ms, factor: 1, max: 1ms, total: 10s";
const PATIENT: &str = "initial: 4s, factor: 2, max: 8s, total: 60s";

struct Step<'a> {
    name: &'a str,
    options: Vec<(&'a str, &'a str)>,
}

/// The definition that `line` describes.
pub fn definition(line: &str) -> Definition {
    let source = yaml(line);
    crate::lint::compile(&source).unwrap_or_else(|problems| panic!("{line}\n{source}\n{problems:#?}"))
}

/// The same in words, as a later version of the server might render it: every path and queue is another.
pub fn reworded(line: &str) -> Definition {
    crate::lint::compile(&yaml(line).replace("p:/", "p:/v2/").replace("queue:p", "queue:v2"))
        .expect("another path is no mistake")
}

fn yaml(line: &str) -> String {
    let mut text = String::from("saga: s\nkey: \"{{ input.id }}\"\n");
    let mut steps = Vec::new();
    for word in line.split_whitespace() {
        match word.strip_prefix("deadline=") {
            Some(deadline) => writeln!(text, "deadline: {deadline}").expect("text takes text"),
            None => steps.push(Step::read(word)),
        }
    }
    text.push_str("steps:\n");
    steps.iter().for_each(|step| step.write(&mut text));
    text
}

impl<'a> Step<'a> {
    fn read(word: &'a str) -> Step<'a> {
        let (name, options) = word.split_once('(').unwrap_or((word, ")"));
        let options = options.strip_suffix(')').expect("options end with a bracket");
        let options = options.split(',').filter(|option| !option.is_empty());
        Step { name, options: options.map(|option| option.split_once('=').unwrap_or((option, ""))).collect() }
    }

    fn get(&self, option: &str) -> Option<&'a str> {
        self.options.iter().find(|(name, _)| *name == option).map(|(_, value)| *value)
    }

    fn has(&self, option: &str) -> bool {
        self.get(option).is_some()
    }

    fn write(&self, text: &mut String) {
        let mut lines = vec![format!("  {}:", self.name)];
        let kind = ["pivot", "retriable", "compensatable"].into_iter().find(|kind| self.has(kind));
        lines.extend(kind.map(|kind| format!("    kind: {kind}")));
        lines.extend(self.get("after").map(|names| format!("    after: [{}]", names.replace('+', ", "))));
        match (self.get("wait"), self.get("sleep")) {
            (Some(time), _) => lines.push(format!("    wait: {}", if time.is_empty() { "60s" } else { time })),
            (_, Some(time)) => lines.push(format!("    sleep: {}", if time.is_empty() { "10s" } else { time })),
            (None, None) => self.write_calls(&mut lines, kind),
        }
        text.push_str(&lines.join("\n"));
        text.push('\n');
    }

    fn write_calls(&self, lines: &mut Vec<String>, kind: Option<&str>) {
        let (name, tries) = (self.name, self.get("tries").unwrap_or("2"));
        let policy = format!("{{ attempts: {tries}, {} }}", if self.has("patient") { PATIENT } else { PROMPT });
        let body = |needs: &str, reads: &str| match (self.has(needs), self.get(reads)) {
            (true, _) => "{ x: \"{{ input.missing }}\" }".to_owned(),
            (false, Some(other)) => format!("{{ x: \"{{{{ steps['{other}'].output.of }}}}\" }}"),
            (false, None) => "{ x: \"{{ input.id }}\" }".to_owned(),
        };
        let sent = self.has("sent");
        let target = |path: &str| match sent {
            true => "send: \"queue:p\", timeout: 60s".to_owned(),
            false => format!("post: \"p:/{path}\""),
        };
        lines.push(format!("    action: {{ {}, body: {} }}", target(name), body("needs", "reads")));
        lines.push(format!("    retry: {policy}"));
        if self.has("once") {
            lines.push("    effects: at-most-once".into());
        }
        if self.has("probe") {
            let query = if self.has("probe-needs") { "{{ input.missing }}" } else { "{{ input.id }}" };
            lines.push(format!(
                "    probe: {{ get: \"p:/{name}?id={query}\", happened: \"{{{{ response.body.happened }}}}\", \
                 output: {{ of: \"{{{{ response.body.of }}}}\" }}, retry: {policy} }}"
            ));
        }
        if self.has("bare") {
            lines.push("    compensation: none".into());
        } else if kind.is_none() && !self.has("unsaid") {
            let gone = if self.has("gone") { ", not_found: done" } else { "" };
            let body = if self.has("undo-output") {
                format!("{{ x: \"{{{{ steps['{name}'].output | default('none') }}}}\" }}")
            } else {
                body("undo-needs", "undo-reads")
            };
            lines.push(format!(
                "    compensation: {{ {}, body: {body}, retry: {policy}{gone} }}",
                target(&format!("{name}/undo"))
            ));
        }
    }
}
