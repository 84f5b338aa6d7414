//! What makes two starts the same: the business key, the digest of the input, and the text of `dedupe`.

use crate::definition::Definition;
use crate::expression::Scope;
use crate::limits;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// What a start is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The business key.
    pub key: String,
    /// Digest of the input: the same key with another one is a mistake.
    pub fingerprint: String,
    /// Digest of what `dedupe` renders, if the definition dedupes.
    pub dedupe: Option<String>,
}

/// Finds out what a start with this input is known by.
///
/// # Errors
/// A sentence for the caller, where the key cannot be rendered or is out of bounds.
pub fn identify(definition: &Definition, input: &Arc<Value>) -> Result<Identity, String> {
    let scope = Scope { input: input.clone(), ..Scope::default() };
    let key = definition
        .key
        .render_text(&scope)
        .map_err(|error| format!("the key cannot be made from the input: {error}"))?;
    let bound = limits::KEY_CHARS;
    if key.is_empty() || key.chars().count() > bound {
        return Err(format!("a key has 1 to {bound} characters, and the input makes `{key}`"));
    }
    if key.chars().any(char::is_control) {
        return Err("the key made from the input contains a control character; a key is one line of text".into());
    }
    let dedupe = match &definition.dedupe {
        None => None,
        Some(dedupe) => {
            let text = dedupe.by.render_text(&scope);
            let text = text.map_err(|error| format!("`dedupe` cannot be rendered from the input: {error}"))?;
            Some(hex(Sha256::new().chain_update(text)))
        }
    };
    Ok(Identity { key, fingerprint: fingerprint(input), dedupe })
}

/// A digest of a JSON value that does not depend on the order of its keys.
#[must_use]
pub fn fingerprint(value: &Value) -> String {
    let mut hash = Sha256::new();
    absorb(&mut hash, value);
    hex(hash)
}

fn absorb(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => hash.update(format!("={value}")),
        Value::String(text) => {
            hash.update([b'"']);
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        Value::Array(items) => {
            hash.update([b'[']);
            hash.update(items.len().to_le_bytes());
            items.iter().for_each(|item| absorb(hash, item));
        }
        Value::Object(fields) => {
            hash.update([b'{']);
            hash.update(fields.len().to_le_bytes());
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            for (name, field) in fields {
                hash.update(name.len().to_le_bytes());
                hash.update(name);
                absorb(hash, field);
            }
        }
    }
}

fn hex(hash: Sha256) -> String {
    crate::text::hexadecimal(&hash.finalize()[..16])
}
