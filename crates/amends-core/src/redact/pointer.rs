//! JSON pointers (RFC 6901) into a saga. Beyond the standard, `*` stands for every element of a list and every member of an
//! object.
//!
//! A pointer that does not fit what it meets hides more and not less: what it would have to look into and cannot, a text for
//! example, is hidden whole, and a name that meets a list is looked for in each of its elements.

use super::REDACTED;
use serde_json::Value;
use std::fmt;

/// A pointer to values of a saga that are not shown: `/input` or `/steps/NAME/output`, or a part of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    source: String,
    root: Root,
    path: Vec<Token>,
}

/// The value that a pointer begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    Input,
    /// The output of this step, or of every step.
    Output(Token),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Every,
    Named(String),
}

/// A text that is no pointer into a saga.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PointerError {
    /// What is wrong, as one sentence without a full stop.
    pub message: &'static str,
    /// How to mend it.
    pub remedy: &'static str,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// Where it is malformed, or points to something that is neither input nor output.
    pub fn parse(source: &str) -> Result<Pointer, PointerError> {
        let Some(rest) = source.strip_prefix('/') else {
            return Err(PointerError {
                message: "a JSON pointer begins with a slash",
                remedy: "write it as in `/input/card/number`",
            });
        };
        let mut tokens = rest.split('/').map(Token::parse).collect::<Result<Vec<_>, _>>()?.into_iter();
        let root = match (tokens.next(), tokens.as_slice()) {
            (Some(Token::Named(first)), _) if first == "input" => Root::Input,
            (Some(Token::Named(first)), [step, Token::Named(output), ..]) if first == "steps" && output == "output" => {
                let step = step.clone();
                tokens.nth(1);
                Root::Output(step)
            }
            (Some(_) | None, _) => {
                return Err(PointerError {
                    message: "this points to nothing that is redacted",
                    remedy: "point into `/input` or into `/steps/NAME/output`",
                });
            }
        };
        Ok(Pointer { source: source.to_owned(), root, path: tokens.collect() })
    }

    /// The step whose output it points into, if it is one step's.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        match &self.root {
            Root::Output(Token::Named(step)) => Some(step),
            Root::Output(Token::Every) | Root::Input => None,
        }
    }

    pub(super) fn hide_in_input(&self, input: &mut Value) {
        if self.root == Root::Input {
            hide(input, &self.path);
        }
    }

    pub(super) fn hide_in_output(&self, step: &str, output: &mut Value) {
        match &self.root {
            Root::Output(Token::Every) => hide(output, &self.path),
            Root::Output(Token::Named(name)) if name == step => hide(output, &self.path),
            Root::Output(Token::Named(_)) | Root::Input => {}
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Token {
    fn parse(text: &str) -> Result<Token, PointerError> {
        let is_escaped = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        match text {
            "*" => Ok(Token::Every),
            "-" => Err(PointerError {
                message: "`-` is what comes after a list, where nothing is",
                remedy: "write `*` for every element of a list",
            }),
            _ if !is_escaped => Err(PointerError {
                message: "`~` stands alone in this JSON pointer",
                remedy: "write `~0` for a tilde and `~1` for a slash within a name",
            }),
            _ => Ok(Token::Named(text.replace("~1", "/").replace("~0", "~"))),
        }
    }
}

/// Hides what `path` leads to.
fn hide(value: &mut Value, path: &[Token]) {
    let redacted = || Value::String(REDACTED.to_owned());
    let Some((token, rest)) = path.split_first() else {
        if !value.is_null() {
            *value = redacted();
        }
        return;
    };
    match (value, token) {
        (Value::Null, _) => {}
        (Value::Object(fields), Token::Every) => fields.values_mut().for_each(|field| hide(field, rest)),
        (Value::Object(fields), Token::Named(name)) => {
            if let Some(field) = fields.get_mut(name) {
                hide(field, rest);
            }
        }
        (Value::Array(items), Token::Every) => items.iter_mut().for_each(|item| hide(item, rest)),
        (Value::Array(items), Token::Named(name)) => match index(name) {
            Some(index) => items.get_mut(index).into_iter().for_each(|item| hide(item, rest)),
            None => items.iter_mut().for_each(|item| hide(item, path)),
        },
        (other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)), _) => *other = redacted(),
    }
}

/// An index of a list as RFC 6901 writes it: digits without a zero in front.
fn index(name: &str) -> Option<usize> {
    let is_index = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    is_index.then(|| name.parse().ok())?
}
