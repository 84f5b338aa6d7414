//! The definitions, compiled once and kept by version.

use crate::EngineError;
use amends_core::definition::Definition;
use amends_core::lint;
use amends_store::{Deed, Store, StoreError, StoredDefinition, Which};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Mutex;

#[cfg(test)]
mod tests;

/// Definitions by version, and the current version of every name.
pub(super) struct Catalogue {
    store: Arc<dyn Store>,
    known: RwLock<Known>,
    /// Held over a change in the store and in memory, so that two at once leave both with the same current version.
    changing: Mutex<()>,
}

#[derive(Default)]
struct Known {
    versions: BTreeMap<String, Arc<Definition>>,
    current: BTreeMap<String, String>,
}

impl Catalogue {
    /// Reads the current definitions. One that cannot be read any more is left out, and said so.
    pub(super) async fn load(store: Arc<dyn Store>) -> Result<Catalogue, StoreError> {
        let mut known = Known::default();
        for stored in store.definitions(Which::Current).await? {
            match compile(&stored) {
                Ok(definition) => known.add(definition),
                Err(why) => tracing::error!(definition = stored.name, why, "a stored definition cannot be read"),
            }
        }
        Ok(Catalogue { store, known: RwLock::new(known), changing: Mutex::default() })
    }

    /// The current definition of a name.
    pub(super) fn current(&self, name: &str) -> Result<Arc<Definition>, EngineError> {
        let known = self.read();
        let found = known.current.get(name).and_then(|version| known.versions.get(version));
        found.cloned().ok_or_else(|| EngineError::UnknownDefinition {
            name: name.to_owned(),
            nearest: lint::nearest(name, known.current.keys().map(String::as_str)).map(str::to_owned),
        })
    }

    /// A definition by its version. The inner error is a source that cannot be read.
    pub(super) async fn version(&self, version: &str) -> Result<Option<Result<Arc<Definition>, String>>, StoreError> {
        if let Some(known) = self.read().versions.get(version) {
            return Ok(Some(Ok(known.clone())));
        }
        let Some(stored) = self.store.definitions(Which::Version(version.to_owned())).await?.pop() else {
            return Ok(None);
        };
        Ok(Some(compile(&stored).map(|definition| {
            let definition = Arc::new(definition);
            self.write().versions.insert(version.to_owned(), definition.clone());
            definition
        })))
    }

    /// Stores a definition and makes it the current one of its name. Returns whether anything changed.
    pub(super) async fn put(
        &self,
        stored: StoredDefinition,
        definition: Definition,
        deed: Deed,
    ) -> Result<bool, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        let changed = self.store.put_definition(stored, deed).await?;
        self.write().add(definition);
        Ok(changed)
    }

    /// Takes in what other processes have stored since.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        // A change of this process's own must not be undone by an older answer.
        let _one_at_a_time = self.changing.lock().await;
        for stored in self.store.definitions(Which::Current).await? {
            let known = self.read().versions.contains_key(&stored.version);
            if known {
                self.write().current.insert(stored.name, stored.version);
            } else if let Ok(definition) = compile(&stored) {
                // One that cannot be read is a newer program's: its sagas are for those that can.
                self.write().add(definition);
            }
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, definition: Definition) {
        self.current.insert(definition.name.clone(), definition.version.clone());
        self.versions.entry(definition.version.clone()).or_insert_with(|| Arc::new(definition));
    }
}

fn compile(stored: &StoredDefinition) -> Result<Definition, String> {
    lint::compile(&stored.source).map_err(|diagnostics| {
        let first = diagnostics.first().map_or("it is not valid", |diagnostic| &diagnostic.message);
        format!("definition {} ({}) cannot be read by this version of Amends: {first}", stored.name, stored.version)
    })
}
