//! Sentences without what others put into them.
//!
//! What a sentence begins with is Amends's own, because the machine and the engine make it. What is listed here is known to hold
//! names, numbers and durations and nothing else of anybody's. So a sentence that is not listed is not shown, and a new one is
//! hidden until somebody has looked at it.

use super::REDACTED;
use std::borrow::Cow;

/// Beginnings behind which Amends goes on. `{}` is one word.
const HEADS: &[&str] = &[
    "step {} had no effect: ",
    "step {} was given up: ",
    "the compensation of {} was given up: ",
    "nobody can say whether step {} happened: ",
    "step {} did not come about: ",
    "the action cannot be sent: ",
    "the compensation cannot be sent: ",
    "the probe cannot be sent: ",
    "the probe cannot be judged: ",
    "the key cannot be made from the input: ",
    "`dedupe` cannot be rendered from the input: ",
    "the connection broke: ",
    "answered {}, then the connection broke: ",
];

/// Beginnings behind which somebody else's words come, or values.
const QUOTES: &[&str] = &[
    "answered {}: ",
    "refused: ",
    "not done: ",
    "failed from outside: ",
    "a key has 1 to {} characters, and the input makes ",
];

/// Beginnings behind which nothing comes that is to be hidden: what an operator wrote for others to read, and what is wrong with
/// what is stored, which is told without its values.
const SHOWN: &[&str] = &["cancelled by ", "turned around by ", "the saga cannot be read: "];

/// Whole sentences.
const WHOLE: &[&str] = &[
    "answered {}",
    "answered {} (the answer is longer than {} bytes and is not kept)",
    "answered {} (the answer is nested deeper than {} and is not kept)",
    "no answer",
    "no answer within {} ms",
    "no answer came within {}",
    "no connection within {} ms",
    "no connection within {} s",
    "{}: Connection refused (os error {})",
    "Connection refused (os error {})",
    "Connection reset by peer (os error {})",
    "connection closed before message completed",
    "participant `{}` is not configured; add [participants.{}] with its url",
    "nobody completed it in time",
    "the participant says that it did not happen",
    "it was not sent, because the saga was held or turned back first",
    "an attempt was not answered",
    "the orchestrator stopped before an answer was recorded",
    "it renders another request than the one that was tried before",
    "it renders another request than the one that was decided on, so it is not sent",
    "its message was received {} times without a result",
    "the definition has no compensation for it, so it is left for a person to undo",
    "the deadline of {} passed",
    "the deadline of {} passed before step {} was done",
    "the key made from the input contains a control character; a key is one line of text",
];

/// What comes after an expression that has no value. The expression before it is the definition's.
const NOT_RENDERED: &str = "` cannot be rendered: ";

/// What Amends says itself in a sentence of the machine's, with [`REDACTED`] for the rest.
#[must_use]
pub fn own_words(text: &str) -> Cow<'_, str> {
    let mut rest = text;
    while let Some(after) = HEADS.iter().find_map(|head| after(head, rest)) {
        rest = after;
    }
    let is_whole = WHOLE.iter().any(|whole| after(whole, rest) == Some(""));
    if is_whole || SHOWN.iter().any(|shown| rest.starts_with(shown)) {
        return Cow::Borrowed(text);
    }
    let quoted = QUOTES.iter().find_map(|quote| after(quote, rest)).or_else(|| after_expression(rest)).unwrap_or(rest);
    Cow::Owned(format!("{}{REDACTED}", &text[..text.len() - quoted.len()]))
}

/// What comes after a pattern; `None` where the text does not begin with it.
fn after<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
    let mut parts = pattern.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    for part in parts {
        let is_word = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
        let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        let word = rest[..end].trim_end_matches(':');
        if word.is_empty() {
            return None;
        }
        rest = rest[word.len()..].strip_prefix(part)?;
    }
    Some(rest)
}

fn after_expression(text: &str) -> Option<&str> {
    let (_, after) = text.strip_prefix('`')?.split_once(NOT_RENDERED)?;
    Some(after)
}
