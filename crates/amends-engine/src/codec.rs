//! Events as bytes. JSON, so that a person with nothing but a database client can read a saga's history, and an
//! older program can at least show what a newer one wrote.

use amends_core::machine::Event;
use amends_core::time::Timestamp;
use amends_store::StoredEvent;

/// Encodes one event.
pub(crate) fn encode(at: Timestamp, event: &Event) -> StoredEvent {
    let body = serde_json::to_vec(event).expect("an event is plain data with text keys");
    StoredEvent { at, body }
}

/// Decodes a history.
pub(crate) fn decode(events: &[StoredEvent]) -> Result<Vec<(Timestamp, Event)>, String> {
    events
        .iter()
        .enumerate()
        .map(|(index, stored)| {
            serde_json::from_slice(&stored.body)
                .map(|event| (stored.at, event))
                .map_err(|error| format!("event {}: {error}", index + 1))
        })
        .collect()
}
