//! Definitions and their versions.

use super::{Subject, at, deed};
use crate::{StoredDefinition, Which};

fn definition(name: &str, version: &str, created_at: u64) -> StoredDefinition {
    let source = format!("saga: {name}\n# {version}\n");
    StoredDefinition { name: name.into(), version: version.into(), source, created_at: at(created_at) }
}

async fn put(store: &Subject, definition: StoredDefinition) -> bool {
    store.put_definition(definition, deed("put definition", "orders")).await.expect("a definition can be stored")
}

async fn find(store: &Subject, which: Which) -> Vec<StoredDefinition> {
    store.definitions(which).await.expect("definitions can be read")
}

/// Of every name one, by name.
pub async fn the_last_version_put_is_the_current_one(store: Subject) {
    assert_eq!(find(&store, Which::Current).await, []);
    assert!(put(&store, definition("returns", "r1", 1)).await);
    assert!(put(&store, definition("orders", "o1", 2)).await);
    assert!(put(&store, definition("orders", "o2", 3)).await);
    let expected = [definition("orders", "o2", 3), definition("returns", "r1", 1)];
    assert_eq!(find(&store, Which::Current).await, expected);
}

/// Not even the time: a version is as old as its first arrival.
pub async fn an_identical_definition_changes_nothing(store: Subject) {
    assert!(put(&store, definition("orders", "o1", 1)).await);
    assert!(!put(&store, definition("orders", "o1", 9)).await);
    assert_eq!(find(&store, Which::Current).await, [definition("orders", "o1", 1)]);
}

/// Going back to what was there is a change of what is current, and makes no new version.
pub async fn an_earlier_version_can_be_made_current_again(store: Subject) {
    assert!(put(&store, definition("orders", "o1", 1)).await);
    assert!(put(&store, definition("orders", "o2", 2)).await);
    assert!(put(&store, definition("orders", "o1", 3)).await);
    assert_eq!(find(&store, Which::Current).await, [definition("orders", "o1", 1)]);
}

/// A running saga keeps the one that it started with, so no version is ever lost.
pub async fn definitions_are_found_by_version(store: Subject) {
    assert!(put(&store, definition("orders", "o1", 1)).await);
    assert!(put(&store, definition("orders", "o2", 2)).await);
    assert_eq!(find(&store, Which::Version("o1".into())).await, [definition("orders", "o1", 1)]);
    assert_eq!(find(&store, Which::Version("o2".into())).await, [definition("orders", "o2", 2)]);
    assert_eq!(find(&store, Which::Version("o3".into())).await, []);
}
