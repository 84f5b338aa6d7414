//! Text as PostgreSQL can hold it.
//!
//! Its text has no NUL, and a business key may have one. So a NUL is written as `\u{1A}0`, and the escape character itself
//! as `\u{1A}1`: different texts stay different, and text without either, which is nearly all of it, stays as it is.

use std::borrow::Cow;

const ESCAPE: char = '\u{1A}';

/// A text as it is stored.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\0' => stored.extend([ESCAPE, '0']),
            ESCAPE => stored.extend([ESCAPE, '1']),
            other => stored.push(other),
        }
    }
    Cow::Owned(stored)
}

/// A stored text as it was. An escape that is none stands for itself: a person may have written it there.
pub(super) fn read(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = match (character, characters.peek()) {
            (ESCAPE, Some('0')) => Some('\0'),
            (ESCAPE, Some('1')) => Some(ESCAPE),
            _ => None,
        };
        if escaped.is_some() {
            characters.next();
        }
        text.push(escaped.unwrap_or(character));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{read, stored};

    /// Whatever is in it, it comes back, and it holds no NUL on the way.
    #[test]
    fn text_comes_back() {
        for text in ["", "order-1", "a\0b", "\0", "\u{1A}", "\u{1A}0", "\u{1A}\0\u{1A}1\0", "é\0é"] {
            assert!(!stored(text).contains('\0'));
            assert_eq!(read(stored(text).into_owned()), text, "{text:?}");
        }
    }

    /// What differs must differ when stored, or two business keys would be one.
    #[test]
    fn different_texts_are_stored_differently() {
        let texts = ["\0", "\u{1A}0", "\u{1A}", "\u{1A}1", "0", "1"];
        let stored: std::collections::BTreeSet<_> = texts.iter().map(|text| stored(text)).collect();
        assert_eq!(stored.len(), texts.len());
    }
}
