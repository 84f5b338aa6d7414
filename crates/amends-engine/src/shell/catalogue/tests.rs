use super::*;
use amends_core::time::Timestamp;
use amends_store::{
    Acquired, Claimed, Commit, Forget, Incarnation, MemoryStore, Outcome, Processes, Receive, Received,
};
use async_trait::async_trait;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::sync::Notify;
use uuid::Uuid;

/// A store whose first answer to [`Store::put_definition`] is late: what was asked for has happened, and nobody knows yet.
struct Late {
    store: MemoryStore,
    is_first: AtomicBool,
    stored: Notify,
    answer: Notify,
}

#[async_trait]
impl Store for Late {
    async fn put_definition(&self, definition: StoredDefinition, deed: Deed) -> Result<bool, StoreError> {
        let changed = self.store.put_definition(definition, deed).await;
        if self.is_first.swap(false, Ordering::SeqCst) {
            self.stored.notify_one();
            self.answer.notified().await;
        }
        changed
    }
    async fn definitions(&self, which: Which) -> Result<Vec<StoredDefinition>, StoreError> {
        self.store.definitions(which).await
    }
    async fn enlist(&self, me: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.store.enlist(me, now).await
    }
    async fn retire(&self, whom: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        self.store.retire(whom, now).await
    }
    async fn commit(&self, me: Incarnation, batch: Arc<[Commit]>) -> Result<Vec<Outcome>, StoreError> {
        self.store.commit(me, batch).await
    }
    async fn claim(&self, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, StoreError> {
        self.store.claim(me, now, limit).await
    }
    async fn acquire(&self, me: Incarnation, saga: Uuid) -> Result<Acquired, StoreError> {
        self.store.acquire(me, saga).await
    }
    async fn receive(&self, me: Incarnation, request: Receive) -> Result<Received, StoreError> {
        self.store.receive(me, request).await
    }
    async fn forget(&self, request: Forget) -> Result<Vec<Uuid>, StoreError> {
        self.store.forget(request).await
    }
}

fn trip(path: &str) -> (StoredDefinition, Definition) {
    let source = format!(
        "saga: trip\nkey: \"{{{{ input.id }}}}\"\nsteps:\n  book:\n    action: {{ post: \"agency:/{path}\" }}\n    compensation: {{ post: \"agency:/cancel\" }}\n"
    );
    let definition = lint::compile(&source).expect("the test's definition is valid");
    let (name, version) = (definition.name.clone(), definition.version.clone());
    (StoredDefinition { name, version, source, created_at: Timestamp(0) }, definition)
}

fn deed() -> Deed {
    Deed { actor: "ada".into(), action: "put definition".into(), subject: "trip".into(), at: Timestamp(0) }
}

/// Two people put a version each. Whichever comes last, memory says what the store says.
#[tokio::test]
async fn two_versions_at_once_leave_memory_and_store_with_the_same() {
    let (is_first, stored, answer) = (AtomicBool::new(true), Notify::new(), Notify::new());
    let store = Arc::new(Late { store: MemoryStore::new(Processes::One), is_first, stored, answer });
    let catalogue = Catalogue::load(store.clone()).await.expect("an empty store is read");
    let ((one, one_compiled), (other, other_compiled)) = (trip("one"), trip("other"));
    let first = catalogue.put(one, one_compiled, deed());
    let second = async {
        store.stored.notified().await;
        let mut second = Box::pin(catalogue.put(other, other_compiled, deed()));
        // As far as it comes while the first waits for its answer.
        let early = poll_fn(|context| Poll::Ready(second.as_mut().poll(context))).await;
        store.answer.notify_one();
        match early {
            Poll::Ready(done) => done,
            Poll::Pending => second.await,
        }
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() && second.is_ok());
    let current = store.definitions(Which::Current).await.expect("it can be read");
    assert_eq!(catalogue.current("trip").expect("it is known").version, current[0].version);
}
