//! Bytes, names and errors as they stand in a message or a key.

#[cfg(test)]
mod tests;

/// The longest that a text of somebody else's is repeated in a message, in characters.
const SHORT_CHARS: usize = 80;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hexadecimal.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = vec![0; 2 * bytes.len()];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    String::from_utf8(digits).expect("digits are ASCII")
}

/// What somebody wrote, cut to a length that a message can bear.
#[must_use]
pub fn shortened(text: &str) -> String {
    let short: String = text.chars().take(SHORT_CHARS).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// A message without what differs from case to case: quotations, and words with a digit in them, become `#`.
#[must_use]
pub fn without_particulars(text: &str) -> String {
    let mut kept = String::new();
    let mut quote = None;
    for word in text.split_inclusive(char::is_whitespace) {
        let was_quoted = quote.is_some();
        for character in word.chars() {
            match quote {
                Some(open) if open == character => quote = None,
                None if matches!(character, '`' | '"') => quote = Some(character),
                Some(_) | None => {}
            }
        }
        let is_particular = was_quoted || word.contains(|c: char| c.is_ascii_digit() || matches!(c, '`' | '"'));
        match is_particular {
            true if kept.ends_with("# ") => {}
            true => kept.push_str("# "),
            false => kept.push_str(word),
        }
    }
    kept.trim_end().to_owned()
}

/// The innermost cause of an error: the part that says something ("connection refused").
#[must_use]
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
