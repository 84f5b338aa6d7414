//! The commit: a batch of decisions in one transaction, by statements over arrays.
//!
//! Nearly always all of a batch is taken. So it is done by one statement, which fails where it would leave something out. Only
//! then the batch is done with care, in two flights. The first fences this incarnation and adds sagas and events, leaving out
//! what is to be refused, and what comes back says which commits were taken. The second writes what follows from those, and
//! commits. Where a batch has several commits about one saga or key, which an engine does not do, they are done in waves, one
//! after the other in the same transaction.
//!
//! A batch whose answer was lost is offered again. What was written then is recognised by its events, and counts as committed:
//! nobody but the owner of a saga can have written them. A transaction that still hangs on the server holds its rows until it
//! has ended, and this one waits for that.

use super::connect::Link;
use super::errors::Failure;
use super::flight::{Flight, Place, column, values};
use super::statements::{
    CHANGE_UNFINISHED, DELETE_SAGAS, DELETE_UNFINISHED, FIND_REFUSED, FIND_WRITTEN, JUDGE, PUT_BIRTHS, PUT_COUNTS,
    PUT_EVENTS, PUT_FINISHED, PUT_UNFINISHED,
};
use super::{rows, text, writes};
use crate::columns;
use crate::{Birth, Commit, Incarnation, Offer, Outcome, Rest, StoreError, StoredEvents};
use amends_failpoints::failpoint;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(super) async fn commit(
    link: &Link,
    me: Incarnation,
    batch: &[Commit],
    offer: Offer,
) -> Result<Vec<Outcome>, Failure> {
    let waves = waves(batch);
    // A birth that follows something, or in which nothing happens, is refused, and nothing that is written would show it.
    let is_decided =
        batch.iter().all(|commit| commit.birth.is_none() || (commit.after == 0 && commit.events.is_some()));
    if let ([wave], Offer::First, false, true) = (waves.as_slice(), offer, link.was_refused(), is_decided) {
        debug_assert_eq!(wave.len(), batch.len(), "one wave is the whole batch");
        if commit_all(link, me, batch).await? {
            return Ok(vec![Outcome::Committed; batch.len()]);
        }
    }
    let outcomes = commit_some(link, me, batch, waves, offer).await?;
    link.set_refused(outcomes.iter().any(|outcome| *outcome != Outcome::Committed));
    Ok(outcomes)
}

/// Commits all of a batch by one statement, or nothing. Returns whether it did.
async fn commit_all(link: &Link, me: Incarnation, batch: &[Commit]) -> Result<bool, Failure> {
    let commits: Vec<&Commit> = batch.iter().collect();
    let mut flight = Flight::fenced(link, me);
    add_decisions(&mut flight, me, &commits);
    add_rows(&mut flight, me, &commits);
    writes::add(&mut flight, &commits);
    add_counts(&mut flight, link, &commits);
    if failpoint!(async TransactionWritten) {
        return Err(Failure::Refused(StoreError::Unavailable("failpoint transaction.written".into())));
    }
    let is_done = flight.at_once().await?;
    if is_done {
        failpoint!(async TransactionCommitted);
    }
    Ok(is_done)
}

/// Commits what can be committed of a batch.
async fn commit_some(
    link: &Link,
    me: Incarnation,
    batch: &[Commit],
    waves: Vec<Vec<usize>>,
    offer: Offer,
) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = vec![Outcome::Stale; batch.len()];
    link.begin().await?;
    let mut flight = Flight::fenced(link, me);
    for wave in waves {
        let commits: Vec<&Commit> = wave.iter().map(|place| &batch[*place]).collect();
        let judged = judge(link, me, &commits, offer, flight).await?;
        flight = Flight::new(link);
        let mut taken = Vec::new();
        for (place, judged) in wave.into_iter().zip(judged) {
            outcomes[place] = match judged {
                Judged::Taken => {
                    taken.push(&batch[place]);
                    Outcome::Committed
                }
                Judged::Settled(outcome) => outcome,
            };
        }
        add_rows(&mut flight, me, &taken);
        writes::add(&mut flight, &taken);
        add_counts(&mut flight, link, &taken);
    }
    if failpoint!(async TransactionWritten) {
        return Err(Failure::Refused(StoreError::Unavailable("failpoint transaction.written".into())));
    }
    flight.commit().await?;
    failpoint!(async TransactionCommitted);
    Ok(outcomes)
}

/// Splits a batch, by the places of its members, so that no two members of a wave are about the same saga, key or claim.
fn waves(batch: &[Commit]) -> Vec<Vec<usize>> {
    let mut waves: Vec<Vec<usize>> = Vec::new();
    // In which wave something was met last.
    let (mut sagas, mut keys, mut claims) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (place, commit) in batch.iter().enumerate() {
        let key = commit.birth.as_ref().map(|birth| (&birth.definition, &birth.key));
        let claim = commit.birth.as_ref().and_then(|birth| Some((&birth.definition, &birth.dedupe.as_ref()?.digest)));
        let met = [
            sagas.get(&commit.saga).copied(),
            key.and_then(|key| keys.get(&key).copied()),
            claim.and_then(|claim| claims.get(&claim).copied()),
        ];
        let wave = met.into_iter().flatten().max().map_or(0, |last: usize| last + 1);
        sagas.insert(commit.saga, wave);
        keys.extend(key.map(|key| (key, wave)));
        claims.extend(claim.map(|claim| (claim, wave)));
        if wave == waves.len() {
            waves.push(Vec::new());
        }
        waves[wave].push(place);
    }
    waves
}

/// What became of a commit in the first flight.
enum Judged {
    /// Its saga and its events are written; what follows from them is to be.
    Taken,
    /// Nothing is to be written for it.
    Settled(Outcome),
}

/// Adds the sagas and events of a wave, and tells which of its commits were taken.
async fn judge<'a>(
    link: &'a Link,
    me: Incarnation,
    commits: &[&'a Commit],
    offer: Offer,
    mut flight: Flight<'a>,
) -> Result<Vec<Judged>, Failure> {
    let [births, events, bare] = add_decisions(&mut flight, me, commits);
    let landed = flight.land().await?;
    let mut taken = BTreeSet::new();
    // Those that were born and find their double click's claim held were not to be.
    let mut unborn: Vec<Uuid> = Vec::new();
    for row in births.map(|place| landed.rows(place)).unwrap_or_default() {
        let (saga, has_claim) = (row.try_get(0)?, row.try_get(1)?);
        if has_claim {
            taken.insert(saga);
        } else {
            unborn.push(saga);
        }
    }
    for row in [events, bare].into_iter().flatten().flat_map(|place| landed.rows(place)) {
        taken.insert(row.try_get(0)?);
    }
    if !unborn.is_empty() {
        let mut flight = Flight::new(link);
        for sql in DELETE_SAGAS {
            flight.add(sql, values![unborn.clone()]);
        }
        flight.land().await?;
    }
    if offer == Offer::Again {
        // Nothing in them keeps commits without events from being done twice.
        for commit in commits.iter().filter(|commit| commit.birth.is_none() && commit.events.is_none()) {
            if taken.contains(&commit.saga) && has_written(link, commit).await? {
                taken.remove(&commit.saga);
            }
        }
    }
    let is_taken = |commit: &Commit| taken.contains(&commit.saga);
    let refused: Vec<&Commit> = commits.iter().filter(|commit| !is_taken(commit)).copied().collect();
    let mut why = explain(link, &refused, offer).await?.into_iter();
    let judged = commits.iter().map(|commit| match is_taken(commit) {
        true => Judged::Taken,
        false => Judged::Settled(why.next().expect("each refusal is explained")),
    });
    Ok(judged.collect())
}

/// Adds what decides whether a commit is taken: births, events, and a question where there is neither.
fn add_decisions<'a>(flight: &mut Flight<'a>, me: Incarnation, commits: &[&'a Commit]) -> [Option<Place>; 3] {
    [add_births(flight, commits), add_events(flight, me, commits), add_question(flight, me, commits)]
}

fn add_births<'a>(flight: &mut Flight<'a>, commits: &[&'a Commit]) -> Option<Place> {
    let mut births: Vec<(&Commit, &Birth, &StoredEvents)> = commits
        .iter()
        .filter(|commit| commit.after == 0)
        .filter_map(|commit| Some((*commit, commit.birth.as_ref()?, commit.events.as_ref()?)))
        .collect();
    births.sort_by_key(|(_, birth, _)| (&birth.key, &birth.definition));
    let dedupe = |birth: &'a Birth| birth.dedupe.as_ref();
    (!births.is_empty()).then(|| {
        flight.add(
            &PUT_BIRTHS,
            values![
                column(&births, |(commit, ..)| commit.saga),
                column(&births, |(_, birth, _)| text::stored(&birth.definition)),
                column(&births, |(_, birth, _)| text::stored(&birth.version)),
                column(&births, |(_, birth, _)| text::stored(&birth.key)),
                column(&births, |(_, birth, _)| text::stored(&birth.fingerprint)),
                column(&births, |(_, birth, _)| columns::time(birth.created_at)),
                column(&births, |(_, birth, _)| dedupe(birth).map(|dedupe| text::stored(&dedupe.digest))),
                column(&births, |(_, birth, _)| dedupe(birth).map(|dedupe| columns::time(dedupe.until))),
                column(&births, |(.., events)| columns::number(events.count)),
                column(&births, |(.., events)| columns::time(events.at)),
                column(&births, |(.., events)| events.body.as_slice()),
            ],
        )
    })
}

/// Adds what happened in sagas that are there already.
fn add_events<'a>(flight: &mut Flight<'a>, me: Incarnation, commits: &[&'a Commit]) -> Option<Place> {
    let next: Vec<(&Commit, &StoredEvents)> = commits
        .iter()
        .filter(|commit| commit.birth.is_none())
        .filter_map(|commit| Some((*commit, commit.events.as_ref()?)))
        .collect();
    (!next.is_empty()).then(|| {
        flight.add(
            &PUT_EVENTS,
            values![
                column(&next, |(commit, _)| commit.saga),
                column(&next, |(commit, _)| columns::number(commit.after)),
                column(&next, |(_, events)| columns::number(events.count)),
                column(&next, |(_, events)| columns::time(events.at)),
                column(&next, |(_, events)| events.body.as_slice()),
                me,
            ],
        )
    })
}

/// Commits that change the row alone are asked about, for there is nothing to add that could be left out.
fn add_question<'a>(flight: &mut Flight<'a>, me: Incarnation, commits: &[&'a Commit]) -> Option<Place> {
    let bare: Vec<&Commit> =
        commits.iter().filter(|commit| commit.birth.is_none() && commit.events.is_none()).copied().collect();
    (!bare.is_empty()).then(|| {
        flight.add(
            &JUDGE,
            values![column(&bare, |commit| commit.saga), column(&bare, |commit| columns::number(commit.after)), me,],
        )
    })
}

/// Why commits were refused, in their order. This is rare, so each is asked about on its own.
async fn explain(link: &Link, refused: &[&Commit], offer: Offer) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::with_capacity(refused.len());
    for commit in refused {
        let outcome = match &commit.birth {
            Some(birth) => explain_birth(link, commit, birth).await?,
            None => Outcome::Stale,
        };
        let was_written =
            offer == Offer::Again && outcome.may_be_for_itself(commit) && has_written(link, commit).await?;
        outcomes.push(if was_written { Outcome::Committed } else { outcome });
    }
    Ok(outcomes)
}

/// Whether the events of a commit are in the store, or where it has none, what it has left for good.
async fn has_written(link: &Link, commit: &Commit) -> Result<bool, Failure> {
    let Some(events) = &commit.events else { return writes::has_left_something(link, commit).await };
    let first = columns::number(commit.after.saturating_add(1));
    let found = link.query(&FIND_WRITTEN, &[&commit.saga, &first]).await?;
    let Some(found) = found.first() else { return Ok(false) };
    let (last, at, body): (i64, i64, &[u8]) = (found.try_get(0)?, found.try_get(1)?, found.try_get(2)?);
    let expected = (columns::number(commit.after.saturating_add(events.count)), columns::time(events.at));
    Ok((last, at) == expected && body == events.body)
}

async fn explain_birth(link: &Link, commit: &Commit, birth: &Birth) -> Result<Outcome, Failure> {
    let digest = birth.dedupe.as_ref().map(|dedupe| text::stored(&dedupe.digest));
    let (definition, key) = (text::stored(&birth.definition), text::stored(&birth.key));
    let found = link.query(&FIND_REFUSED, &[&definition, &key, &commit.saga, &digest]).await?;
    let found = found.first().ok_or_else(|| StoreError::Damaged("a query for one row gave none".into()))?;
    if let Some(saga) = found.try_get::<_, Option<Uuid>>(0)? {
        let fingerprint: String = found.try_get(1)?;
        return Ok(Outcome::Exists { saga, same_input: text::read(fingerprint) == birth.fingerprint });
    }
    match (commit.after, found.try_get::<_, bool>(2)?, found.try_get::<_, Option<Uuid>>(3)?) {
        (0, false, Some(saga)) => Ok(Outcome::Duplicate { saga }),
        _ => Ok(Outcome::Stale),
    }
}

/// Writes how the sagas of the commits stand now.
fn add_rows<'a>(flight: &mut Flight<'a>, me: Incarnation, taken: &[&'a Commit]) {
    let is_finished = |commit: &&&Commit| matches!(commit.row.rest, Rest::Finished(_));
    let finished: Vec<&Commit> = taken.iter().filter(is_finished).copied().collect();
    let is_changed = |commit: &&&Commit| commit.changes_row && !is_finished(commit);
    let (born, changed): (Vec<&Commit>, Vec<&Commit>) =
        taken.iter().filter(is_changed).copied().partition(|commit| commit.birth.is_some());
    for (sql, commits) in [(&PUT_UNFINISHED, born), (&CHANGE_UNFINISHED, changed)] {
        if !commits.is_empty() {
            flight.add(
                sql,
                values![
                    column(&commits, |commit| commit.saga),
                    column(&commits, |commit| commit.row.status.as_str()),
                    column(&commits, |commit| commit.row.paused),
                    column(&commits, |commit| commit.row.reason.as_deref().map(text::stored)),
                    column(&commits, |commit| rows::owner(commit.row.rest, me)),
                    column(&commits, |commit| rows::wake_at(commit.row.rest)),
                ],
            );
        }
    }
    if !finished.is_empty() {
        let ends = || finished.iter().map(|commit| &commit.row);
        flight.add(
            &PUT_FINISHED,
            values![
                column(&finished, |commit| commit.saga),
                ends().map(|row| row.status.as_str()).collect::<Vec<_>>(),
                ends().map(|row| row.paused).collect::<Vec<_>>(),
                ends().map(|row| row.reason.as_deref().map(text::stored)).collect::<Vec<_>>(),
                ends().map(|row| rows::finished_at(row.rest)).collect::<Vec<_>>(),
            ],
        );
        flight.add(&DELETE_UNFINISHED, values![column(&finished, |commit| commit.saga)]);
    }
}

/// Counts what the commits ask to be counted: a row for each minute, definition and counter.
fn add_counts<'a>(flight: &mut Flight<'a>, link: &Link, taken: &[&'a Commit]) {
    let mut counts: BTreeMap<(u64, &'a str, &'static str), i64> = BTreeMap::new();
    for count in taken.iter().flat_map(|commit| &commit.counts) {
        *counts.entry((columns::minute(count), &count.definition, columns::counter(count.counter))).or_default() += 1;
    }
    if !counts.is_empty() {
        flight.add(
            &PUT_COUNTS,
            values![
                counts.keys().map(|(minute, ..)| columns::number(*minute)).collect::<Vec<_>>(),
                counts.keys().map(|(_, definition, _)| text::stored(definition)).collect::<Vec<_>>(),
                counts.keys().map(|(.., counter)| *counter).collect::<Vec<_>>(),
                counts.values().copied().collect::<Vec<_>>(),
                link.writer,
            ],
        );
    }
}
