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

/// The innermost cause of an error: the part that says something ("connection refused").
#[must_use]
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
