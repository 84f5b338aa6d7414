//! Diagnostics as people read them in a terminal.

use super::codes::{self, Severity};
use super::{Diagnostic, floor_char};
use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use std::ops::Range;

/// Shows the problems in their source, the way a compiler does. `colour` is for terminals.
#[must_use]
pub fn render(source: &str, file_name: &str, diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    let reports: Vec<String> =
        diagnostics.iter().map(|diagnostic| renderer.render(&[group(source, file_name, diagnostic)])).collect();
    reports.join("\n\n")
}

fn group<'a>(source: &'a str, file_name: &'a str, diagnostic: &'a Diagnostic) -> annotate_snippets::Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let label = codes::find(diagnostic.code).map(|code| code.label);
    let related = diagnostic
        .related
        .iter()
        .map(|(span, label)| AnnotationKind::Context.span(within(source, span)).label(label.as_str()));
    let primary: Annotation<'a> = AnnotationKind::Primary.span(within(source, &diagnostic.span)).label(label);
    level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code)
        .element(Snippet::source(source).path(file_name).annotation(primary).annotations(related))
        .element(Level::HELP.message(diagnostic.remedy.as_str()))
}

/// The span as the renderer can show it: diagnostics are data, and may be shown beside another source than theirs.
fn within(source: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor_char(source, span.start);
    start..floor_char(source, span.end).max(start)
}
