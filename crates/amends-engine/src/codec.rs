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
            .map_err(|error| format!("event {}: {}", history.len() + 1, without_values(&error)))?;
        let found = history.len() - before;
        if found as u64 != *count {
            return Err(format!("the commit with event {} holds {found} events and says {count}", before + 1));
        }
    }
    Ok(history)
}

/// What is wrong with an event. A value that is of another type than expected would be repeated in it, and this goes into the log.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_only = ["unknown variant", "missing field"].iter().any(|beginning| text.starts_with(beginning));
    if error.is_data() && !names_only {
        return format!("it has a value of another kind at line {} column {}", error.line(), error.column());
    }
    text
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
