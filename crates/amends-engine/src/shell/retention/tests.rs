use super::*;
use amends_store::{Commit, MemoryStore, Processes, Rest, Row, SagaQuery, Views, conformance};

const DAY_MS: u64 = 24 * 3_600_000;
const ME: Incarnation = Uuid::from_u128(0xA);

/// A store with so many sagas that ended so many days ago, beside one that never did.
async fn store(finished: &[(u64, u128)]) -> Arc<MemoryStore> {
    let store = MemoryStore::new(Processes::One);
    let now = store.time().await.expect("a memory store knows the time");
    let days_ago = |days: u64| Rest::Finished(Timestamp(now.0 - days * DAY_MS));
    store.enlist(ME, Timestamp(0)).await.expect("a fresh incarnation can enlist");
    let ended = finished.iter().flat_map(|(day, count)| (0..*count).map(move |_| days_ago(*day)));
    let births = ended.chain([Rest::Parked]).zip(1..).map(|(rest, number)| birth(number, rest));
    store.commit(ME, births.collect()).await.expect("a live incarnation can commit");
    Arc::new(store)
}

/// It is held, so that one that has not ended is nobody's orphan.
fn birth(number: u128, rest: Rest) -> Commit {
    let born = conformance::birth(number, rest);
    Commit { row: Row { paused: true, ..born.row.clone() }, ..born }
}

fn retention(store: &Arc<MemoryStore>, retention_ms: Option<u64>) -> (Retention, watch::Sender<Incarnation>) {
    let (engine, me) = watch::channel(ME);
    (Retention { store: store.clone(), retention_ms, me }, engine)
}

async fn count(store: &MemoryStore) -> usize {
    store.sagas(SagaQuery { limit: usize::MAX, ..SagaQuery::default() }).await.expect("sagas can be listed").len()
}

/// However many they are, and nobody else.
#[tokio::test]
async fn a_round_forgets_all_that_ended_long_ago() {
    let store = store(&[(91, BATCH as u128 + 1), (89, 3)]).await;
    let (retention, _engine) = retention(&store, Some(90 * DAY_MS));
    retention.round().await.expect("a memory store forgets");
    assert_eq!(count(&store).await, 3 + 1);
    retention.round().await.expect("a memory store forgets");
    assert_eq!(count(&store).await, 3 + 1);
}

#[tokio::test]
async fn without_a_retention_nothing_is_forgotten() {
    let store = store(&[(900, 3)]).await;
    for retention_ms in [None, Some(1_000 * DAY_MS)] {
        let (retention, _engine) = retention(&store, retention_ms);
        retention.round().await.expect("there is nothing to do");
        assert_eq!(count(&store).await, 3 + 1);
    }
}

/// The store is closed when its last user has gone, so this one must not sleep over the engine's end.
#[tokio::test]
async fn it_ends_with_the_engine() {
    let store = store(&[]).await;
    let (retention, engine) = retention(&store, None);
    let running = tokio::spawn(retention.run());
    drop(engine);
    running.await.expect("it ends, and in order");
    assert_eq!(Arc::strong_count(&store), 1);
}
