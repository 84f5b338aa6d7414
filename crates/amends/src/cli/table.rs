//! Tables whose columns are aligned whatever stands in them, and whose cells can have colours.

use super::output::plain;
use anstyle::Style;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// A cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell whose text has a style.
    pub(super) fn styled(text: impl AsRef<str>, style: Style) -> Cell {
        Cell { text: plain(text.as_ref()), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::styled(text, Style::new())
    }
}

/// Lays rows out below a header. Each line begins with `indent` blanks; a column in which nothing stands is left out.
pub(super) fn lay_out(header: &[&str], rows: &[Vec<Cell>], indent: usize) -> String {
    let used: Vec<usize> =
        (0..header.len()).filter(|column| rows.iter().any(|row| !row[*column].text.is_empty())).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].text.width());
        cells.chain([header[column].width()]).max().unwrap_or_default()
    };
    let head: Vec<Cell> = header.iter().map(|title| Cell::styled(title, Style::new().dimmed())).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = " ".repeat(indent);
        // Blanks are owed until something follows them, so that no line ends in any.
        let mut owed = 0;
        for &column in &used {
            let Cell { text, style } = &row[column];
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed));
                owed = 0;
                let _ = write!(line, "{style}{text}{style:#}");
            }
            owed += width(column) - text.width() + 2;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
