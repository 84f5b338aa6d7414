//! What is written with a decision besides its events: a statement for each kind of write, whatever the number of commits.

use super::audit;
use super::connect::Link;
use super::errors::Failure;
use super::flight::{Flight, Owned, column, values};
use super::statements::{
    CLOSE_DEAD_LETTERS, CLOSE_SAGA_DEAD_LETTERS, DELETE_MESSAGES, FIND_AUDITED, FIND_LETTER, HOLD_MESSAGES,
    MOVE_MESSAGES, OPEN_DEAD_LETTERS, PUT_AUDIT, PUT_MESSAGES, PUT_QUEUE_MESSAGES, Sql,
};
use super::text;
use crate::columns;
use crate::{Commit, Write};
use amends_core::time::Timestamp;
use uuid::Uuid;

/// Adds the writes of the commits. Of one commit's, those that touch the same thing are sent one after the other; the rest
/// goes together.
pub(super) fn add<'a>(flight: &mut Flight<'a>, commits: &[&'a Commit]) {
    let mut rounds: Vec<Vec<(Uuid, &'a Write)>> = Vec::new();
    // Dead letters are numbered in their order, whichever saga they are about.
    let mut last_opening = 0;
    for commit in commits {
        let mut placed: Vec<(usize, &Write)> = Vec::new();
        for write in &commit.writes {
            let after = placed.iter().filter(|(_, earlier)| touch_the_same(earlier, write)).map(|(round, _)| round + 1);
            let mut round = after.max().unwrap_or(0);
            if matches!(write, Write::OpenDeadLetter { .. }) {
                round = round.max(last_opening);
                last_opening = round;
            }
            placed.push((round, write));
            if round >= rounds.len() {
                rounds.resize_with(round + 1, Vec::new);
            }
            rounds[round].push((commit.saga, write));
        }
    }
    for (number, round) in rounds.into_iter().enumerate() {
        if number > 0 {
            flight.keep_order();
        }
        add_round(flight, &round);
    }
}

/// Whether the order of two writes about one saga matters.
fn touch_the_same(one: &Write, other: &Write) -> bool {
    touch_the_same_messages(one, other) || touch_the_same_letters(one, other)
}

fn touch_the_same_messages(one: &Write, other: &Write) -> bool {
    /// The steps whose messages a write touches: one or all.
    fn steps(write: &Write) -> Option<Option<&str>> {
        match write {
            Write::PutMessage { step, .. } | Write::MoveMessage { step, .. } | Write::DeleteMessage { step } => {
                Some(Some(step))
            }
            Write::HoldMessages => Some(None),
            _ => None,
        }
    }
    match (steps(one), steps(other)) {
        (Some(Some(one)), Some(Some(other))) => one == other,
        (Some(_), Some(_)) => true,
        _ => false,
    }
}

fn touch_the_same_letters(one: &Write, other: &Write) -> bool {
    /// The letters that a write touches: one by its id, or those about the saga as a whole.
    fn letters(write: &Write) -> Option<(Option<&str>, bool)> {
        match write {
            Write::OpenDeadLetter { id, step, .. } => Some((Some(id), step.is_none())),
            // It may be one about the saga as a whole.
            Write::CloseDeadLetter { id, .. } => Some((Some(id), true)),
            Write::CloseSagaDeadLetter { .. } => Some((None, true)),
            _ => None,
        }
    }
    match (letters(one), letters(other)) {
        (Some((Some(one), _)), Some((Some(other), _))) => one == other,
        (Some((_, one)), Some((_, other))) => one && other,
        _ => false,
    }
}

/// Adds a statement for all writes of one kind: `pick` takes what it needs of such a write, and `values` makes columns of it.
fn add_kind<'a, T>(
    flight: &mut Flight<'a>,
    sql: &'static Sql,
    round: &[(Uuid, &'a Write)],
    pick: impl Fn(Uuid, &'a Write) -> Option<T>,
    values: impl FnOnce(&[T]) -> Vec<Owned<'a>>,
) {
    let found: Vec<T> = round.iter().filter_map(|(saga, write)| pick(*saga, write)).collect();
    if !found.is_empty() {
        flight.add(sql, values(&found));
    }
}

fn add_round<'a>(flight: &mut Flight<'a>, round: &[(Uuid, &'a Write)]) {
    add_messages(flight, round);
    add_letters(flight, round);
    add_sent(flight, round);
    let audit = |saga, write: &'a Write| match write {
        Write::Audit { actor, action, step, reason, at } => Some((saga, actor, action, step, reason, at)),
        _ => None,
    };
    let writer = audit::writer(flight.link());
    add_kind(flight, &PUT_AUDIT, round, audit, |found| {
        values![
            column(found, |(.., at)| columns::time(**at)),
            column(found, |(_, actor, ..)| text::stored(actor)),
            column(found, |(_, _, action, ..)| text::stored(action)),
            column(found, |(saga, ..)| Some(*saga)),
            vec![None::<String>; found.len()],
            column(found, |(_, _, _, step, ..)| step.as_deref().map(text::stored)),
            column(found, |(_, _, _, _, reason, _)| text::stored(reason)),
            writer,
        ]
    });
}

/// Whether what a commit without events leaves for good is there: an entry in the audit log, or a dead letter.
pub(super) async fn has_left_something(link: &Link, commit: &Commit) -> Result<bool, Failure> {
    for write in &commit.writes {
        let found = match write {
            Write::OpenDeadLetter { id, .. } => link.query(&FIND_LETTER, &[&text::stored(id)]).await?,
            Write::Audit { actor, action, step, reason, at } => {
                let (at, step) = (columns::time(*at), step.as_deref().map(text::stored));
                let [actor, action, reason] = [actor, action, reason].map(|text| text::stored(text));
                link.query(&FIND_AUDITED, &[&commit.saga, &at, &actor, &action, &step, &reason]).await?
            }
            _ => continue,
        };
        if !found.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn add_messages<'a>(flight: &mut Flight<'a>, round: &[(Uuid, &'a Write)]) {
    let put = |saga, write: &'a Write| match write {
        Write::PutMessage { step, participant, at } => Some((saga, step, participant, at)),
        _ => None,
    };
    add_kind(flight, &PUT_MESSAGES, round, put, |found| {
        values![
            column(found, |(saga, ..)| *saga),
            column(found, |(_, step, ..)| text::stored(step)),
            column(found, |(_, _, participant, _)| text::stored(participant)),
            column(found, |(.., at)| columns::time(**at)),
        ]
    });
    let moved = |saga, write: &'a Write| match write {
        Write::MoveMessage { step, at } => Some((saga, step, at)),
        _ => None,
    };
    add_kind(flight, &MOVE_MESSAGES, round, moved, |found| {
        values![
            column(found, |(saga, ..)| *saga),
            column(found, |(_, step, _)| text::stored(step)),
            column(found, |(.., at)| columns::time(**at)),
        ]
    });
    let held = |saga, write: &'a Write| matches!(write, Write::HoldMessages).then_some(saga);
    add_kind(flight, &HOLD_MESSAGES, round, held, |found| values![found.to_vec(), columns::time(Timestamp::NEVER)]);
    let done = |saga, write: &'a Write| match write {
        Write::DeleteMessage { step } => Some((saga, step)),
        _ => None,
    };
    add_kind(flight, &DELETE_MESSAGES, round, done, |found| {
        values![column(found, |(saga, _)| *saga), column(found, |(_, step)| text::stored(step))]
    });
}

fn add_sent<'a>(flight: &mut Flight<'a>, round: &[(Uuid, &'a Write)]) {
    let sent = |_, write: &'a Write| match write {
        Write::Send { queue, message } => Some((queue, message)),
        _ => None,
    };
    add_kind(flight, &PUT_QUEUE_MESSAGES, round, sent, |found| {
        values![
            column(found, |(queue, _)| text::stored(queue)),
            column(found, |(_, message)| text::stored(&message.id)),
            column(found, |(_, message)| text::stored(&message.body)),
            column(found, |(_, message)| columns::time(message.at)),
        ]
    });
}

fn add_letters<'a>(flight: &mut Flight<'a>, round: &[(Uuid, &'a Write)]) {
    let opened = |saga, write: &'a Write| match write {
        Write::OpenDeadLetter { id, step, direction, claim, error, fingerprint, participant, at } => {
            Some((saga, id, step, direction, claim, error, fingerprint, participant, at))
        }
        _ => None,
    };
    add_kind(flight, &OPEN_DEAD_LETTERS, round, opened, |found| {
        values![
            column(found, |(_, id, ..)| text::stored(id)),
            column(found, |(saga, ..)| *saga),
            column(found, |(_, _, step, ..)| step.as_deref().map(text::stored)),
            column(found, |(_, _, _, direction, ..)| text::stored(direction)),
            column(found, |(_, _, _, _, claim, ..)| text::stored(claim)),
            column(found, |(_, _, _, _, _, error, ..)| text::stored(error)),
            column(found, |(.., fingerprint, _, _)| text::stored(fingerprint)),
            column(found, |(.., participant, _)| participant.as_deref().map(text::stored)),
            column(found, |(.., at)| columns::time(**at)),
        ]
    });
    let closed = |saga, write: &'a Write| match write {
        Write::CloseDeadLetter { id, resolution, at } => Some((saga, id, resolution, at)),
        _ => None,
    };
    add_kind(flight, &CLOSE_DEAD_LETTERS, round, closed, |found| {
        values![
            column(found, |(_, id, ..)| text::stored(id)),
            column(found, |(saga, ..)| *saga),
            column(found, |(.., at)| columns::time(**at)),
            column(found, |(_, _, resolution, _)| text::stored(resolution)),
        ]
    });
    let about_saga = |saga, write: &'a Write| match write {
        Write::CloseSagaDeadLetter { resolution, at } => Some((saga, resolution, at)),
        _ => None,
    };
    add_kind(flight, &CLOSE_SAGA_DEAD_LETTERS, round, about_saga, |found| {
        values![
            column(found, |(saga, ..)| *saga),
            column(found, |(.., at)| columns::time(**at)),
            column(found, |(_, resolution, _)| text::stored(resolution)),
        ]
    });
}
