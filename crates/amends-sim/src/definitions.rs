//! Random definitions, as YAML: whatever lint accepts.

use fastrand::Rng;
use std::fmt::Write;

/// The participants that definitions name.
pub(crate) const PARTICIPANTS: [&str; 2] = ["p0", "p1"];

/// A definition in the making.
struct Draft<'a> {
    rng: &'a mut Rng,
    text: String,
    names: Vec<String>,
    /// Steps that may fail: whatever cannot be undone comes after all of them.
    may_fail: Vec<String>,
    pivot: Option<String>,
}

/// Draws the definition with this number.
pub(crate) fn draw(rng: &mut Rng, number: usize) -> String {
    let mut draft = Draft { rng, text: String::new(), names: Vec::new(), may_fail: Vec::new(), pivot: None };
    draft.head(number);
    for _ in 0..draft.rng.usize(0..=4) {
        draft.before_the_pivot();
    }
    if draft.rng.bool() {
        draft.pivot();
    }
    let least = usize::from(draft.names.is_empty());
    for _ in 0..draft.rng.usize(least..=2) {
        draft.behind_the_pivot();
    }
    draft.text
}

impl Draft<'_> {
    fn one_in(&mut self, many: u32) -> bool {
        self.rng.u32(..many) == 0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("text takes text");
    }

    fn head(&mut self, number: usize) {
        self.line(format_args!("saga: d{number}\nkey: '{{{{ input.key }}}}'"));
        if self.one_in(3) {
            let seconds = self.rng.u32(8..20);
            self.line(format_args!("deadline: {seconds}s"));
        }
        if self.one_in(4) {
            self.line(format_args!("dedupe: {{ by: '{{{{ input.click }}}}', within: 2s }}"));
        }
        self.line(format_args!("steps:"));
    }

    /// A step that can be undone, a wait, or a sleep, after some of those before it.
    fn before_the_pivot(&mut self) {
        let name = self.name();
        let after = if self.rng.bool() { None } else { Some(self.some_of_the_steps()) };
        let is_call = self.write(&name, None, after);
        if is_call {
            self.may_fail.push(name.clone());
        }
        self.names.push(name);
    }

    fn pivot(&mut self) {
        let name = self.name();
        let mut after = self.may_fail.clone();
        after.extend(self.some_of_the_steps());
        self.write(&name, Some("pivot"), Some(after));
        self.pivot = Some(name.clone());
        self.names.push(name);
    }

    fn behind_the_pivot(&mut self) {
        let name = self.name();
        let mut after = self.pivot.clone().map_or_else(|| self.may_fail.clone(), |pivot| vec![pivot]);
        after.extend(self.some_of_the_steps());
        self.write(&name, Some("retriable"), Some(after));
        self.names.push(name);
    }

    fn name(&self) -> String {
        format!("s{}", self.names.len())
    }

    fn some_of_the_steps(&mut self) -> Vec<String> {
        let rng = &mut *self.rng;
        self.names.iter().filter(|_| rng.u8(..3) == 0).cloned().collect()
    }

    /// Writes a step. Returns whether it calls a participant.
    fn write(&mut self, name: &str, kind: Option<&str>, after: Option<Vec<String>>) -> bool {
        self.line(format_args!("  {name}:"));
        if let Some(mut after) = after {
            after.sort();
            after.dedup();
            self.line(format_args!("    after: [{}]", after.join(", ")));
        }
        match self.rng.u8(..10) {
            0 if kind.is_none() => self.line(format_args!("    wait: {{ timeout: 3s }}")),
            1 if kind != Some("pivot") => self.line(format_args!("    sleep: 1s")),
            _ => {
                self.call(name, kind);
                return true;
            }
        }
        false
    }

    fn call(&mut self, name: &str, kind: Option<&str>) {
        if let Some(kind) = kind {
            self.line(format_args!("    kind: {kind}"));
        }
        let is_message = self.one_in(4);
        if !is_message && self.one_in(6) {
            self.line(format_args!("    effects: at-most-once"));
        }
        let participant = PARTICIPANTS[self.rng.usize(..PARTICIPANTS.len())];
        let attempts = self.rng.u32(1..=4);
        let retry = format!("retry: {{ attempts: {attempts}, initial: 20ms, max: 200ms, total: 5s }}");
        let body = "body: { key: '{{ input.key }}' }";
        let target = |path: &str| match is_message {
            true => format!("send: 'queue:{participant}', timeout: 800ms"),
            false => format!("post: '{participant}:/{path}', timeout: 200ms"),
        };
        self.line(format_args!("    action: {{ {}, {body} }}", target(name)));
        self.line(format_args!("    {retry}"));
        if self.one_in(3) {
            let happened = "happened: '{{ response.body.happened }}'";
            self.line(format_args!(
                "    probe: {{ get: '{participant}:/{name}', timeout: 200ms, {happened}, {retry} }}"
            ));
        }
        if kind.is_none() {
            match self.rng.u8(..8) {
                0 => self.line(format_args!("    compensation: none")),
                1 => {}
                _ => {
                    let attempts = self.rng.u32(1..=6);
                    let retry = format!("retry: {{ attempts: {attempts}, initial: 20ms, max: 200ms, total: 20s }}");
                    self.line(format_args!(
                        "    compensation: {{ {}, {body}, {retry} }}",
                        target(&format!("{name}/undo"))
                    ));
                }
            }
        }
    }
}
