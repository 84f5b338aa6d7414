//! One suite for every store.
//!
//! A case is an async function that is given a fresh, empty store and panics where the store breaks its promise.
//! [`conformance_cases!`](crate::conformance_cases) lists them all and hands the list to a macro of the caller's,
//! which makes a test of each; the list says which cases are for stores that serve one process and which for those
//! that serve several. A new method, outcome or write comes with its case.
//!
//! Cases look at a store through its own methods only, and never wait: time is an argument.

use crate::{
    AuditEntry, AuditQuery, Birth, Commit, Count, Counter, DeadLetter, DeadLetterQuery, Deed, Incarnation, Outcome,
    Receive, Received, Record, Rest, Row, SagaQuery, Statistics, StoreAndViews, StoreError, StoredDefinition,
    StoredEvents, Summary, Which, Write,
};
use amends_core::machine::Status;
use amends_core::time::Timestamp;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

pub mod audit;
pub mod batches;
pub mod births;
pub mod commits;
pub mod definitions;
pub mod lists;
pub mod ownership;
pub mod people;
pub mod queue;
pub mod queues;
pub mod retention;
pub mod statistics;
pub mod tokens;
pub mod values;

/// Calls the macro that it is given with every case: `any [module::case …] one [ … ] several [ … ]`.
#[macro_export]
macro_rules! conformance_cases {
    ($each:ident) => {
        $each! {
            any [
                births::a_saga_is_read_back_as_it_was_written
                births::a_saga_may_be_born_in_any_state_of_rest
                births::the_same_key_with_the_same_input_exists
                births::the_same_key_with_another_input_exists
                births::the_same_key_under_another_definition_is_another_saga
                births::a_birth_that_is_repeated_finds_itself
                births::a_birth_under_an_id_that_is_taken_is_stale
                births::a_double_click_within_its_window_is_a_duplicate
                births::a_double_click_past_its_window_is_a_new_saga
                births::a_double_click_is_judged_after_the_key
                births::a_birth_that_was_refused_leaves_no_double_click_behind
                commits::events_are_added_in_order
                commits::a_commit_with_several_events_counts_them_all
                commits::a_commit_that_begins_within_another_is_stale
                commits::a_commit_without_events_changes_the_row_alone
                commits::a_saga_at_rest_must_be_taken_before_it_is_committed_to
                commits::a_stale_commit_changes_nothing_at_all
                commits::a_commit_that_is_repeated_is_stale
                batches::outcomes_come_in_the_order_of_the_batch
                batches::a_refused_member_does_not_hinder_the_others
                batches::members_see_those_before_them
                batches::a_broken_member_leaves_nothing_of_its_batch
                batches::a_row_that_is_said_to_be_unchanged_stays
                batches::an_empty_batch_does_nothing
                ownership::only_a_live_incarnation_can_do_anything
                ownership::enlisting_again_changes_nothing
                ownership::enlisting_makes_orphans_due
                ownership::a_retired_incarnation_is_fenced_for_good
                ownership::retiring_frees_what_was_owned
                ownership::retiring_a_stranger_keeps_it_out
                ownership::claims_come_oldest_first
                ownership::a_claim_keeps_to_its_limit
                ownership::a_claim_says_when_the_next_is_due
                ownership::what_is_claimed_is_owned
                ownership::a_saga_at_rest_is_acquired_whether_due_or_not
                ownership::a_saga_of_mine_is_mine_already
                ownership::a_finished_saga_cannot_be_acquired
                ownership::a_missing_saga_cannot_be_acquired
                queue::messages_come_oldest_first
                queue::a_message_comes_when_its_time_has_come
                queue::a_message_is_invisible_until_its_time
                queue::a_message_comes_again_and_is_counted
                queue::a_message_that_is_put_again_moves_and_counts_anew
                queue::a_message_that_is_moved_keeps_its_count
                queue::messages_that_are_held_wait_until_they_are_moved
                queue::a_message_that_was_dealt_with_is_gone
                queue::what_a_retired_incarnation_received_comes_again
                queue::messages_of_other_participants_stay
                queue::receiving_keeps_to_its_limit
                queues::a_message_is_received_when_its_time_has_come
                queues::a_message_with_the_same_id_is_put_once
                queues::a_message_is_put_by_a_commit
                queues::what_nobody_deals_with_comes_again
                queues::what_was_dealt_with_late_is_dealt_with
                queues::the_time_for_a_message_is_extended
                queues::what_is_rejected_comes_again
                queues::a_strange_receipt_is_stale
                queues::receiving_takes_so_many
                queues::what_is_received_too_often_is_dead
                queues::dead_messages_are_redriven_at_a_rate
                queues::a_redrive_is_cancelled
                queues::messages_are_counted
                queues::what_a_message_says_is_kept
                queues::a_message_is_received_by_one
                people::a_dead_letter_is_opened_and_closed
                people::a_dead_letter_is_settled_once_and_by_its_own_saga
                people::a_dead_letter_about_the_saga_is_settled_by_the_saga
                people::dead_letters_come_in_pages
                people::dead_letters_are_filtered
                people::dead_letters_alike_are_counted_together
                people::groups_of_dead_letters_come_in_pages
                audit::the_audit_log_is_in_the_order_of_the_commits
                audit::the_audit_log_comes_in_pages
                audit::what_concerns_no_saga_is_in_the_log_once
                audit::entries_are_sealed_in_their_order
                audit::sealing_keeps_to_its_limit_and_does_nothing_twice
                audit::the_chain_is_read_from_any_place
                audit::the_chain_is_what_anybody_can_compute
                audit::what_is_written_after_a_sealing_is_sealed_behind_it
                lists::sagas_come_newest_first_in_pages
                lists::sagas_are_filtered
                lists::sagas_are_filtered_by_every_status
                lists::a_saga_that_is_missing_is_not_found
                statistics::counts_are_sums_over_all_definitions_and_minutes
                statistics::what_was_refused_is_not_counted
                statistics::open_dead_letters_are_counted
                statistics::a_parked_saga_with_nothing_to_wake_it_is_an_orphan
                statistics::an_owner_keeps_a_saga_from_being_an_orphan
                statistics::a_due_time_keeps_a_saga_from_being_an_orphan
                statistics::a_message_keeps_a_saga_from_being_an_orphan
                statistics::a_dead_letter_keeps_a_saga_from_being_an_orphan
                statistics::a_hold_keeps_a_saga_from_being_an_orphan
                statistics::a_finished_saga_is_no_orphan
                definitions::the_last_version_put_is_the_current_one
                definitions::an_identical_definition_changes_nothing
                definitions::an_earlier_version_can_be_made_current_again
                definitions::definitions_are_found_by_version
                retention::only_what_has_ended_long_ago_is_forgotten
                retention::what_is_forgotten_leaves_the_audit_log_and_the_counts
                retention::a_saga_with_an_open_dead_letter_is_not_forgotten
                retention::the_place_of_a_forgotten_dead_letter_is_not_given_again
                retention::the_key_of_a_forgotten_saga_is_free
                retention::a_saga_stays_while_its_double_click_counts
                retention::forgetting_keeps_to_its_limit_and_its_place
                retention::keeping_up_changes_nothing_that_is_seen
                tokens::a_token_is_found_by_its_digest
                tokens::a_token_that_is_put_again_changes_nothing
                tokens::two_tokens_never_share_a_digest
                tokens::a_token_is_revoked_once
                tokens::tokens_come_in_pages
                values::text_is_kept_whatever_is_in_it
                values::keys_differ_wherever_their_bytes_do
                values::bodies_are_kept_whatever_their_size
                values::times_are_kept_to_the_end_of_time
            ]
            one [
                ownership::enlisting_frees_the_sagas_of_all_others
                ownership::enlisting_fences_the_one_before
            ]
            several [
                batches::what_was_written_is_committed_when_it_is_offered_again
                batches::an_order_without_events_is_written_once
                batches::what_was_not_written_is_judged_when_it_is_offered_again
                ownership::enlisting_frees_nobody_elses_sagas
                ownership::a_saga_owned_elsewhere_cannot_be_acquired
                ownership::a_saga_owned_elsewhere_cannot_be_committed_to
                ownership::two_claims_never_share_a_saga
                ownership::messages_of_a_saga_go_to_its_owner
                ownership::retiring_one_leaves_the_other
                queue::a_message_that_one_received_is_invisible_to_the_other
            ]
        }
    };
}

/// What a case is given.
pub type Subject = Arc<dyn StoreAndViews>;

/// The incarnation that does everything unless a case is about several.
const ME: Incarnation = Uuid::from_u128(0xA);
/// Another one.
const OTHER: Incarnation = Uuid::from_u128(0xB);

const DEFINITION: &str = "order-fulfilment";
const PARTICIPANT: &str = "payment";

/// More than any case puts in a store.
const EVERYTHING: usize = 1_000;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at(milliseconds: u64) -> Timestamp {
    Timestamp(milliseconds)
}

/// What somebody did that concerns no saga.
fn deed(action: &str, subject: &str) -> Deed {
    Deed { actor: "kim".into(), action: action.into(), subject: subject.into(), at: at(900) }
}

fn row(rest: Rest) -> Row {
    let status = if matches!(rest, Rest::Finished(_)) { Status::Completed } else { Status::Running };
    Row { status, paused: false, reason: None, rest }
}

/// The events of one commit, by their numbers.
fn events(numbers: RangeInclusive<u64>) -> StoredEvents {
    let body = format!("events {numbers:?}").into_bytes();
    StoredEvents { count: numbers.end() + 1 - numbers.start(), at: at(*numbers.start()), body }
}

/// A saga's first commit, with one event; its key and its input go by its number.
pub fn birth(saga: u128, rest: Rest) -> Commit {
    let birth = Birth {
        definition: DEFINITION.into(),
        version: "version-1".into(),
        key: format!("order-{saga}"),
        fingerprint: format!("input-{saga}"),
        dedupe: None,
        created_at: at(100),
    };
    Commit { birth: Some(birth), ..following(saga, 0, rest) }
}

/// A later commit, with one event.
pub fn following(saga: u128, after: u64, rest: Rest) -> Commit {
    Commit {
        saga: id(saga),
        after,
        birth: None,
        events: Some(events(after + 1..=after + 1)),
        row: row(rest),
        changes_row: true,
        writes: Vec::new(),
        counts: Vec::new(),
    }
}

fn count(counter: Counter, minute: u64) -> Count {
    Count { definition: DEFINITION.into(), counter, at: at(minute * 60_000) }
}

fn put_message(step: &str, when: u64) -> Write {
    Write::PutMessage { step: step.into(), participant: PARTICIPANT.into(), at: at(when) }
}

fn open_dead_letter(id: &str) -> Write {
    Write::OpenDeadLetter {
        id: id.into(),
        step: Some("charge-payment".into()),
        direction: "compensation".into(),
        claim: "unknown".into(),
        error: "503 from payment".into(),
        fingerprint: "00f1".into(),
        participant: Some("payment".into()),
        at: at(700),
    }
}

fn close_dead_letter(id: &str) -> Write {
    Write::CloseDeadLetter { id: id.into(), resolution: "refunded by hand, ticket 12".into(), at: at(800) }
}

fn audit(reason: &str) -> Write {
    Write::Audit {
        actor: "kim".into(),
        action: "skip".into(),
        step: Some("charge-payment".into()),
        reason: reason.into(),
        at: at(900),
    }
}

async fn enlist(store: &Subject, who: Incarnation) {
    store.enlist(who, at(0)).await.expect("a fresh incarnation can enlist");
}

/// Commits one decision and returns what became of it.
async fn commit_as(who: Incarnation, store: &Subject, commit: Commit) -> Outcome {
    let mut outcomes = store.commit(who, vec![commit].into()).await.expect("a live incarnation can commit");
    assert_eq!(outcomes.len(), 1, "one outcome for one commit");
    outcomes.remove(0)
}

async fn commit(store: &Subject, commit: Commit) -> Outcome {
    commit_as(ME, store, commit).await
}

/// Commits decisions that must all be taken; a saga at rest is acquired first.
async fn commit_all(store: &Subject, batch: Vec<Commit>) {
    for decision in batch {
        let saga = decision.saga;
        if decision.birth.is_none() {
            store.acquire(ME, saga).await.expect("a live incarnation can acquire");
        }
        assert_eq!(commit(store, decision).await, Outcome::Committed, "the commit for saga {saga}");
    }
}

async fn record(store: &Subject, saga: u128) -> Record {
    store.saga(id(saga)).await.expect("a saga can be read").expect("the saga is there")
}

async fn rest(store: &Subject, saga: u128) -> Rest {
    record(store, saga).await.row.rest
}

async fn statistics(store: &Subject) -> Statistics {
    store.statistics().await.expect("statistics can be read")
}

async fn receive_as(who: Incarnation, store: &Subject, now: u64, limit: usize) -> Received {
    let request = Receive { participant: PARTICIPANT.into(), limit, now: at(now), invisible_until: at(now + 60_000) };
    store.receive(who, request).await.expect("a live incarnation can receive")
}

async fn receive(store: &Subject, now: u64) -> Received {
    receive_as(ME, store, now, EVERYTHING).await
}

/// The steps of the messages, in the order in which they came.
fn steps(received: &Received) -> Vec<&str> {
    received.messages.iter().map(|message| message.step.as_str()).collect()
}

fn assert_fenced<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Fenced)), "a dead incarnation is fenced, but got {answer:?}");
}

/// Everything that can be seen of a store without changing it.
#[derive(Debug, PartialEq)]
pub struct Dump {
    sagas: Vec<Summary>,
    records: Vec<Option<Record>>,
    dead_letters: Vec<DeadLetter>,
    audit: Vec<AuditEntry>,
    statistics: Statistics,
    definitions: Vec<StoredDefinition>,
    next_due: Option<Timestamp>,
    next_message: Option<Timestamp>,
}

/// Looks at everything; `who` is a live incarnation, because the queues can be asked by one only.
///
/// # Errors
/// Whatever the store says.
pub async fn dump(store: &Subject, who: Incarnation) -> Result<Dump, StoreError> {
    let sagas = store.sagas(SagaQuery { limit: EVERYTHING, ..SagaQuery::default() }).await?;
    let mut records = Vec::new();
    for saga in &sagas {
        records.push(store.saga(saga.id).await?);
    }
    let letters = DeadLetterQuery { closed: true, limit: EVERYTHING, ..DeadLetterQuery::default() };
    let nothing = Receive { participant: PARTICIPANT.into(), limit: 0, now: at(0), invisible_until: at(0) };
    Ok(Dump {
        sagas,
        records,
        dead_letters: store.dead_letters(letters).await?,
        audit: without_writers(store.audit(AuditQuery { limit: EVERYTHING, ..AuditQuery::default() }).await?),
        statistics: store.statistics().await?,
        definitions: store.definitions(Which::Current).await?,
        next_due: store.claim(who, at(0), 0).await?.next_due,
        next_message: store.receive(who, nothing).await?.next_at,
    })
}

/// Places say, too, which connection wrote an entry, where several do; that is no two stores' the same.
pub fn without_writers(mut entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
    for entry in &mut entries {
        entry.place >>= 64;
    }
    entries
}

async fn look(store: &Subject) -> Dump {
    dump(store, ME).await.expect("everything can be looked at")
}
