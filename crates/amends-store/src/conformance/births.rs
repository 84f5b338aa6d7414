//! A saga's first commit.

use super::{ME, Subject, at, birth, commit, commit_all, enlist, events, id, look, record};
use crate::{Birth, Commit, Dedupe, Outcome, Record, Rest, Row};
use amends_core::machine::Status;

fn born(change: impl FnOnce(&mut Birth), mut commit: Commit) -> Commit {
    change(commit.birth.as_mut().expect("only births are changed here"));
    commit
}

/// Saga `number`, started at `now` with a claim that holds until `until`.
fn double_click(number: u128, now: u64, until: u64) -> Commit {
    let claim = Dedupe { digest: "customer-7/2 lines".into(), until: at(until) };
    born(
        |birth| {
            birth.created_at = at(now);
            birth.dedupe = Some(claim);
        },
        birth(number, Rest::Owned),
    )
}

/// Everything that a first commit says is there afterwards.
pub async fn a_saga_is_read_back_as_it_was_written(store: Subject) {
    enlist(&store, ME).await;
    let row = Row { status: Status::Compensating, paused: true, reason: Some("no stock".into()), rest: Rest::Owned };
    let first = Commit { events: Some(events(1..=2)), row, ..birth(1, Rest::Owned) };
    assert_eq!(commit(&store, first.clone()).await, Outcome::Committed);
    let birth = first.birth.clone().expect("it is a birth");
    assert_eq!(
        record(&store, 1).await,
        Record { id: id(1), birth, row: first.row, events: vec![events(1..=2)], sequence: 2, damage: None }
    );
}

/// A saga need not be worked on from its beginning: it can begin by sleeping, waiting, or being over.
pub async fn a_saga_may_be_born_in_any_state_of_rest(store: Subject) {
    enlist(&store, ME).await;
    for (number, rest) in [Rest::Owned, Rest::Until(at(5)), Rest::Parked, Rest::Finished(at(6))].into_iter().enumerate()
    {
        assert_eq!(commit(&store, birth(number as u128, rest)).await, Outcome::Committed);
        assert_eq!(record(&store, number as u128).await.row.rest, rest);
    }
}

/// A second start of the same work returns the first.
pub async fn the_same_key_with_the_same_input_exists(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let before = look(&store).await;
    let again = Commit { saga: id(2), ..birth(1, Rest::Owned) };
    assert_eq!(commit(&store, again).await, Outcome::Exists { saga: id(1), same_input: true });
    assert_eq!(look(&store).await, before);
}

/// A second start of other work under the same key is told apart.
pub async fn the_same_key_with_another_input_exists(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let before = look(&store).await;
    let other = Commit { saga: id(2), ..born(|birth| birth.fingerprint = "other".into(), birth(1, Rest::Owned)) };
    assert_eq!(commit(&store, other).await, Outcome::Exists { saga: id(1), same_input: false });
    assert_eq!(look(&store).await, before);
}

/// A key is unique together with the definition's name.
pub async fn the_same_key_under_another_definition_is_another_saga(store: Subject) {
    enlist(&store, ME).await;
    let other = Commit { saga: id(2), ..born(|birth| birth.definition = "returns".into(), birth(1, Rest::Owned)) };
    commit_all(&store, vec![birth(1, Rest::Owned), other]).await;
    assert_eq!(record(&store, 1).await.birth.key, record(&store, 2).await.birth.key);
}

/// After a lost answer the engine commits again, and must see that it was first itself.
pub async fn a_birth_that_is_repeated_finds_itself(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    assert_eq!(commit(&store, birth(1, Rest::Owned)).await, Outcome::Exists { saga: id(1), same_input: true });
}

/// An id is never given twice, and a birth follows nothing.
pub async fn a_birth_under_an_id_that_is_taken_is_stale(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let before = look(&store).await;
    let taken = Commit { saga: id(1), ..birth(2, Rest::Owned) };
    assert_eq!(commit(&store, taken).await, Outcome::Stale);
    assert_eq!(look(&store).await, before);
    // What was taken just before is no reason to take this.
    commit_all(&store, vec![birth(4, Rest::Owned)]).await;
    let before = look(&store).await;
    let late = Commit { after: 1, ..birth(3, Rest::Owned) };
    assert_eq!(commit(&store, late).await, Outcome::Stale);
    assert_eq!(look(&store).await, before);
}

/// The same rendered text within the window is the same work, under whatever key.
pub async fn a_double_click_within_its_window_is_a_duplicate(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![double_click(1, 1_000, 3_000)]).await;
    let before = look(&store).await;
    assert_eq!(commit(&store, double_click(2, 2_999, 4_999)).await, Outcome::Duplicate { saga: id(1) });
    assert_eq!(look(&store).await, before);
    let elsewhere = born(|birth| birth.definition = "returns".into(), double_click(3, 2_000, 4_000));
    assert_eq!(commit(&store, elsewhere).await, Outcome::Committed, "a claim is its definition's");
}

/// When the window has passed the claim goes to the next.
pub async fn a_double_click_past_its_window_is_a_new_saga(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![double_click(1, 1_000, 3_000), double_click(2, 3_000, 5_000)]).await;
    assert_eq!(commit(&store, double_click(3, 4_000, 6_000)).await, Outcome::Duplicate { saga: id(2) });
}

/// Where both hold, the key says more: it tells whether the input is the same.
pub async fn a_double_click_is_judged_after_the_key(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![double_click(1, 1_000, 3_000)]).await;
    let again = Commit { saga: id(2), ..double_click(1, 2_000, 4_000) };
    assert_eq!(commit(&store, again).await, Outcome::Exists { saga: id(1), same_input: true });
}

/// A start that was refused for its key has made no saga that a claim could point to.
pub async fn a_birth_that_was_refused_leaves_no_double_click_behind(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let refused = Commit { saga: id(2), ..double_click(1, 1_000, 3_000) };
    assert_eq!(commit(&store, refused).await, Outcome::Exists { saga: id(1), same_input: true });
    assert_eq!(commit(&store, double_click(3, 1_000, 3_000)).await, Outcome::Committed);
}
