//! JSON into the engine and out of it again, exactly.

#[cfg(test)]
mod tests;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value as Jinja, ValueKind};
use serde_json::{Map, Number, Value};
use std::fmt;
use std::sync::Arc;

/// The nesting of what an expression may produce. An expression can wrap what it reads in a few more lists.
const DEPTH: usize = 128;
/// The least that a value takes as JSON: a digit and a comma.
const ITEM_BYTES: usize = 2;

/// What a rendering may still produce.
pub(super) struct Budget {
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget { bytes }
    }

    /// How much that is, in bytes.
    pub(super) fn left(&self) -> usize {
        self.bytes
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or_else(|| format!("the result is larger than {} bytes", super::OUTPUT_BYTES))?;
        Ok(())
    }
}

/// A list or a map somewhere inside a shared JSON value. It is looked into, never copied: an input may be a
/// megabyte, of which an expression reads one field.
#[derive(Debug)]
pub(super) struct Node {
    root: Arc<Value>,
    path: Vec<Hop>,
}

#[derive(Clone, Debug)]
enum Hop {
    Key(String),
    Index(usize),
}

impl Node {
    /// The value for the engine: itself if it is a list or a map, else a copy.
    pub(super) fn of(root: &Arc<Value>) -> Jinja {
        wrap(root, root, &[], None)
    }

    fn get(&self) -> &Value {
        self.path
            .iter()
            .try_fold(&*self.root, |value, hop| match hop {
                Hop::Key(key) => value.get(key),
                Hop::Index(index) => value.get(index),
            })
            .expect("the path was walked when the node was made, and the value cannot change")
    }
}

fn wrap(root: &Arc<Value>, value: &Value, path: &[Hop], hop: Option<Hop>) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(truth) => Jinja::from(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), _, _) => Jinja::from(whole),
            (None, Some(whole), _) => Jinja::from(whole),
            (None, None, Some(float)) => Jinja::from(float),
            (None, None, None) => Jinja::from(()),
        },
        Value::String(text) => Jinja::from(text.as_str()),
        Value::Array(_) | Value::Object(_) => {
            Jinja::from_object(Node { root: root.clone(), path: path.iter().cloned().chain(hop).collect() })
        }
    }
}

impl Object for Node {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.get().is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let (hop, value) = match self.get() {
            Value::Object(entries) => {
                let key = key.as_str()?;
                (Hop::Key(key.to_owned()), entries.get(key)?)
            }
            Value::Array(items) => {
                let index = key.as_usize()?;
                (Hop::Index(index), items.get(index)?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        Some(wrap(&self.root, value, &self.path, Some(hop)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.get() {
            Value::Object(entries) => Enumerator::Values(entries.keys().map(|key| Jinja::from(key.as_str())).collect()),
            Value::Array(items) => Enumerator::Seq(items.len()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Enumerator::NonEnumerable,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        match self.get() {
            Value::Object(entries) => Some(entries.len()),
            Value::Array(items) => Some(items.len()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// A value of the engine as JSON; the size of that is taken from the budget.
pub(super) fn to_json(value: &Jinja, budget: &mut Budget) -> Result<Value, String> {
    if let Some(node) = value.downcast_object_ref::<Node>() {
        budget.take(size(node.get(), budget.bytes))?;
        return Ok(node.get().clone());
    }
    // What is built here is bounded roughly while it is built and exactly when it is there.
    let json = convert(value, &mut Budget { bytes: budget.bytes }, 0)?;
    budget.take(size(&json, budget.bytes))?;
    Ok(json)
}

/// The length of a value as JSON, or something greater than `limit` if that is exceeded.
pub(super) fn size(value: &Value, limit: usize) -> usize {
    struct Count {
        bytes: usize,
        limit: usize,
    }
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.bytes += text.len();
            if self.bytes > self.limit { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut count = Count { bytes: 0, limit };
    match fmt::write(&mut count, format_args!("{value}")) {
        Ok(()) => count.bytes,
        Err(fmt::Error) => limit + 1,
    }
}

fn convert(value: &Jinja, budget: &mut Budget, depth: usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err(format!("the result is nested more than {DEPTH} deep"));
    }
    if let Some(node) = value.downcast_object_ref::<Node>() {
        budget.take(size(node.get(), budget.bytes))?;
        return Ok(node.get().clone());
    }
    budget.take(ITEM_BYTES)?;
    match value.kind() {
        ValueKind::Undefined => Err("it is undefined".into()),
        ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::Number => number(value),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            budget.take(text.len())?;
            Ok(Value::String(text.to_owned()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| error.to_string())?;
            let items = items.map(|item| convert(&item, budget, depth + 1));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        ValueKind::Map => {
            let mut entries = Map::new();
            for key in value.try_iter().map_err(|error| error.to_string())? {
                let item = value.get_item(&key).map_err(|error| error.to_string())?;
                let name = key.as_str().ok_or_else(|| format!("the key `{key}` of a map is not text"))?;
                budget.take(name.len())?;
                entries.insert(name.to_owned(), convert(&item, budget, depth + 1)?);
            }
            Ok(Value::Object(entries))
        }
        // What an iterator could not go on with arrives here as an invalid value, which says why.
        other => match value.clone().try_iter() {
            Err(error) => Err(error.to_string()),
            Ok(_) => Err(format!("a value of the type {other} is no JSON")),
        },
    }
}

fn number(value: &Jinja) -> Result<Value, String> {
    if value.is_integer() {
        let whole = u64::try_from(value.clone()).map(Number::from);
        return whole
            .or_else(|_| i64::try_from(value.clone()).map(Number::from))
            .map(Value::Number)
            .map_err(|_| format!("the number {value} does not fit in 64 bits"));
    }
    let float = f64::try_from(value.clone()).map_err(|error| error.to_string())?;
    Number::from_f64(float).map(Value::Number).ok_or_else(|| "the result is not a finite number".into())
}

/// A value as it stands in a text. Null has no text: it would name one and the same thing for everything that is
/// missing.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Err("it is null, which has no text; give it one with `| default('…')`".into()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Ok(value.to_string()),
    }
}

/// A value in words, for messages.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let short: String = text.chars().take(40).collect();
            format!("the text {short:?}{}", if short.len() < text.len() { " …" } else { "" })
        }
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
    }
}
