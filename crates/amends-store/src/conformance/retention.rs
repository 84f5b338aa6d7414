//! Forgetting what ended long ago.

use super::{
    DEFINITION, Dump, EVERYTHING, ME, Subject, at, audit, birth, close_dead_letter, commit, commit_all, count, enlist,
    following, id, look, open_dead_letter, put_message, receive, statistics,
};
use crate::{Commit, Counter, DeadLetterQuery, Dedupe, Forget, Outcome, Rest};
use uuid::Uuid;

/// Whom it forgets where there is nobody to forget.
const NOBODY: [u128; 0] = [];

/// Some time after everything that happens here.
const LATER: u64 = 10_000;

fn before(finished_before: u64) -> Forget {
    Forget { finished_before: at(finished_before), after: Uuid::nil(), limit: EVERYTHING, now: at(LATER) }
}

/// Forgets, and tells whom by their numbers.
async fn forget(store: &Subject, request: Forget) -> Vec<u128> {
    let forgotten = store.forget(request).await.expect("finished sagas can be forgotten");
    forgotten.iter().map(Uuid::as_u128).collect()
}

fn is_listed(dump: &Dump, saga: u128) -> bool {
    dump.sagas.iter().any(|summary| summary.id == id(saga))
}

/// Whatever its age, a saga that is not finished stays as it is, and so does one that has not been finished for long enough.
pub async fn only_what_has_ended_long_ago_is_forgotten(store: Subject) {
    enlist(&store, ME).await;
    let rests = [Rest::Owned, Rest::Until(at(5)), Rest::Parked, Rest::Finished(at(50)), Rest::Finished(at(49))];
    for (number, rest) in (1..).zip(rests) {
        commit_all(&store, vec![birth(number, rest)]).await;
    }
    let seen = look(&store).await;
    assert_eq!(forget(&store, before(49)).await, NOBODY);
    assert_eq!(look(&store).await, seen);
    assert_eq!(forget(&store, before(50)).await, [5]);
    let seen = look(&store).await;
    assert!(!is_listed(&seen, 5) && [1, 2, 3, 4].iter().all(|saga| is_listed(&seen, *saga)));
    assert_eq!(forget(&store, before(50)).await, NOBODY, "once is enough");
    assert_eq!(look(&store).await, seen);
}

/// Its history, its dead letters and its messages go with it; what was counted and what people did stays.
pub async fn what_is_forgotten_leaves_the_audit_log_and_the_counts(store: Subject) {
    enlist(&store, ME).await;
    let begin = Commit {
        writes: vec![open_dead_letter("letter-1"), put_message("reserve", 10), audit("looked at it")],
        counts: vec![count(Counter::Started, 1)],
        ..birth(1, Rest::Owned)
    };
    let writes = vec![close_dead_letter("letter-1")];
    let end = Commit { writes, counts: vec![count(Counter::Completed, 1)], ..following(1, 1, Rest::Finished(at(9))) };
    commit_all(&store, vec![begin, end]).await;
    let (seen, counted) = (look(&store).await, statistics(&store).await);
    assert_eq!(forget(&store, before(10)).await, [1]);
    assert_eq!(store.saga(id(1)).await.expect("it can be asked for"), None);
    let letters = DeadLetterQuery { closed: true, limit: EVERYTHING, ..DeadLetterQuery::default() };
    assert_eq!(store.dead_letters(letters).await.expect("dead letters can be listed").len(), 0);
    assert_eq!(store.dead_letter("letter-1").await.expect("it can be asked for"), None);
    assert_eq!(receive(&store, LATER).await.messages.len(), 0);
    assert_eq!(look(&store).await.audit, seen.audit);
    assert_eq!(seen.audit.len(), 1);
    assert_eq!(statistics(&store).await, counted);
}

/// Somebody still has to decide about it.
pub async fn a_saga_with_an_open_dead_letter_is_not_forgotten(store: Subject) {
    enlist(&store, ME).await;
    let writes = vec![open_dead_letter("letter-1"), open_dead_letter("letter-2"), close_dead_letter("letter-1")];
    commit_all(&store, vec![Commit { writes, ..birth(1, Rest::Finished(at(9))) }]).await;
    let seen = look(&store).await;
    assert_eq!(forget(&store, before(10)).await, NOBODY);
    assert_eq!(look(&store).await, seen);
}

/// A dead letter's place in the list is never another one's, so that no page shows it twice or not at all.
pub async fn the_place_of_a_forgotten_dead_letter_is_not_given_again(store: Subject) {
    enlist(&store, ME).await;
    let writes = vec![open_dead_letter("letter-1"), close_dead_letter("letter-1")];
    commit_all(&store, vec![Commit { writes, ..birth(1, Rest::Finished(at(9))) }]).await;
    assert_eq!(forget(&store, before(10)).await, [1]);
    let writes = vec![open_dead_letter("letter-2")];
    commit_all(&store, vec![Commit { writes, ..birth(2, Rest::Parked) }]).await;
    let letter = store.dead_letter("letter-2").await.expect("a dead letter can be read").expect("it is there");
    assert_eq!(letter.place, 2);
}

/// Whoever starts the same work again starts a new saga.
pub async fn the_key_of_a_forgotten_saga_is_free(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Finished(at(9)))]).await;
    let again = || Commit { saga: id(2), ..birth(1, Rest::Owned) };
    assert!(matches!(commit(&store, again()).await, Outcome::Exists { .. }));
    assert_eq!(forget(&store, before(10)).await, [1]);
    assert_eq!(commit(&store, again()).await, Outcome::Committed);
}

/// Two starts within the window are one saga, so it is there for as long as the second may come.
pub async fn a_saga_stays_while_its_double_click_counts(store: Subject) {
    enlist(&store, ME).await;
    let claiming = |number, until| {
        let mut first = birth(number, Rest::Finished(at(9)));
        let birth = first.birth.as_mut().expect("it is a birth");
        birth.dedupe = Some(Dedupe { digest: "customer-7/2 lines".into(), until: at(until) });
        first
    };
    commit_all(&store, vec![claiming(1, 3_000)]).await;
    let at_time = |now| Forget { now: at(now), ..before(10) };
    assert_eq!(forget(&store, at_time(2_999)).await, NOBODY);
    assert_eq!(commit(&store, claiming(2, 4_999)).await, Outcome::Duplicate { saga: id(1) });
    assert_eq!(forget(&store, at_time(3_000)).await, [1]);
    assert_eq!(commit(&store, claiming(3, 3_500)).await, Outcome::Committed, "the claim went with its saga");
}

/// A few at a time, lowest ids first, each from where the last one ended.
pub async fn forgetting_keeps_to_its_limit_and_its_place(store: Subject) {
    enlist(&store, ME).await;
    for number in [4, 2, 5, 1, 3] {
        commit_all(&store, vec![birth(number, Rest::Finished(at(9)))]).await;
    }
    assert_eq!(forget(&store, Forget { limit: 0, ..before(10) }).await, NOBODY);
    assert_eq!(forget(&store, Forget { limit: 2, ..before(10) }).await, [1, 2]);
    assert_eq!(forget(&store, Forget { after: id(3), limit: 1, ..before(10) }).await, [4]);
    assert_eq!(forget(&store, before(10)).await, [3, 5]);
}

/// Looking after its room changes nothing that can be seen.
pub async fn keeping_up_changes_nothing_that_is_seen(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), birth(2, Rest::Finished(at(9)))]).await;
    let seen = look(&store).await;
    for finished_before in [None, Some(at(LATER))] {
        store.keep_up(finished_before).await.expect("a store can be kept up");
        assert_eq!(look(&store).await, seen);
    }
    commit_all(&store, vec![Commit { saga: id(3), ..birth(3, Rest::Owned) }]).await;
    let definition = store.saga(id(3)).await.expect("a saga can be read").map(|record| record.birth.definition);
    assert_eq!(definition.as_deref(), Some(DEFINITION));
}
