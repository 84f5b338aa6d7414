//! The configuration as a tree in which every value knows where it was written: in the file, in the environment,
//! or on the command line. What comes later lies over what came before.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// In the file, at these bytes.
    File(Range<usize>),
    /// In this environment variable.
    Variable(String),
    /// Behind this flag.
    Flag(&'static str),
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value, as far as the configuration knows any.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Node>),
    Table(Table),
    /// Something that no key takes; this is what it is called.
    Other(&'static str),
}

/// The entries of a table; with each value goes the place of its key.
pub(super) type Table = BTreeMap<String, (Origin, Node)>;

/// A mistake in the TOML itself.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

/// Reads TOML.
pub(super) fn parse(source: &str) -> Result<Table, Vec<SyntaxError>> {
    let (table, errors) = DeTable::parse_recoverable(source);
    if errors.is_empty() {
        return Ok(convert_table(table.get_ref()));
    }
    let located = errors.iter().map(|error| SyntaxError {
        span: error.span().unwrap_or(source.len()..source.len()),
        message: error.message().to_owned(),
    });
    Err(located.collect())
}

/// Puts a text at a path, over whatever is there.
///
/// # Errors
/// Names the part of the path that is a value and so has nothing below it.
pub(super) fn set(table: &mut Table, path: &[String], text: &str, origin: &Origin) -> Result<(), String> {
    let [name, rest @ ..] = path else { return Ok(()) };
    let name = spelling(table, name);
    if rest.is_empty() {
        let node = Node { origin: origin.clone(), value: Value::Text(text.to_owned()) };
        table.insert(name, (origin.clone(), node));
        return Ok(());
    }
    let empty = || Node { origin: origin.clone(), value: Value::Table(Table::new()) };
    let (_, node) = table.entry(name.clone()).or_insert_with(|| (origin.clone(), empty()));
    match &mut node.value {
        Value::Table(below) => set(below, rest, text, origin),
        Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Other(_) => Err(name),
    }
}

/// The key that a part of a variable's name stands for. A variable cannot have a dash in it, so an underscore also
/// stands for the dash of a key that is there.
fn spelling(table: &Table, name: &str) -> String {
    let same = |key: &&String| key.replace('-', "_") == name;
    if table.contains_key(name) {
        return name.to_owned();
    }
    table.keys().find(same).cloned().unwrap_or_else(|| name.to_owned())
}

fn convert_table(table: &DeTable<'_>) -> Table {
    let entries = table.iter().map(|(key, value)| {
        let node = Node { origin: Origin::File(value.span()), value: convert(value.get_ref()) };
        (key.get_ref().to_string(), (Origin::File(key.span()), node))
    });
    entries.collect()
}

fn convert(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Value::Other("a number too large"), Value::Integer),
        DeValue::Array(items) => {
            let nodes =
                items.iter().map(|item| Node { origin: Origin::File(item.span()), value: convert(item.get_ref()) });
            Value::List(nodes.collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table)),
        DeValue::Float(_) => Value::Other("a decimal number"),
        DeValue::Boolean(_) => Value::Other("true or false"),
        DeValue::Datetime(_) => Value::Other("a date"),
    }
}

impl Value {
    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a number",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(_) => f.write_str("the file"),
            Origin::Variable(name) => write!(f, "the environment variable {name}"),
            Origin::Flag(name) => write!(f, "{name}"),
        }
    }
}
