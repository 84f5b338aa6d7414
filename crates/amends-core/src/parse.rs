//! Reads a definition's source, in YAML or JSON, into a draft: everything the author wrote, with the places.
//!
//! There are three stages. `document` reads the text into a tree that keeps positions, and takes the part of YAML
//! that is a notation for JSON: no anchors, no aliases, no tags, one document. The reader turns the tree into a
//! draft and reports what does not belong there. Judging the draft as a whole (graph, kinds, templates, time) is
//! [`crate::lint`]'s business.
//!
//! Reading goes on after a problem wherever what follows can be understood without it.

mod call;
mod document;
mod draft;
mod fields;
mod json;
mod reader;
mod redact;
mod retry;
mod scalar;
mod step;
mod template;
mod tree;
mod yaml;

use crate::lint::{Diagnostic, Problem};

pub(crate) use draft::{Draft, DraftStep, DraftWork, Located, Role, Undo};

/// Reads a definition as far as it can be read. No draft means that there is nothing to judge.
pub(crate) fn read(source: &str) -> (Option<Draft>, Vec<Problem>) {
    let mut problems = Vec::new();
    let draft = document::read(source, &mut problems).and_then(|tree| reader::read(source, &tree, &mut problems));
    (draft, problems)
}

/// The document as compact JSON, its keys in the order written: what a version's hash is computed from, and the same
/// for YAML and JSON that say the same thing.
///
/// # Errors
/// The problems that keep the text from being read as YAML or JSON at all.
pub fn canonical(source: &str) -> Result<String, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    match document::read(source, &mut problems) {
        Some(tree) if problems.is_empty() => Ok(tree.canonical()),
        Some(_) | None => Err(crate::lint::diagnose(source, problems)),
    }
}
