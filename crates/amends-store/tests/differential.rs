//! The same random operations on the model and on a real store, whose answers must be the same, one by one.
//!
//! A run goes on until every operation has been seen to succeed, and every way to be refused has been met. It names
//! its seed; `AMENDS_SEED=<seed> cargo nextest run -p amends-store --test differential` repeats it.

use amends_core::machine::Status;
use amends_core::time::Timestamp;
use amends_store::conformance::{Subject, dump, without_writers};
use amends_store::queues::{DeadQuery, Handled, Handling, NewMessage, NewRedrive, QueueError, ReceiveRequest};
use amends_store::{
    Acquired, AuditQuery, Birth, Commit, Count, Counter, DeadLetterQuery, Dedupe, Deed, Forget, GroupQuery,
    MemoryStore, Outcome, PostgresOptions, PostgresStore, Processes, Receive, Rest, Row, SagaQuery, SqliteOptions,
    SqliteStore, StoreError, StoredDefinition, StoredEvents, Which, Write,
};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use uuid::Uuid;

const OPERATIONS_MIN: usize = 400;
const OPERATIONS_MAX: usize = 5_000;

/// Everything must be met in a run; a run that could do without meeting it would show nothing.
const COVERAGE: &[&str] = &[
    "enlist",
    "enlist fenced",
    "retire",
    "commit committed",
    "commit exists, same input",
    "commit exists, other input",
    "commit duplicate",
    "commit stale",
    "commit fenced",
    "commit damaged",
    "claim some",
    "claim none",
    "claim fenced",
    "acquire yours",
    "acquire finished",
    "acquire missing",
    "receive some",
    "receive again",
    "receive none",
    "forget some",
    "forget none",
    "put-definition changed",
    "put-definition unchanged",
    "definitions",
    "saga found",
    "saga missing",
    "sagas",
    "dead-letters",
    "dead-letter found",
    "audit",
    "seal none",
    "seal some",
    "sealed",
    "statistics",
    "work done",
    "work again",
    "work none",
    "work stale",
    "dead some",
    "redrive some",
    "redrives",
    "cancel-redrive some",
    "depth",
    "write put-message",
    "write move-message",
    "write hold-messages",
    "write delete-message",
    "write open-dead-letter",
    "write close-dead-letter",
    "write close-saga-dead-letter",
    "write send",
    "write audit",
];

/// What can be met only where several processes share a store.
const COVERAGE_OF_SEVERAL: &[&str] = &["acquire elsewhere", "commit-again"];

#[derive(Clone, Debug)]
enum Operation {
    Enlist(Uuid),
    Retire(Uuid),
    Commit(Uuid, Vec<Commit>),
    CommitAgain(Uuid, Vec<Commit>),
    Claim(Uuid, usize),
    Acquire(Uuid, Uuid),
    Receive(Uuid, String, usize),
    Forget(Forget),
    PutDefinition(StoredDefinition),
    Definitions(Which),
    Saga(Uuid),
    Sagas(SagaQuery),
    DeadLetters(DeadLetterQuery),
    DeadLetter(String),
    DeadLetterGroups(GroupQuery),
    Audit(AuditQuery),
    Seal(usize),
    Sealed(u64, usize),
    Statistics,
    /// Receives messages of a queue and deals with them, one after the other.
    Work(String, ReceiveRequest, Vec<Handling>),
    Dead(String, DeadQuery),
    Redrive(String, NewRedrive),
    Redrives(String),
    CancelRedrive(String, String),
    Depth(String),
}

/// Answers as text; of an error only its kind, because each store tells it in its own words.
fn told<T: Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(StoreError::Fenced) => "fenced".into(),
        Err(StoreError::Unavailable(_)) => "unavailable".into(),
        Err(StoreError::Unknown(_)) => "unknown".into(),
        Err(StoreError::Damaged(_)) => "damaged".into(),
    }
}

/// Does it, and returns the answer and what of [`COVERAGE`] was met.
async fn perform(store: &Subject, operation: Operation, now: Timestamp) -> (String, Vec<String>) {
    let mut met = Vec::new();
    let mut meet = |operation: &str, how: &str| met.push(format!("{operation} {how}").trim_end().to_owned());
    let answer = match operation {
        Operation::Enlist(who) => {
            let answer = told(store.enlist(who, now).await);
            meet("enlist", if answer == "fenced" { "fenced" } else { "" });
            answer
        }
        Operation::Retire(whom) => {
            meet("retire", "");
            told(store.retire(whom, now).await)
        }
        Operation::Commit(who, batch) => {
            let answer = store.commit(who, batch.clone().into()).await;
            met.extend(met_by_commit(&batch, &answer));
            told(answer)
        }
        Operation::CommitAgain(who, batch) => {
            let answer = store.commit_again(who, batch.into()).await;
            meet("commit-again", if answer.is_ok() { "" } else { "failed" });
            told(answer)
        }
        Operation::Claim(who, limit) => {
            let answer = store.claim(who, now, limit).await;
            let how = answer.as_ref().map(|claimed| if claimed.records.is_empty() { "none" } else { "some" });
            meet("claim", how.unwrap_or("fenced"));
            told(answer)
        }
        Operation::Acquire(who, saga) => {
            let answer = store.acquire(who, saga).await;
            let how = answer.as_ref().map(|acquired| match acquired {
                Acquired::Yours(_) => "yours",
                Acquired::Finished(_) => "finished",
                Acquired::Elsewhere(_) => "elsewhere",
                Acquired::Missing => "missing",
            });
            meet("acquire", how.unwrap_or("fenced"));
            told(answer)
        }
        Operation::Receive(who, participant, limit) => {
            let request = Receive { participant, limit, now, invisible_until: now.plus(40) };
            let answer = store.receive(who, request).await;
            let most = answer.as_ref().map(|received| received.messages.iter().map(|one| one.receives).max());
            meet(
                "receive",
                most.map_or("fenced", |most| most.map_or("none", |most| if most > 1 { "again" } else { "some" })),
            );
            told(answer)
        }
        Operation::Forget(request) => {
            let answer = store.forget(request).await;
            let how = answer.as_ref().map(|forgotten| if forgotten.is_empty() { "none" } else { "some" });
            meet("forget", how.unwrap_or("failed"));
            told(answer)
        }
        Operation::PutDefinition(definition) => {
            let deed = Deed { actor: "kim".into(), action: "put definition".into(), subject: "orders".into(), at: now };
            let answer = told(store.put_definition(definition, deed).await);
            meet("put-definition", if answer == "true" { "changed" } else { "unchanged" });
            answer
        }
        other => {
            let (operation, how, answer) = look_or_seal(store, other, now).await;
            meet(operation, how);
            answer
        }
    };
    (answer, met)
}

/// Receipts differ from store to store, so what is received is dealt with at once.
async fn work(store: &Subject, queue: &str, request: ReceiveRequest, handlings: &[Handling]) -> (String, &'static str) {
    let received = store.receive_from(queue, request).await.expect("messages can be received");
    let (mut answer, mut how) = (String::new(), if received.is_empty() { "none" } else { "done" });
    for (delivery, handling) in received.iter().zip(handlings.iter().cycle()) {
        let mut handled = Vec::new();
        // The second time there is nothing to deal with any more, or there is again.
        for _ in 0..2 {
            let handlings = vec![(delivery.receipt.clone(), *handling)];
            handled.extend(store.handle(queue, handlings, request.now).await.expect("messages can be dealt with"));
        }
        if delivery.receives > 1 {
            how = "again";
        } else if handled.contains(&Handled::Stale) {
            how = "stale";
        }
        answer += &format!("{} {} {} {handled:?}; ", delivery.id, delivery.body, delivery.receives);
    }
    (answer, how)
}

async fn look_or_seal(store: &Subject, operation: Operation, now: Timestamp) -> (&'static str, &'static str, String) {
    match operation {
        Operation::Definitions(which) => ("definitions", "", told(store.definitions(which).await)),
        Operation::Saga(id) => {
            let answer = told(store.saga(id).await);
            ("saga", if answer == "None" { "missing" } else { "found" }, answer)
        }
        Operation::Sagas(query) => ("sagas", "", told(store.sagas(query).await)),
        Operation::DeadLetters(query) => ("dead-letters", "", told(store.dead_letters(query).await)),
        Operation::DeadLetterGroups(query) => ("dead-letter-groups", "", told(store.dead_letter_groups(query).await)),
        Operation::DeadLetter(id) => {
            let answer = told(store.dead_letter(&id).await);
            ("dead-letter", if answer == "None" { "missing" } else { "found" }, answer)
        }
        Operation::Audit(query) => ("audit", "", told(store.audit(query).await.map(without_writers))),
        Operation::Seal(limit) => {
            let answer = store.seal(limit).await;
            ("seal", if matches!(answer, Ok(Some(_))) { "some" } else { "none" }, told(answer))
        }
        Operation::Sealed(after, limit) => ("sealed", "", told(store.sealed(after, limit).await.map(without_writers))),
        Operation::Statistics => ("statistics", "", told(store.statistics().await)),
        Operation::Work(..)
        | Operation::Dead(..)
        | Operation::Redrive(..)
        | Operation::Redrives(_)
        | Operation::CancelRedrive(..)
        | Operation::Depth(_) => queue(store, operation, now).await.expect("a store's queue works"),
        Operation::Enlist(_)
        | Operation::Retire(_)
        | Operation::Commit(..)
        | Operation::CommitAgain(..)
        | Operation::Claim(..)
        | Operation::Acquire(..)
        | Operation::Receive(..)
        | Operation::Forget(_)
        | Operation::PutDefinition(_) => unreachable!("the writes are performed by the caller"),
    }
}

async fn queue(
    store: &Subject,
    operation: Operation,
    now: Timestamp,
) -> Result<(&'static str, &'static str, String), QueueError> {
    let some = |is_some| if is_some { "some" } else { "none" };
    Ok(match operation {
        Operation::Work(queue, request, handlings) => {
            let (answer, how) = work(store, &queue, request, &handlings).await;
            ("work", how, answer)
        }
        Operation::Redrive(queue, redrive) => {
            let answer = store.redrive(&queue, redrive).await?;
            ("redrive", some(answer.total > 0), format!("{answer:?}"))
        }
        Operation::CancelRedrive(queue, id) => {
            let answer = store.cancel_redrive(&queue, &id, now).await?;
            ("cancel-redrive", some(answer.is_some()), format!("{answer:?}"))
        }
        Operation::Dead(queue, query) => {
            let answer = store.dead(&queue, query).await?;
            ("dead", some(!answer.is_empty()), format!("{answer:?}"))
        }
        Operation::Redrives(queue) => ("redrives", "", format!("{:?}", store.redrives(&queue, now).await?)),
        Operation::Depth(queue) => ("depth", "", format!("{:?}", store.depth(&queue, now).await?)),
        _ => unreachable!("the others are not about a queue"),
    })
}

fn met_by_commit(batch: &[Commit], answer: &Result<Vec<Outcome>, StoreError>) -> Vec<String> {
    let outcomes = match answer {
        Ok(outcomes) => outcomes,
        Err(StoreError::Fenced) => return vec!["commit fenced".into()],
        Err(StoreError::Damaged(_)) => return vec!["commit damaged".into()],
        Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => return vec!["commit unavailable".into()],
    };
    let mut met = Vec::new();
    for (commit, outcome) in batch.iter().zip(outcomes) {
        let how = match outcome {
            Outcome::Committed => "committed",
            Outcome::Exists { same_input: true, .. } => "exists, same input",
            Outcome::Exists { same_input: false, .. } => "exists, other input",
            Outcome::Duplicate { .. } => "duplicate",
            Outcome::Stale => "stale",
        };
        met.push(format!("commit {how}"));
        let written = commit.writes.iter().filter(|_| *outcome == Outcome::Committed);
        met.extend(written.map(|write| {
            let what = match write {
                Write::PutMessage { .. } => "put-message",
                Write::MoveMessage { .. } => "move-message",
                Write::HoldMessages => "hold-messages",
                Write::DeleteMessage { .. } => "delete-message",
                Write::OpenDeadLetter { .. } => "open-dead-letter",
                Write::CloseDeadLetter { .. } => "close-dead-letter",
                Write::CloseSagaDeadLetter { .. } => "close-saga-dead-letter",
                Write::Send { .. } => "send",
                Write::Audit { .. } => "audit",
            };
            format!("write {what}")
        }));
    }
    met
}

/// Draws operations over a few sagas, keys and names, so that they meet.
struct Dice {
    rng: Rng,
    now: u64,
    /// Every incarnation that was ever drawn; the last one is meant to be live.
    incarnations: Vec<Uuid>,
    letters: u32,
    /// The last batch, and who offered it.
    offered: Option<(Uuid, Vec<Commit>)>,
    processes: Processes,
    /// Sagas and keys are drawn below this. It grows, so that there are always some that are not born yet.
    reach: u8,
}

impl Dice {
    fn incarnation(&mut self) -> Uuid {
        if self.rng.u8(..20) == 0 { *self.rng.choice(&self.incarnations).expect("there is one") } else { self.live() }
    }

    fn live(&self) -> Uuid {
        *self.incarnations.last().expect("there is one")
    }

    fn fresh_incarnation(&mut self) -> Uuid {
        self.incarnations.push(Uuid::from_u128(self.rng.u128(..)));
        self.live()
    }

    fn saga(&mut self) -> Uuid {
        // Never nil, which stands for what comes before all sagas.
        Uuid::from_u128(self.rng.u8(1..=self.reach).into())
    }

    fn pick(&mut self, words: &[&str]) -> String {
        (*self.rng.choice(words).expect("there is one")).to_owned()
    }

    fn key(&mut self) -> String {
        self.rng.u8(..self.reach).to_string()
    }

    fn step(&mut self) -> String {
        self.pick(&["reserve", "charge", "ship"])
    }

    fn definition(&mut self) -> String {
        self.pick(&["order", "return"])
    }

    fn participant(&mut self) -> String {
        self.pick(&["inventory", "payment"])
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.rng.bool().then(|| draw(self))
    }

    fn time(&mut self) -> Timestamp {
        Timestamp(self.now + self.rng.u64(..60))
    }

    fn status(&mut self) -> Status {
        let all = [Status::Running, Status::Compensating, Status::Completed, Status::Compensated, Status::Stuck];
        *self.rng.choice(all.iter()).expect("there is one")
    }

    fn letter(&mut self) -> String {
        // Mostly a new one; now and then one that may have been opened before.
        if self.rng.bool() {
            self.letters += 1;
        }
        format!("letter-{}", self.letters)
    }

    fn row(&mut self) -> Row {
        let rest = match self.rng.u8(..10) {
            0..=4 => Rest::Owned,
            5 => Rest::Until(self.time()),
            6 => Rest::Parked,
            _ => Rest::Finished(Timestamp(self.now)),
        };
        let statuses: &[Status] = match rest {
            Rest::Finished(_) => &[Status::Completed, Status::Compensated],
            Rest::Owned | Rest::Until(_) | Rest::Parked => &[Status::Running, Status::Compensating, Status::Stuck],
        };
        let status = *self.rng.choice(statuses).expect("there is one");
        let reason = self.maybe(|dice| dice.step());
        Row { status, paused: self.rng.u8(..4) == 0, reason, rest }
    }

    fn write(&mut self) -> Write {
        let (step, at) = (self.step(), self.time());
        match self.rng.u8(..16) {
            13..=15 => {
                let message = NewMessage { id: self.rng.u8(..40).to_string(), body: step, at };
                Write::Send { queue: self.participant(), message }
            }
            10 => Write::HoldMessages,
            8 => Write::MoveMessage { step, at },
            9 => Write::CloseSagaDeadLetter { resolution: step, at },
            0..=2 => Write::PutMessage { step, participant: self.participant(), at },
            3 => Write::DeleteMessage { step },
            4 | 11 | 12 => self.open_dead_letter(at),
            5 | 6 => {
                Write::CloseDeadLetter { id: format!("letter-{}", self.rng.u32(..=self.letters)), resolution: step, at }
            }
            _ => Write::Audit { actor: "kim".into(), action: step, step: None, reason: "because".into(), at },
        }
    }

    fn open_dead_letter(&mut self, at: Timestamp) -> Write {
        Write::OpenDeadLetter {
            id: self.letter(),
            step: self.maybe(|dice| dice.step()),
            direction: "action".into(),
            claim: "unknown".into(),
            error: "503".into(),
            fingerprint: self.step(),
            participant: self.maybe(Self::participant),
            at,
        }
    }

    fn birth(&mut self) -> Birth {
        let dedupe = self.maybe(|dice| Dedupe { digest: dice.rng.u8(..12).to_string(), until: dice.time() });
        Birth {
            definition: self.definition(),
            version: "v1".into(),
            key: self.key(),
            fingerprint: self.pick(&["one", "other"]),
            dedupe,
            created_at: Timestamp(self.now),
        }
    }

    /// `events` is how many the saga has.
    fn commit(&mut self, saga: Uuid, events: Option<u64>) -> Commit {
        let born = events.is_none() || self.rng.u8(..10) == 0;
        let after = match events {
            Some(events) if !born && self.rng.u8(..10) != 0 => events,
            Some(_) if !born => self.rng.u64(..4),
            Some(_) | None => 0,
        };
        // A saga has events from its birth on.
        let count = self.rng.u64(u64::from(born)..4);
        let events = (count > 0).then(|| StoredEvents { count, at: Timestamp(self.now), body: vec![self.rng.u8(..)] });
        let counter = match self.rng.u8(..4) {
            0 => Counter::Started,
            1 => Counter::Completed,
            2 => Counter::Compensated,
            _ => Counter::DeadLettered,
        };
        let count = Count { definition: self.definition(), counter, at: Timestamp(self.rng.u64(..200_000)) };
        Commit {
            saga,
            after,
            birth: born.then(|| self.birth()),
            events,
            row: self.row(),
            changes_row: true,
            writes: (0..self.rng.u8(..3)).map(|_| self.write()).collect(),
            counts: vec![count],
        }
    }

    async fn operation(&mut self, model: &Subject) -> Operation {
        self.now += self.rng.u64(..5);
        self.reach = self.reach.saturating_add(u8::from(self.rng.u8(..8) == 0));
        match self.rng.u8(..52) {
            40..=51 => self.queue(),
            0 => Operation::Enlist(self.fresh_incarnation()),
            // A batch is offered again by whoever offered it, before anything else of its sagas is decided.
            20..=22 if self.processes == Processes::Several && self.offered.is_some() => {
                let (who, batch) = self.offered.take().expect("it was looked at just now");
                Operation::CommitAgain(who, batch)
            }
            1 => Operation::Enlist(self.incarnation()),
            2 if self.rng.u8(..3) == 0 => Operation::Retire(self.incarnation()),
            2..=5 => Operation::Claim(self.incarnation(), self.rng.usize(..4)),
            6..=8 => Operation::Acquire(self.incarnation(), self.saga()),
            9..=12 => Operation::Receive(self.incarnation(), self.participant(), self.rng.usize(..4)),
            13 => {
                let (name, version) = (self.definition(), self.pick(&["v1", "v2"]));
                let version = format!("{name}-{version}");
                let source = format!("saga: {version}");
                Operation::PutDefinition(StoredDefinition { name, version, source, created_at: Timestamp(self.now) })
            }
            14 => Operation::Forget(Forget {
                finished_before: Timestamp(self.now.saturating_sub(self.rng.u64(..200))),
                after: self.maybe(Self::saga).unwrap_or_default(),
                limit: self.rng.usize(..4),
                now: Timestamp(self.now),
            }),
            15..=19 => self.view(),
            _ => {
                let mut batch = Vec::new();
                for _ in 0..self.rng.u8(1..4) {
                    let saga = self.saga();
                    let events = model.saga(saga).await.expect("the model can be read");
                    batch.push(self.commit(saga, events.map(|record| record.sequence)));
                }
                let who = self.incarnation();
                self.offered = Some((who, batch.clone()));
                Operation::Commit(who, batch)
            }
        }
    }

    fn queue(&mut self) -> Operation {
        let (queue, now) = (self.participant(), Timestamp(self.now));
        match self.rng.u8(..10) {
            0 => {
                let after = self.maybe(|dice| (Timestamp(dice.now - dice.rng.u64(..60)), dice.step()));
                Operation::Dead(queue, DeadQuery { after, limit: self.rng.usize(..6) })
            }
            1 => {
                self.letters += 1;
                let id = format!("redrive-{}", self.letters);
                Operation::Redrive(queue, NewRedrive { id, per_second: self.rng.u32(1..60), now })
            }
            2 => Operation::Redrives(queue),
            3 => Operation::CancelRedrive(queue, format!("redrive-{}", self.rng.u32(..=self.letters))),
            4 => Operation::Depth(queue),
            _ => {
                let limit = self.rng.usize(..6);
                let request = ReceiveRequest { limit, now, wait_ms: 0, visibility_ms: 10, receives_max: 3 };
                let handling = |dice: &mut Self| match dice.rng.u8(..8) {
                    0 => Handling::Acknowledge,
                    1 => Handling::Extend { until: dice.time() },
                    _ => Handling::Reject { at: Timestamp(dice.now + dice.rng.u64(..8)) },
                };
                Operation::Work(queue, request, (0..3).map(|_| handling(self)).collect())
            }
        }
    }

    fn view(&mut self) -> Operation {
        let limit = self.rng.usize(..6);
        match self.rng.u8(..11) {
            0 => Operation::Definitions(Which::Current),
            1 => Operation::Definitions(Which::Version(self.pick(&["order-v1", "order-v2", "none"]))),
            2 => Operation::Saga(self.saga()),
            3 => Operation::Sagas(SagaQuery {
                definition: self.maybe(Self::definition),
                status: self.maybe(Self::status),
                key: self.maybe(Self::key),
                before: self.maybe(Self::saga),
                limit,
            }),
            4 => Operation::DeadLetters(DeadLetterQuery {
                definition: self.maybe(Self::definition),
                saga: self.maybe(Self::saga),
                step: self.maybe(Self::step),
                participant: self.maybe(Self::participant),
                fingerprint: self.maybe(Self::step),
                opened_before: self.maybe(Self::time),
                closed: self.rng.bool(),
                before: self.maybe(|dice| dice.rng.u64(..20)),
                limit,
            }),
            5 => Operation::DeadLetter(format!("letter-{}", self.rng.u32(..=self.letters))),
            6 => {
                let before = self.maybe(|dice| dice.rng.u64(..20));
                Operation::DeadLetterGroups(GroupQuery { before, limit })
            }
            7 => Operation::Audit(AuditQuery {
                saga: self.maybe(Self::saga),
                before: self.maybe(|dice| u128::from(dice.rng.u64(..20)) << 64),
                limit,
            }),
            8 => Operation::Seal(limit),
            9 => Operation::Sealed(self.rng.u64(..20), limit),
            _ => Operation::Statistics,
        }
    }
}

/// Runs one seed to its coverage.
async fn compare(processes: Processes, other: &Subject, seed: u64) {
    let model: &Subject = &(Arc::new(MemoryStore::new(processes)) as Subject);
    let first = Uuid::from_u128(0xA);
    let mut dice = Dice {
        rng: Rng::with_seed(seed),
        now: 1_000,
        incarnations: vec![first],
        letters: 0,
        offered: None,
        processes,
        reach: 8,
    };
    let mut met = BTreeSet::new();
    let more = if processes == Processes::Several { COVERAGE_OF_SEVERAL } else { &[] };
    let missing = |met: &BTreeSet<String>| {
        COVERAGE.iter().chain(more).copied().filter(|&one| !met.contains(one)).collect::<Vec<_>>()
    };
    for number in 0.. {
        if number >= OPERATIONS_MIN && missing(&met).is_empty() {
            break;
        }
        assert!(number < OPERATIONS_MAX, "seed {seed}: never met {:?}", missing(&met));
        let operation = dice.operation(model).await;
        let now = Timestamp(dice.now);
        let (expected, covered) = perform(model, operation.clone(), now).await;
        let (answer, _) = perform(other, operation.clone(), now).await;
        assert_eq!(answer, expected, "AMENDS_SEED={seed}, operation {number}: {operation:#?}");
        met.extend(covered);
        if number % 40 == 0 {
            let seen = (told(dump(model, dice.live()).await), told(dump(other, dice.live()).await));
            assert_eq!(seen.1, seen.0, "AMENDS_SEED={seed}, everything after operation {number}: {operation:#?}");
        }
    }
}

fn seeds(count: u64) -> Vec<u64> {
    let given = std::env::var("AMENDS_SEED").ok().map(|seed| seed.parse().expect("AMENDS_SEED is a number"));
    given.map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

#[tokio::test]
async fn sqlite_answers_as_the_model_does() {
    for seed in seeds(4) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::new(directory.path().join("amends.db"))).unwrap();
        compare(Processes::One, &(Arc::new(store) as Subject), seed).await;
    }
}

#[tokio::test]
async fn postgres_answers_as_the_model_does() {
    for seed in seeds(1) {
        let store = PostgresStore::open(PostgresOptions::new(test_postgres::database())).await.unwrap();
        compare(Processes::Several, &(Arc::new(store) as Subject), seed).await;
    }
}
