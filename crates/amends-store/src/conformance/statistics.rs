//! What is counted, and the wake-up invariant as it is measured.

use super::{
    ME, Subject, at, birth, close_dead_letter, commit, commit_all, count, enlist, following, open_dead_letter,
    put_message, statistics,
};
use crate::{Commit, Count, Counter, Outcome, Rest, Row, Statistics, Write};

async fn orphans(store: &Subject) -> u64 {
    statistics(store).await.orphans
}

/// Each counter is its own, however many rows it is kept in.
pub async fn counts_are_sums_over_all_definitions_and_minutes(store: Subject) {
    enlist(&store, ME).await;
    assert_eq!(statistics(&store).await, Statistics::default());
    let elsewhere = Count { definition: "returns".into(), counter: Counter::Started, at: at(0) };
    let (started, completed) = (count(Counter::Started, 1), count(Counter::Completed, 1));
    let (compensated, dead) = (count(Counter::Compensated, 2), count(Counter::DeadLettered, 3));
    let first = vec![started.clone(), started.clone(), completed.clone(), elsewhere];
    let second = vec![started.clone(), count(Counter::Started, 2), completed, compensated, dead];
    let batch = vec![
        Commit { counts: first, ..birth(1, Rest::Owned) },
        Commit { counts: second, ..following(1, 1, Rest::Owned) },
    ];
    store.commit(ME, batch.into()).await.expect("the batch is committed");
    commit_all(&store, vec![Commit { counts: vec![started], ..following(1, 2, Rest::Owned) }]).await;
    let expected = Statistics { started: 6, completed: 2, compensated: 1, dead_letters_open: 0, orphans: 0 };
    assert_eq!(statistics(&store).await, expected);
}

/// A start that found its saga there is no start.
pub async fn what_was_refused_is_not_counted(store: Subject) {
    enlist(&store, ME).await;
    let start = || Commit { counts: vec![count(Counter::Started, 1)], ..birth(1, Rest::Owned) };
    let batch =
        vec![start(), start(), Commit { counts: vec![count(Counter::Completed, 1)], ..following(1, 9, Rest::Owned) }];
    store.commit(ME, batch.into()).await.expect("the batch is committed");
    let seen = statistics(&store).await;
    assert_eq!((seen.started, seen.completed), (1, 0));
}

/// Those that are open now, not those that ever were.
pub async fn open_dead_letters_are_counted(store: Subject) {
    enlist(&store, ME).await;
    let writes = vec![open_dead_letter("a"), open_dead_letter("b")];
    commit_all(&store, vec![Commit { writes, ..birth(1, Rest::Parked) }]).await;
    assert_eq!(statistics(&store).await.dead_letters_open, 2);
    commit_all(&store, vec![Commit { writes: vec![close_dead_letter("a")], ..following(1, 1, Rest::Parked) }]).await;
    assert_eq!(statistics(&store).await.dead_letters_open, 1);
}

/// The one thing that must never be: nothing will ever look after it again.
pub async fn a_parked_saga_with_nothing_to_wake_it_is_an_orphan(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Parked)]).await;
    assert_eq!(orphans(&store).await, 1);
    // What belongs to another saga does not help it.
    let writes = vec![put_message("a", 1), open_dead_letter("letter")];
    commit_all(&store, vec![Commit { writes, ..birth(2, Rest::Parked) }]).await;
    assert_eq!(orphans(&store).await, 1);
}

/// Somebody works on it.
pub async fn an_owner_keeps_a_saga_from_being_an_orphan(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    assert_eq!(orphans(&store).await, 0);
    store.retire(ME, at(5)).await.expect("an incarnation can be retired");
    assert_eq!(orphans(&store).await, 0, "it is due");
}

/// Somebody will find it.
pub async fn a_due_time_keeps_a_saga_from_being_an_orphan(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Until(at(5)))]).await;
    assert_eq!(orphans(&store).await, 0);
    commit_all(&store, vec![following(1, 1, Rest::Parked)]).await;
    assert_eq!(orphans(&store).await, 1);
}

/// Whoever receives it looks after the saga, and it is there until it was dealt with.
pub async fn a_message_keeps_a_saga_from_being_an_orphan(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![Commit { writes: vec![put_message("a", 5)], ..birth(1, Rest::Parked) }]).await;
    assert_eq!(orphans(&store).await, 0);
    super::receive(&store, 5).await;
    assert_eq!(orphans(&store).await, 0, "it is in flight");
    let delete = Write::DeleteMessage { step: "a".into() };
    commit_all(&store, vec![Commit { writes: vec![delete], ..following(1, 1, Rest::Parked) }]).await;
    assert_eq!(orphans(&store).await, 1);
}

/// A person will resolve it, for as long as it is open.
pub async fn a_dead_letter_keeps_a_saga_from_being_an_orphan(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![Commit { writes: vec![open_dead_letter("a")], ..birth(1, Rest::Parked) }]).await;
    assert_eq!(orphans(&store).await, 0);
    commit_all(&store, vec![Commit { writes: vec![close_dead_letter("a")], ..following(1, 1, Rest::Parked) }]).await;
    assert_eq!(orphans(&store).await, 1);
}

/// A person holds it and will let it go.
pub async fn a_hold_keeps_a_saga_from_being_an_orphan(store: Subject) {
    enlist(&store, ME).await;
    let held = Row { paused: true, ..super::row(Rest::Parked) };
    assert_eq!(commit(&store, Commit { row: held, ..birth(1, Rest::Parked) }).await, Outcome::Committed);
    assert_eq!(orphans(&store).await, 0);
    commit_all(&store, vec![following(1, 1, Rest::Parked)]).await;
    assert_eq!(orphans(&store).await, 1);
}

/// There is nothing left to look after.
pub async fn a_finished_saga_is_no_orphan(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Finished(at(5)))]).await;
    assert_eq!(orphans(&store).await, 0);
}
