//! What a run has met. A run that never met a fault has shown nothing about it.

use std::collections::BTreeMap;

/// How often what was met.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// What a run of many seeds must have met to count.
pub const REQUIRED: &[&str] = &[
    "saga completed",
    "saga compensated",
    "saga given up by the machine and settled by a person",
    "dead letter: action",
    "dead letter: probe",
    "dead letter: compensation",
    "dead letter: unreadable saga",
    "recovered: an action without an answer",
    "recovered: a probe without an answer",
    "took over a call in flight",
    "took over a frozen process that came back",
    "stale write refused",
    "duplicate received",
    "tombstone left",
    "tombstone met",
    "action in flight when its compensation came",
    "request landed late",
    "repeated start",
    "key reused with another input",
    "double click",
    "start refused by a full store",
    "store unavailable",
    "commit written, its answer lost",
    "commit not written, its answer lost",
    "commit written by a ghost",
    "claim done, its answer lost",
    "acquire done, its answer lost",
    "receive done, its answer lost",
    "killed before commit",
    "killed after commit",
    "killed before commit again",
    "killed after commit again",
    "killed before claim",
    "killed after claim",
    "killed before acquire",
    "killed after acquire",
    "killed before receive",
    "killed after receive",
    "killed before call",
    "killed after call",
    "killed before reply",
    "killed after reply",
    "killed while recovering",
    "stopped in order",
    "sent: an action",
    "sent: a compensation",
    "a message delivered twice",
    "a message that nobody received",
    "a message received after its time",
    "an answer that nobody waited for",
    "the rate of compensations was shared",
    "paused",
    "resumed",
    "cancelled",
    "completed a wait",
    "failed a wait",
    "settled: retry",
    "settled: done",
    "settled: undone",
    "settled: skip",
    "settled: edit",
    "settled: turn around",
    "clock wrong by an hour",
];

impl Coverage {
    /// Notes that something was met.
    pub(crate) fn met(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Coverage) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    /// What was met how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, times)| (*what, *times))
    }

    /// What should have been met and was not.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.iter().copied().filter(|what| !self.0.contains_key(what)).collect()
    }
}
