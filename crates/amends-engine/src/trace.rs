//! Trace context (W3C Trace Context, level 1). Ids are derived, not drawn: every orchestrator that works on a saga
//! gives the same span the same id, so a trace holds together across a crash.

use amends_core::definition::StepIndex;
use amends_core::machine::{Direction, Saga};
use amends_core::retry::spread;
use amends_core::text::hexadecimal;
use uuid::Uuid;

/// The saga's trace id: the caller's, or the saga's own id where it was started outside any trace.
#[must_use]
pub fn trace_id(saga: &Saga) -> [u8; 16] {
    saga.traceparent.as_deref().and_then(parse).map_or(*saga.id.as_bytes(), |(trace, _, _)| trace)
}

/// The span that the saga was started in, if it was started in one.
#[must_use]
pub fn parent_span_id(saga: &Saga) -> Option<[u8; 8]> {
    saga.traceparent.as_deref().and_then(parse).map(|(_, span, _)| span)
}

/// The id of the span that covers the whole saga.
#[must_use]
pub fn saga_span_id(saga: Uuid) -> [u8; 8] {
    derive(saga, 0)
}

/// The id of the span of one call.
#[must_use]
pub fn span_id(saga: Uuid, step: StepIndex, direction: Direction, attempt: u32) -> [u8; 8] {
    let direction = match direction {
        Direction::Action => 1,
        Direction::Compensation => 2,
        Direction::Probe => 3,
    };
    derive(saga, (step as u64) << 40 | direction << 36 | u64::from(attempt))
}

/// The `traceparent` that a call carries. A saga started outside any trace is sampled.
#[must_use]
pub fn traceparent(saga: &Saga, step: StepIndex, direction: Direction, attempt: u32) -> String {
    let flags = saga.traceparent.as_deref().and_then(parse).map_or(1, |(_, _, flags)| flags);
    let (trace, span) = (trace_id(saga), span_id(saga.id, step, direction, attempt));
    ["00", &hexadecimal(&trace), &hexadecimal(&span), &hexadecimal(&[flags])].join("-")
}

/// Reads a `traceparent`; `None` where it is malformed, which by the standard means to begin a new trace.
#[must_use]
pub fn parse(traceparent: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let mut parts = traceparent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let (trace, span, flags) = (unhex(trace)?, unhex(span)?, unhex::<1>(flags)?);
    (trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags[0]))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_lower_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

fn derive(saga: Uuid, place: u64) -> [u8; 8] {
    let (high, low) = saga.as_u64_pair();
    // A span id of zeros is invalid.
    spread(spread(high, low), place).max(1).to_be_bytes()
}
