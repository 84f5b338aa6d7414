//! JSON from outside, read strictly: nothing in it is dropped, guessed or rounded without a word.
//!
//! `serde_json` alone keeps the last of two equal keys and turns a whole number of more than 64 bits into the nearest
//! float. Either can make two orders look like one, so both are refused here.

use super::problem::{self, ApiProblem};
use amends_core::limits::JSON_DEPTH;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// Reads any JSON value.
///
/// # Errors
/// A problem that says where the text is wrong.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, ApiProblem> {
    let text = text(bytes)?;
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, fault: &fault }.deserialize(&mut deserializer);
    value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| explain(&error, fault.take()))
}

/// Reads an object of JSON with the fields of `T`.
///
/// # Errors
/// As [`read`], and where it is no object, or a field is missing, unknown or of another type.
pub(crate) fn read_as<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiProblem> {
    // `serde` would take a list for the fields in their order, and an empty one for their defaults.
    if !read(bytes)?.is_object() {
        return Err(ApiProblem::new(problem::BAD_BODY, "the body is no object; write its fields in braces"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        ApiProblem::new(problem::BAD_BODY, format!("the body does not have the right fields: {error}"))
    })
}

/// The bytes as text.
///
/// # Errors
/// A problem that says from which byte on they are not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, ApiProblem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("the body is not UTF-8 from byte {} on; encode it as UTF-8", error.valid_up_to() + 1);
        ApiProblem::new(problem::NOT_UTF8, detail)
    })
}

/// What is wrong with a text that is JSON otherwise.
enum Fault {
    TooDeep,
    Duplicate(String),
    Inexact,
}

fn explain(error: &serde_json::Error, fault: Option<Fault>) -> ApiProblem {
    let place = format!("line {}, column {}", error.line(), error.column());
    match fault {
        None => {
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            ApiProblem::new(problem::MALFORMED_JSON, format!("the body is not JSON: {said} ({place})"))
        }
        Some(Fault::TooDeep) => {
            let detail = format!("the JSON is nested deeper than {JSON_DEPTH} levels ({place}); flatten it");
            ApiProblem::new(problem::TOO_DEEP, detail)
        }
        Some(Fault::Duplicate(key)) => {
            let detail = format!("the key `{key}` is given twice in one object ({place}); keep one of them");
            ApiProblem::new(problem::DUPLICATE_KEY, detail)
        }
        Some(Fault::Inexact) => {
            let detail = format!("a number is beyond 64 bits and cannot be kept exactly ({place}); send it as text");
            ApiProblem::new(problem::INEXACT_NUMBER, detail)
        }
    }
}

/// Builds a value and looks at what `serde_json` lets pass.
#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: usize,
    fault: &'f Cell<Option<Fault>>,
}

impl Strict<'_> {
    /// Enters an array or an object.
    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth == JSON_DEPTH {
            return Err(self.refuse(Fault::TooDeep));
        }
        Ok(Strict { depth: self.depth + 1, ..self })
    }

    fn refuse<E: Error>(self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // From 2^63 on a float has no fraction, and what was written as a whole number has arrived here rounded.
        if value.abs() >= 9_223_372_036_854_775_808.0 {
            return Err(self.refuse(Fault::Inexact));
        }
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(self.refuse(Fault::Duplicate(name)));
            }
            let value = access.next_value_seed(below)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}
