//! This orchestrator's share in the rate of compensations that all on the same store have together. A plain value.

use amends_core::time::Timestamp;
use amends_store::PermitRequest;

#[cfg(test)]
mod tests;

/// For how long permits can be used, counted from the asking.
const USE_WITHIN_MS: u64 = 50;
/// And at most, where the store takes so long to answer that they would be worth nothing when they come.
const USE_WITHIN_MAX_MS: u64 = 2_000;
/// How long to wait before asking again when there were none.
const NONE_MS: u64 = 25;

/// See the module.
#[derive(Debug)]
pub(super) struct Permits {
    per_second: u32,
    use_within_ms: u64,
    left: usize,
    /// Until when those can be used.
    until: Timestamp,
    asking: Asking,
}

#[derive(Debug)]
enum Asking {
    At(Timestamp),
    OnItsWay { since: Timestamp },
}

impl Permits {
    pub(super) fn new(per_second: u32, now: Timestamp) -> Permits {
        Permits { per_second, use_within_ms: USE_WITHIN_MS, left: 0, until: now, asking: Asking::At(now) }
    }

    /// How many there are now.
    pub(super) fn left(&self, now: Timestamp) -> usize {
        if now < self.until { self.left } else { 0 }
    }

    /// One is used.
    pub(super) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// What to ask for now, where so many are wanted.
    pub(super) fn ask(&mut self, wanted: usize, now: Timestamp) -> Option<PermitRequest> {
        let is_time = matches!(self.asking, Asking::At(at) if at <= now);
        if wanted == 0 || self.left(now) > 0 || !is_time {
            return None;
        }
        self.asking = Asking::OnItsWay { since: now };
        Some(PermitRequest { wanted, per_second: self.per_second, use_within_ms: self.use_within_ms })
    }

    /// So many were granted; none, where that could not be asked.
    pub(super) fn granted(&mut self, count: usize, now: Timestamp) {
        let Asking::OnItsWay { since } = self.asking else { return };
        self.left = count;
        self.until = since.plus(self.use_within_ms);
        self.asking = Asking::At(if count == 0 { now.plus(NONE_MS) } else { now });
        // A longer time makes the rate that all can have a little lower.
        self.use_within_ms = (4 * now.since(since)).clamp(USE_WITHIN_MS, USE_WITHIN_MAX_MS);
    }

    /// When there may be some, unless that is being asked.
    pub(super) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.asking {
            _ if self.left(now) > 0 => Some(now),
            Asking::At(at) => Some(at),
            Asking::OnItsWay { .. } => None,
        }
    }
}
