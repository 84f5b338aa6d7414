//! Reading `retry`.

use super::draft::Located;
use super::fields::Shape;
use super::reader::Reader;
use super::tree::{Entry, Value};
use crate::lint::{Problem, codes};
use crate::retry::RetryPolicy;
use crate::time::format_duration;
use std::ops::Range;

const RETRY: Shape = Shape { what: "`retry`", keys: &["attempts", "initial", "factor", "max", "total"] };
/// More attempts than this are no plan any more.
const ATTEMPTS: u32 = 10_000;
/// A larger factor is at its highest ceiling after a step or two anyway.
const FACTOR: f64 = 100.0;

/// Reads a policy; what it does not say comes from `base`. None if something in it makes no sense.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry, base: RetryPolicy) -> Option<RetryPolicy> {
    let fields = reader.fields(&entry.value, &RETRY)?;
    let attempts = fields.get("attempts").map(|field| attempts(reader, field));
    let factor = fields.get("factor").map(|field| factor(reader, field));
    let initial = fields.get("initial").map(|field| reader.duration(field));
    let max = fields.get("max").map(|field| reader.duration(field));
    let total = fields.get("total").map(|field| reader.duration(field));
    let ms = |written: &Option<Option<Located<u64>>>, base: u64| match written {
        Some(written) => written.as_ref().map(|written| written.value),
        None => Some(base),
    };
    let policy = RetryPolicy {
        attempts: attempts.unwrap_or(Some(base.attempts))?,
        initial_ms: ms(&initial, base.initial_ms)?,
        factor: factor.unwrap_or(Some(base.factor))?,
        max_ms: ms(&max, base.max_ms)?,
        total_ms: ms(&total, base.total_ms)?,
    };
    if policy.initial_ms > policy.max_ms {
        let span = [&initial, &max].into_iter().flatten().flatten().next().map(|written| written.span.clone());
        let (initial, max) = (format_duration(policy.initial_ms), format_duration(policy.max_ms));
        reader.report(nonsense(
            span.unwrap_or_else(|| entry.key_span.clone()),
            format!("the first delay, {initial}, is longer than the longest, {max}"),
            "make `initial` at most as long as `max`; the one that is not written here comes from the defaults",
        ));
        return None;
    }
    Some(policy)
}

fn attempts(reader: &mut Reader<'_>, entry: &Entry) -> Option<u32> {
    let Value::Number(number) = &entry.value.value else {
        reader.wrong_type(&entry.value, "`attempts` is a whole number", "write how many attempts there are in all");
        return None;
    };
    let attempts = number.as_u64().and_then(|whole| u32::try_from(whole).ok());
    match attempts.filter(|attempts| (1..=ATTEMPTS).contains(attempts)) {
        Some(attempts) => Some(attempts),
        None => {
            reader.report(nonsense(
                reader.token(&entry.value),
                format!("`attempts` must be a whole number from 1 to {ATTEMPTS}, the first attempt included"),
                "write 1 to try once and not again",
            ));
            None
        }
    }
}

fn factor(reader: &mut Reader<'_>, entry: &Entry) -> Option<f64> {
    let Value::Number(number) = &entry.value.value else {
        reader.wrong_type(&entry.value, "`factor` is a number", "write what the delay is multiplied by, such as 2");
        return None;
    };
    match number.as_f64().filter(|factor| (1.0..=FACTOR).contains(factor)) {
        Some(factor) => Some(factor),
        None => {
            reader.report(nonsense(
                reader.token(&entry.value),
                format!("`factor` must be between 1 and {FACTOR}: delays do not shrink"),
                "write 1 for delays that stay the same, or 2 for delays that double",
            ));
            None
        }
    }
}

fn nonsense(span: Range<usize>, message: String, remedy: &str) -> Problem {
    Problem { code: codes::BAD_RETRY, span, message, remedy: remedy.into(), related: Vec::new() }
}
