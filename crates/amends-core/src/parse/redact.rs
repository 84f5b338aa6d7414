//! Reading `redact`.

use super::draft::Located;
use super::reader::Reader;
use super::tree::{Entry, Value};
use crate::limits;
use crate::lint::{Problem, codes};
use crate::redact::Pointer;

/// Reads the list of pointers; those that are none are reported.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Vec<Located<Pointer>> {
    const REMEDY: &str = "write a list of JSON pointers, such as [\"/input/card/number\"]";
    let Value::List(items) = &entry.value.value else {
        reader.wrong_type(&entry.value, "`redact` is a list of JSON pointers", REMEDY);
        return Vec::new();
    };
    if let Some(extra) = items.get(limits::POINTERS) {
        let span = reader.token(extra);
        reader.report(Problem {
            code: codes::TOO_MANY_POINTERS,
            span,
            message: format!("`redact` has at most {} pointers, and this has {}", limits::POINTERS, items.len()),
            remedy: "point to what several of them have in common".into(),
            related: Vec::new(),
        });
    }
    let mut pointers = Vec::new();
    for item in items.iter().take(limits::POINTERS) {
        let span = reader.token(item);
        let Value::Text(text) = &item.value else {
            reader.wrong_type(item, "a JSON pointer is text", REMEDY);
            continue;
        };
        match Pointer::parse(text) {
            Ok(value) => pointers.push(Located { value, span }),
            Err(error) => reader.report(Problem {
                code: codes::BAD_POINTER,
                span,
                message: error.message.into(),
                remedy: error.remedy.into(),
                related: Vec::new(),
            }),
        }
    }
    pointers
}
