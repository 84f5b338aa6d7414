use super::*;
use amends_core::chain::Head;
use amends_core::time::Timestamp;
use amends_store::{AuditEntry, Deed, MemoryStore, Processes, Store, StoredDefinition};
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A log that cannot be sealed for a while.
struct Failing {
    store: MemoryStore,
    failures: AtomicUsize,
}

#[async_trait]
impl AuditLog for Failing {
    async fn seal(&self, limit: usize) -> Result<Option<Head>, StoreError> {
        let still = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if still.is_ok() {
            return Err(StoreError::Unavailable("not now".into()));
        }
        self.store.seal(limit).await
    }
    async fn sealed(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.store.sealed(after, limit).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.store.head().await
    }
}

async fn write(store: &MemoryStore, number: usize) {
    let (name, version) = ("order".to_owned(), number.to_string());
    let definition = StoredDefinition { name, version, source: String::new(), created_at: Timestamp(0) };
    let deed = Deed { actor: "ada".into(), action: "put definition".into(), subject: "order".into(), at: Timestamp(0) };
    store.put_definition(definition, deed).await.unwrap();
}

/// More than one transaction's worth at once, what comes later, and in spite of a store that fails now and then.
#[tokio::test(start_paused = true)]
async fn all_that_is_written_is_sealed_within_seconds() {
    let store = Arc::new(Failing { store: MemoryStore::new(Processes::One), failures: AtomicUsize::new(2) });
    for number in 0..AT_ONCE + 1 {
        write(&store.store, number).await;
    }
    let sealing = tokio::spawn(run(store.clone()));
    tokio::time::sleep(EVERY / 2).await; // tidy: allow-sleep the clock is virtual
    assert_eq!(store.head().await.unwrap(), Head::BEGINNING, "it failed");
    tokio::time::sleep(2 * EVERY).await; // tidy: allow-sleep the clock is virtual
    assert_eq!(store.head().await.unwrap().number, AT_ONCE as u64 + 1);
    write(&store.store, AT_ONCE + 1).await;
    tokio::time::sleep(EVERY).await; // tidy: allow-sleep the clock is virtual
    assert_eq!(store.head().await.unwrap().number, AT_ONCE as u64 + 2);
    sealing.abort();
}
