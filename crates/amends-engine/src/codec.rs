//! Events as bytes: those of one commit as a JSON array, so that a person with nothing but a database client can read a
//! saga's history, and an older program can at least show what a newer one wrote.

use crate::snapshot::History;
use amends_core::machine::Event;
use amends_core::time::Timestamp;
use amends_store::StoredEvents;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use std::fmt;

/// Encodes what one commit adds; `None` where that is nothing.
pub(crate) fn encode(at: Timestamp, events: &[Event]) -> Option<StoredEvents> {
    if events.is_empty() {
        return None;
    }
    let body = serde_json::to_vec(events).expect("an event is plain data with text keys");
    Some(StoredEvents { count: events.len() as u64, at, body })
}

/// Decodes a history.
pub(crate) fn decode(stored: &[StoredEvents]) -> Result<History, String> {
    let mut history = History::new();
    for StoredEvents { count, at, body } in stored {
        let before = history.len();
        let mut json = serde_json::Deserializer::from_slice(body);
        json.deserialize_seq(Appended { history: &mut history, at: *at })
            .and_then(|()| json.end())
            .map_err(|error| format!("event {}: {error}", history.len() + 1))?;
        let found = history.len() - before;
        if found as u64 != *count {
            return Err(format!("the commit with event {} holds {found} events and says {count}", before + 1));
        }
    }
    Ok(history)
}

/// Puts a commit's events behind the history one by one, so that it is known which of them cannot be read.
struct Appended<'a> {
    history: &'a mut History,
    at: Timestamp,
}

impl<'de> Visitor<'de> for Appended<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<(), A::Error> {
        while let Some(event) = events.next_element()? {
            self.history.push((self.at, event));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
