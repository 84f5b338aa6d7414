//! A saga as it is read: the fold of its record, together with what people want to know of it.

use crate::codec;
use amends_core::definition::Definition;
use amends_core::machine::{Event, Saga, fold};
use amends_core::time::Timestamp;
use amends_store::{Birth, Record};
use std::sync::Arc;
use uuid::Uuid;

/// A saga at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: Uuid,
    /// What never changes.
    pub birth: Arc<Birth>,
    /// Its definition: the version that it began with.
    pub definition: Arc<Definition>,
    /// Where it stands.
    pub saga: Arc<Saga>,
}

/// A saga's events, decoded, each with its time; the first is number 1.
pub type History = Vec<(Timestamp, Event)>;

/// A saga that is stored and cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("saga {id} cannot be read: {why}")]
pub struct Unreadable {
    /// Its id.
    pub id: Uuid,
    /// Why.
    pub why: String,
}

impl Snapshot {
    /// Reads a record: its history, and the saga that it adds up to.
    ///
    /// # Errors
    /// Where the record is damaged, an event cannot be decoded, or cannot follow the ones before it.
    pub fn read(record: &Record, definition: Arc<Definition>) -> Result<(Snapshot, History), Unreadable> {
        let unreadable = |why: String| Unreadable { id: record.id, why };
        if let Some(damage) = &record.damage {
            return Err(unreadable(damage.clone()));
        }
        let history = codec::decode(&record.events).map_err(unreadable)?;
        let events = history.iter().map(|(at, event)| (*at, event));
        let saga = fold(&definition, record.id, events).map_err(|error| unreadable(error.to_string()))?;
        let (birth, saga) = (Arc::new(record.birth.clone()), Arc::new(saga));
        Ok((Snapshot { id: record.id, birth, definition, saga }, history))
    }
}
