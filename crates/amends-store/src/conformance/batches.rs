//! Several commits in one transaction.

use super::{
    ME, OTHER, Subject, at, audit, birth, commit_all, commit_as, count, enlist, events, following, id, look,
    open_dead_letter, put_message, record,
};
use crate::{Acquired, AuditQuery, Commit, Counter, Outcome, Rest, StoreError};

/// The caller tells outcomes apart by their place.
pub async fn outcomes_come_in_the_order_of_the_batch(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let batch =
        vec![birth(1, Rest::Owned), birth(2, Rest::Owned), following(3, 0, Rest::Owned), following(1, 1, Rest::Owned)];
    let outcomes = store.commit(ME, batch.into()).await.expect("a batch with refused members is committed");
    let exists = Outcome::Exists { saga: id(1), same_input: true };
    assert_eq!(outcomes, [exists, Outcome::Committed, Outcome::Stale, Outcome::Committed]);
}

/// One that is refused writes nothing, and the others are written whole.
pub async fn a_refused_member_does_not_hinder_the_others(store: Subject) {
    enlist(&store, ME).await;
    let batch = vec![birth(1, Rest::Owned), following(9, 4, Rest::Owned), birth(2, Rest::Owned)];
    let outcomes = store.commit(ME, batch.into()).await.expect("a batch with a refused member is committed");
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Stale, Outcome::Committed]);
    assert_eq!(record(&store, 1).await.events, [events(1..=1)]);
    assert_eq!(record(&store, 2).await.events, [events(1..=1)]);
    assert_eq!(store.saga(id(9)).await.expect("a saga can be read"), None);
}

/// Two decisions of one saga, or two starts of one key, may meet in one batch.
pub async fn members_see_those_before_them(store: Subject) {
    enlist(&store, ME).await;
    let batch = vec![
        birth(1, Rest::Owned),
        following(1, 1, Rest::Owned),
        following(1, 1, Rest::Parked),
        Commit { saga: id(2), ..birth(1, Rest::Owned) },
    ];
    let outcomes = store.commit(ME, batch.into()).await.expect("the batch is committed");
    let exists = Outcome::Exists { saga: id(1), same_input: true };
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Committed, Outcome::Stale, exists]);
    assert_eq!(record(&store, 1).await.events, [1..=1, 2..=2].map(events));
}

/// A dead letter under an id that was used is a defect of the caller's: it is told, and the batch never happened.
pub async fn a_broken_member_leaves_nothing_of_its_batch(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![Commit { writes: vec![open_dead_letter("letter-1")], ..birth(1, Rest::Parked) }]).await;
    let before = look(&store).await;
    let counts = vec![count(Counter::Started, 1)];
    let sound = Commit { writes: vec![put_message("a", 1)], counts, ..birth(2, Rest::Owned) };
    let broken = Commit { writes: vec![open_dead_letter("letter-1")], ..birth(3, Rest::Parked) };
    let answer = store.commit(ME, vec![sound.clone(), broken, birth(4, Rest::Owned)].into()).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "got {answer:?}");
    assert_eq!(look(&store).await, before);
    commit_all(&store, vec![sound]).await;
}

/// A commit need not change the row, and may say so.
pub async fn a_row_that_is_said_to_be_unchanged_stays(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), birth(2, Rest::Owned)]).await;
    let unchanged = Commit { changes_row: false, ..following(1, 1, Rest::Owned) };
    commit_all(&store, vec![unchanged, following(2, 1, Rest::Until(at(5)))]).await;
    let rows = [record(&store, 1).await, record(&store, 2).await].map(|record| (record.row.rest, record.sequence));
    assert_eq!(rows, [(Rest::Owned, 2), (Rest::Until(at(5)), 2)]);
}

/// Nothing to do is no reason to fail.
pub async fn an_empty_batch_does_nothing(store: Subject) {
    enlist(&store, ME).await;
    let before = look(&store).await;
    assert_eq!(store.commit(ME, Vec::new().into()).await.expect("an empty batch is committed"), []);
    assert_eq!(look(&store).await, before);
}

/// The answer was lost, and the batch was written: it is not written twice, and whoever waited for it need not know.
pub async fn what_was_written_is_committed_when_it_is_offered_again(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), birth(2, Rest::Owned)]).await;
    let counted = |commit: Commit| Commit { counts: vec![count(Counter::Started, 1)], ..commit };
    let queued = Commit { writes: vec![put_message("a", 1)], ..following(1, 1, Rest::Parked) };
    let clicked = Commit { saga: id(9), ..birth(2, Rest::Owned) };
    let batch = vec![counted(birth(3, Rest::Owned)), queued, clicked, following(2, 7, Rest::Owned)];
    let first = store.commit(ME, batch.clone().into()).await.expect("the batch is committed");
    let exists = Outcome::Exists { saga: id(2), same_input: true };
    assert_eq!(first, [Outcome::Committed, Outcome::Committed, exists, Outcome::Stale]);
    let before = look(&store).await;
    assert_eq!(store.commit_again(ME, batch.into()).await.expect("it can be offered again"), first);
    assert_eq!(look(&store).await, before);
    // Another one has gone on with it since.
    enlist(&store, OTHER).await;
    store.acquire(OTHER, id(1)).await.expect("a saga at rest can be taken");
    assert_eq!(commit_as(OTHER, &store, following(1, 2, Rest::Owned)).await, Outcome::Committed);
    let again = store.commit_again(ME, vec![following(1, 1, Rest::Parked)].into()).await.expect("it can be offered");
    assert_eq!(again, [Outcome::Committed]);
    assert_eq!(record(&store, 1).await.sequence, 3);
}

/// A commit without events leaves nothing in a history by which it could be known again.
pub async fn an_order_without_events_is_written_once(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), birth(2, Rest::Owned)]).await;
    let ordered =
        |number, rest, reason| Commit { events: None, writes: vec![audit(reason)], ..following(number, 1, rest) };
    for batch in [
        vec![ordered(1, Rest::Owned, "kept"), ordered(2, Rest::Until(at(5)), "put to rest")],
        vec![ordered(1, Rest::Owned, "another one")],
    ] {
        let first = store.commit(ME, batch.clone().into()).await.expect("the batch is committed");
        let before = look(&store).await;
        assert_eq!(store.commit_again(ME, batch.into()).await.expect("it can be offered again"), first);
        assert_eq!(look(&store).await, before);
    }
    // The saga that is set aside is taken again before the answer to that is missed.
    let set_aside = Commit { events: None, writes: vec![open_dead_letter("1.9")], ..following(1, 1, Rest::Parked) };
    let first = store.commit(ME, vec![set_aside.clone()].into()).await.expect("the batch is committed");
    assert!(matches!(store.acquire(ME, id(1)).await.expect("it is nobody's"), Acquired::Yours(_)));
    let before = look(&store).await;
    assert_eq!(store.commit_again(ME, vec![set_aside].into()).await.expect("it can be offered again"), first);
    assert_eq!(look(&store).await, before);
    let lost = vec![ordered(1, Rest::Owned, "never written")];
    assert_eq!(store.commit_again(ME, lost.into()).await.expect("it can be offered again"), [Outcome::Committed]);
    assert_eq!(
        store.audit(AuditQuery { limit: 10, ..AuditQuery::default() }).await.expect("the log can be read").len(),
        4
    );
}

/// The answer was lost, and so was the batch: it is written now. What resembles it and is not it stays refused.
pub async fn what_was_not_written_is_judged_when_it_is_offered_again(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), following(1, 1, Rest::Owned)]).await;
    let batch = vec![
        birth(2, Rest::Owned),
        following(1, 2, Rest::Owned),
        Commit { saga: id(3), ..birth(1, Rest::Owned) },
        Commit { events: Some(events(2..=3)), ..following(1, 1, Rest::Owned) },
        Commit { saga: id(1), ..birth(4, Rest::Owned) },
    ];
    let outcomes = store.commit_again(ME, batch.into()).await.expect("it can be offered again");
    let exists = Outcome::Exists { saga: id(1), same_input: true };
    assert_eq!(outcomes, [Outcome::Committed, Outcome::Committed, exists, Outcome::Stale, Outcome::Stale]);
    assert_eq!(record(&store, 1).await.sequence, 3);
    assert_eq!(record(&store, 2).await.sequence, 1);
    store.retire(ME, at(1)).await.expect("an incarnation can be retired");
    let fenced = store.commit_again(ME, vec![birth(2, Rest::Owned)].into()).await;
    assert!(matches!(fenced, Err(StoreError::Fenced)), "got {fenced:?}");
}
