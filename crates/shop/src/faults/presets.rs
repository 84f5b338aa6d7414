//! How unreliable a service is, in one word. No preset crashes a service: nothing would start it again.

use super::{Direction, Fault, FaultKind};
use crate::Service;

/// Longer than the second that the definition gives each call.
const HOLD_MS: u64 = 1500;

/// The faults of a service by a preset's name: `none`, `some` (a few in a hundred) or `many` (about every third request).
#[must_use]
pub fn preset(name: &str, service: Service) -> Option<Vec<Fault>> {
    let (refusals, trouble) = match name {
        "none" => return Some(Vec::new()),
        "some" => (0.04, 0.02),
        "many" => (0.12, 0.07),
        _ => return None,
    };
    let mut faults = vec![
        Fault::new(FaultKind::Latency { min_ms: 20, max_ms: 200 }, trouble * 2.0),
        Fault::new(FaultKind::Error { status: 500 }, trouble / 2.0),
        Fault::new(FaultKind::Error { status: 503 }, trouble),
        Fault::new(FaultKind::RateLimit { retry_after_s: 1 }, trouble / 2.0),
        Fault::new(FaultKind::TimeoutAfterEffect { hold_ms: HOLD_MS }, trouble / 2.0),
        Fault::new(FaultKind::LostResponse, trouble),
    ];
    // Only what may still fail is refused: a saga that only goes forward has no use for a refusal.
    let refusal = match service {
        Service::Payment => Some((FaultKind::Decline, "/charges")),
        Service::Inventory => Some((FaultKind::OutOfStock, "/reservations")),
        Service::Order | Service::Shipping | Service::Notification | Service::Analytics => None,
    };
    faults.extend(refusal.map(|(refusal, path)| Fault {
        direction: Some(Direction::Action),
        path: Some(path.to_owned()),
        ..Fault::new(refusal, refusals)
    }));
    Some(faults)
}
