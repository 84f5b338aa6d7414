//! Writing results.

use super::failure::Failure;
use serde::Serialize;
use std::io::Write;

/// Writes text to standard output and ends the line. Colours are taken out where nobody could see them.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut output = anstream::stdout().lock();
    output.write_all(text.trim_end_matches('\n').as_bytes())?;
    output.write_all(b"\n")?;
    output.flush()?;
    Ok(())
}

/// Writes a value as JSON, for programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    print(&text)
}

/// Writes a value as JSON on one line, for programs that read as it comes.
pub(super) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(anyhow::Error::from)?;
    print(&text)
}

/// Text from elsewhere without what a terminal would obey: a participant's error message could otherwise move the
/// cursor, change the window's title or hide what stands before it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
