//! Reading a table of the configuration key by key. Whatever was not asked for at the end is unknown, and the keys
//! that were asked for are those it could have meant.

use super::report::{Fault, Problem};
use super::tree::{Node, Origin, Table, Value};
use amends_core::lint;

/// Where the tables have names that people chose.
const NAMED: [&str; 2] = ["participants.", "queues."];

/// What reading has found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Mistakes: the configuration cannot be used.
    pub(super) problems: Vec<Problem>,
    /// Variables that look like settings and are none. They do not stop the server: orchestrators of containers
    /// put variables in the environment that begin with a service's name.
    pub(super) unknown_variables: Vec<String>,
    /// Every key that was asked for, with its path; names chosen by people are written `NAME`.
    pub(super) known: Vec<String>,
}

/// A table in the course of being read.
pub(super) struct Section<'f> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    findings: &'f mut Findings,
}

impl<'f> Section<'f> {
    /// The outermost table.
    pub(super) fn root(table: Table, findings: &'f mut Findings) -> Section<'f> {
        Section { path: String::new(), table, known: Vec::new(), findings }
    }

    /// The value of a key, if it is there and can be read.
    pub(super) fn value<T>(&mut self, key: &'static str, read: impl Fn(&Node) -> Result<T, Fault>) -> Option<T> {
        let (_, node) = self.take(key)?;
        match read(&node) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.report(node.origin, &format!("{}{key}", self.path), fault);
                None
            }
        }
    }

    /// The value of a key that must be there; `origin` is where its absence is reported.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        origin: &Origin,
        remedy: &str,
        read: impl Fn(&Node) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.fault(origin, Fault::new(format!("has no `{key}`"), remedy));
            return None;
        }
        self.value(key, read)
    }

    /// The values of two keys that make sense together only; one without the other is a mistake.
    pub(super) fn pair<T>(
        &mut self,
        keys: [&'static str; 2],
        read: impl Fn(&Node) -> Result<T, Fault>,
    ) -> Option<(T, T)> {
        let read = |node: &Node| Ok((read(node)?, node.origin.clone()));
        let lone =
            |key: &str| Fault::new(format!("has no `{key}`"), format!("write both, `{}` and `{}`", keys[0], keys[1]));
        let present = keys.map(|key| self.table.contains_key(key));
        match (self.value(keys[0], read), self.value(keys[1], read)) {
            (Some((first, _)), Some((second, _))) => return Some((first, second)),
            (Some((_, origin)), None) if !present[1] => self.fault(&origin, lone(keys[1])),
            (None, Some((_, origin))) if !present[0] => self.fault(&origin, lone(keys[0])),
            (Some(_) | None, Some(_) | None) => {}
        }
        None
    }

    /// The table under a key; an empty one if it is not there.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'_> {
        let path = format!("{}{key}.", self.path);
        let table = self.take_table(key);
        Section { path, table, known: Vec::new(), findings: self.findings }
    }

    /// The table under a key, with the place of the key; `None` if it is not there.
    pub(super) fn optional_section(&mut self, key: &'static str) -> Option<(Origin, Section<'_>)> {
        let Some((origin, _)) = self.table.get(key) else {
            self.known.push(key);
            return None;
        };
        let origin = origin.clone();
        Some((origin, self.section(key)))
    }

    /// The value of a key that holds a credential, or says where one is: its line is never shown.
    pub(super) fn secret<T>(&mut self, key: &'static str, read: impl Fn(&Node) -> Result<T, Fault>) -> Option<T> {
        self.value(key, |node| read(node).map_err(Fault::hidden))
    }

    /// The tables under a key, by names that people chose. `read` gets each with its name and where that stands.
    pub(super) fn named(&mut self, key: &'static str, mut read: impl FnMut(&str, &Origin, Section<'_>)) {
        for (name, (key_origin, node)) in self.take_table(key) {
            match node.value {
                Value::Table(table) => {
                    let path = format!("{}{key}.{name}.", self.path);
                    read(&name, &key_origin, Section { path, table, known: Vec::new(), findings: self.findings });
                }
                Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Other(_) => {
                    let fault =
                        must_be("a table of settings", &node.value, format!("write [{}{key}.{name}]", self.path));
                    self.report(node.origin, &format!("{}{key}.{name}", self.path), fault);
                }
            }
        }
    }

    /// The entries of a table of credentials: their lines are never shown.
    pub(super) fn secrets<T>(&mut self, key: &'static str, read: impl Fn(&str, &Node) -> Result<T, Fault>) -> Vec<T> {
        let mut values = Vec::new();
        for (name, (_, node)) in self.take_table(key) {
            match read(&name, &node) {
                Ok(value) => values.push(value),
                Err(fault) => self.report(node.origin, &format!("{}{key}.{name}", self.path), fault.hidden()),
            }
        }
        values
    }

    /// Reports a mistake of the whole section, at `origin`.
    pub(super) fn fault(&mut self, origin: &Origin, fault: Fault) {
        let path = self.path.trim_end_matches('.').to_owned();
        self.report(origin.clone(), &path, fault);
    }

    /// Ends the reading: what was not asked for is unknown.
    pub(super) fn finish(mut self) {
        let mut names: Vec<&str> = self.path.split('.').collect();
        if let Some(name) = names.get_mut(1).filter(|_| NAMED.iter().any(|named| self.path.starts_with(named))) {
            *name = "NAME";
        }
        let path = names.join(".");
        self.findings.known.extend(self.known.iter().map(|key| format!("{path}{key}")));
        for (name, (key_origin, node)) in std::mem::take(&mut self.table) {
            self.unknown(&name, key_origin, &node);
        }
    }

    fn unknown(&mut self, name: &str, origin: Origin, node: &Node) {
        if let Some(variable) = variable_of(node) {
            self.findings.unknown_variables.push(variable);
            return;
        }
        let remedy = match lint::nearest(name, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys here are {}", listed(&self.known)),
        };
        let message = format!("there is no key `{}{name}`", self.path);
        self.findings.problems.push(Problem { origin, fault: Fault::new(message, remedy) });
    }

    fn take(&mut self, key: &'static str) -> Option<(Origin, Node)> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn take_table(&mut self, key: &'static str) -> Table {
        match self.take(key) {
            None => Table::new(),
            Some((_, Node { value: Value::Table(table), .. })) => table,
            Some((_, node)) => {
                let path = format!("{}{key}", self.path);
                let fault = must_be("a table", &node.value, format!("write [{path}] and its keys below it"));
                self.report(node.origin, &path, fault);
                Table::new()
            }
        }
    }

    fn report(&mut self, origin: Origin, path: &str, fault: Fault) {
        let message = format!("`{path}` {}", fault.message);
        self.findings.problems.push(Problem { origin, fault: Fault { message, ..fault } });
    }
}

/// The fault of a value that is of another kind than its key takes.
pub(super) fn must_be(wanted: &str, found: &Value, remedy: impl Into<String>) -> Fault {
    Fault::new(format!("must be {wanted}, not {}", found.kind()), remedy)
}

/// The variable that the value, or the first value below it, was set by.
fn variable_of(node: &Node) -> Option<String> {
    match (&node.origin, &node.value) {
        (Origin::Variable(name), _) => Some(name.clone()),
        (Origin::File(_) | Origin::Flag(_), _) => None,
    }
}

fn listed(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    quoted.join(", ")
}
