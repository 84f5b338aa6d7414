//! A saga's later commits.

use super::{
    ME, Subject, at, audit, birth, close_dead_letter, commit, commit_all, count, enlist, events, following, id, look,
    open_dead_letter, put_message, receive, record, rest, steps,
};
use crate::{Commit, Counter, Outcome, Rest, Row, Write};
use amends_core::machine::Status;

/// History only grows, and in order.
pub async fn events_are_added_in_order(store: Subject) {
    enlist(&store, ME).await;
    let second = Commit { events: Some(events(2..=3)), ..following(1, 1, Rest::Owned) };
    commit_all(&store, vec![birth(1, Rest::Owned), second, following(1, 3, Rest::Owned)]).await;
    assert_eq!(record(&store, 1).await.events, [1..=1, 2..=3, 4..=4].map(events));
}

/// What the next commit must follow is the last event, however many came with it.
pub async fn a_commit_with_several_events_counts_them_all(store: Subject) {
    enlist(&store, ME).await;
    let first = Commit { events: Some(events(1..=3)), ..birth(1, Rest::Owned) };
    commit_all(&store, vec![first]).await;
    assert_eq!(record(&store, 1).await.sequence, 3);
    let second = Commit { events: Some(events(4..=13)), ..following(1, 3, Rest::Owned) };
    commit_all(&store, vec![second]).await;
    assert_eq!(record(&store, 1).await.sequence, 13);
    commit_all(&store, vec![following(1, 13, Rest::Owned)]).await;
    let record = record(&store, 1).await;
    assert_eq!((record.sequence, record.events), (14, [1..=3, 4..=13, 14..=14].map(events).into()));
}

/// A decision that was made about a part of what another one came to is about a saga that never was.
pub async fn a_commit_that_begins_within_another_is_stale(store: Subject) {
    enlist(&store, ME).await;
    let first = Commit { events: Some(events(1..=3)), ..birth(1, Rest::Owned) };
    let second = Commit { events: Some(events(4..=6)), ..following(1, 3, Rest::Owned) };
    commit_all(&store, vec![first, second]).await;
    let before = look(&store).await;
    for after in [0, 1, 2, 3, 4, 5, 7] {
        assert_eq!(commit(&store, following(1, after, Rest::Owned)).await, Outcome::Stale, "after {after}");
        let several = Commit { events: Some(events(after + 1..=after + 3)), ..following(1, after, Rest::Owned) };
        assert_eq!(commit(&store, several).await, Outcome::Stale, "three after {after}");
    }
    assert_eq!(look(&store).await, before);
}

/// A saga that cannot be read is set aside without an event, and what follows counts on from before.
pub async fn a_commit_without_events_changes_the_row_alone(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let aside = Row { status: Status::Stuck, paused: true, reason: Some("damaged".into()), rest: Rest::Parked };
    commit_all(&store, vec![Commit { events: None, row: aside.clone(), ..following(1, 1, Rest::Parked) }]).await;
    let record = record(&store, 1).await;
    assert_eq!((record.row, record.events), (aside, vec![events(1..=1)]));
    commit_all(&store, vec![following(1, 1, Rest::Owned)]).await;
}

/// Only its owner commits to a saga. Knowing how many events it has is not enough: between the reading and the commit another
/// one may have had it, changed its row, and let it go.
pub async fn a_saga_at_rest_must_be_taken_before_it_is_committed_to(store: Subject) {
    enlist(&store, ME).await;
    for (number, rest) in [(1, Rest::Parked), (2, Rest::Until(at(9))), (3, Rest::Finished(at(5)))] {
        commit_all(&store, vec![birth(number, rest)]).await;
        assert_eq!(commit(&store, following(number, 1, Rest::Owned)).await, Outcome::Stale, "{rest:?}");
    }
    commit_all(&store, vec![following(1, 1, Rest::Until(at(9)))]).await;
    assert_eq!(rest(&store, 1).await, Rest::Until(at(9)));
}

/// Whatever a refused commit carries, nothing of it is written.
pub async fn a_stale_commit_changes_nothing_at_all(store: Subject) {
    enlist(&store, ME).await;
    let writes = vec![put_message("charge-payment", 500), open_dead_letter("letter-1"), audit("first")];
    commit_all(&store, vec![Commit { writes, ..birth(1, Rest::Owned) }, following(1, 1, Rest::Owned)]).await;
    let before = look(&store).await;
    let writes = vec![
        put_message("charge-payment", 1),
        put_message("reserve-inventory", 2),
        Write::DeleteMessage { step: "charge-payment".into() },
        open_dead_letter("letter-1"),
        open_dead_letter("letter-2"),
        close_dead_letter("letter-1"),
        audit("second"),
    ];
    let row = Row { status: Status::Completed, paused: true, reason: Some("none".into()), rest: Rest::Finished(at(1)) };
    let counts = vec![count(Counter::Completed, 1)];
    for (saga, after) in [(1, 0), (1, 1), (1, 3), (1, u64::MAX - 1), (2, 0), (2, 1)] {
        let (row, writes, counts) = (row.clone(), writes.clone(), counts.clone());
        let stale = Commit { saga: id(saga), after, row, writes, counts, ..following(1, 0, Rest::Owned) };
        assert_eq!(commit(&store, stale).await, Outcome::Stale, "saga {saga} after {after}");
        assert_eq!(look(&store).await, before, "saga {saga} after {after}");
    }
    assert_eq!(steps(&receive(&store, 10_000).await), ["charge-payment"]);
}

/// After a lost answer the engine commits again, and finds that the saga has moved on.
pub async fn a_commit_that_is_repeated_is_stale(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), following(1, 1, Rest::Owned)]).await;
    let before = look(&store).await;
    assert_eq!(commit(&store, following(1, 1, Rest::Owned)).await, Outcome::Stale);
    assert_eq!(look(&store).await, before);
}
