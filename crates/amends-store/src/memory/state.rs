//! What a store in memory holds, and every operation on it as a plain function.

use super::Processes;
use super::queues::QueueState;
use crate::{
    Acquired, AuditEntry, AuditQuery, Birth, Claimed, Commit, Counter, DeadLetter, DeadLetterGroup, DeadLetterQuery,
    Deed, Forget, GroupQuery, Incarnation, Message, Offer, Outcome, PermitRequest, Receive, Received, Record, Rest,
    Row, SagaQuery, Statistics, StoreError, StoredDefinition, StoredEvents, StoredToken, Summary, TokenDigest,
    TokenQuery, Which, Write,
};
use crate::{audit, columns, permits};
use amends_core::chain::Head;
use amends_core::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use uuid::Uuid;

/// Everything that is stored.
#[derive(Clone, Debug)]
pub(super) struct State {
    processes: Processes,
    live: BTreeSet<Incarnation>,
    retired: BTreeSet<Incarnation>,
    sagas: BTreeMap<Uuid, Saga>,
    /// By definition and business key.
    keys: BTreeMap<(String, String), Uuid>,
    /// Double-click claims by definition and digest: the saga, and until when.
    dedupes: BTreeMap<(String, String), (Uuid, Timestamp)>,
    /// By saga and step.
    messages: BTreeMap<(Uuid, String), Queued>,
    dead_letters: Vec<DeadLetter>,
    /// The place of the last dead letter that was opened.
    last_place: u64,
    audit: Vec<AuditEntry>,
    counts: BTreeMap<Counter, u64>,
    /// By version.
    definitions: BTreeMap<String, StoredDefinition>,
    /// The current version by name.
    current: BTreeMap<String, String>,
    /// The next permit's place, in microseconds.
    next_permit: i64,
    tokens: BTreeMap<Uuid, StoredToken>,
    pub(super) queues: QueueState,
}

#[derive(Clone, Debug)]
struct Saga {
    birth: Birth,
    row: Row,
    /// Who owns it: somebody exactly while the row says [`Rest::Owned`].
    owner: Option<Incarnation>,
    events: Vec<StoredEvents>,
}

#[derive(Clone, Debug)]
struct Queued {
    participant: String,
    visible_at: Timestamp,
    receives: u32,
    /// Who received it and has not dealt with it.
    receiver: Option<Incarnation>,
}

impl State {
    pub(super) fn new(processes: Processes) -> State {
        State {
            processes,
            live: BTreeSet::new(),
            retired: BTreeSet::new(),
            sagas: BTreeMap::new(),
            keys: BTreeMap::new(),
            dedupes: BTreeMap::new(),
            messages: BTreeMap::new(),
            dead_letters: Vec::new(),
            last_place: 0,
            audit: Vec::new(),
            counts: BTreeMap::new(),
            definitions: BTreeMap::new(),
            current: BTreeMap::new(),
            next_permit: 0,
            tokens: BTreeMap::new(),
            queues: QueueState::default(),
        }
    }

    pub(super) fn enlist(&mut self, me: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        if self.retired.contains(&me) {
            return Err(StoreError::Fenced);
        }
        if self.processes == Processes::One {
            for other in self.live.clone().into_iter().filter(|other| *other != me) {
                self.retire(other, now);
            }
        }
        self.live.insert(me);
        let orphans: Vec<Uuid> =
            self.sagas.iter().filter(|(id, saga)| self.is_orphan(**id, saga)).map(|(id, _)| *id).collect();
        for id in orphans {
            self.sagas.get_mut(&id).expect("it was found just now").row.rest = Rest::Until(now);
        }
        Ok(())
    }

    pub(super) fn retire(&mut self, whom: Incarnation, now: Timestamp) {
        self.live.remove(&whom);
        self.retired.insert(whom);
        for saga in self.sagas.values_mut().filter(|saga| saga.owner == Some(whom)) {
            saga.owner = None;
            saga.row.rest = Rest::Until(now);
        }
        for message in self.messages.values_mut().filter(|message| message.receiver == Some(whom)) {
            message.receiver = None;
            message.visible_at = message.visible_at.min(now);
        }
    }

    fn fence(&self, me: Incarnation) -> Result<(), StoreError> {
        if self.live.contains(&me) { Ok(()) } else { Err(StoreError::Fenced) }
    }

    pub(super) fn commit(
        &mut self,
        me: Incarnation,
        batch: &[Commit],
        offer: Offer,
    ) -> Result<Vec<Outcome>, StoreError> {
        self.fence(me)?;
        // A batch is all or nothing. Only a dead letter can break one off in the middle, so only then is it tried
        // on a copy first; copying everything for every commit would make a long simulation quadratic.
        if batch.iter().flat_map(|commit| &commit.writes).any(|write| matches!(write, Write::OpenDeadLetter { .. })) {
            let mut draft = self.clone();
            let outcomes = draft.commit_each(me, batch, offer)?;
            *self = draft;
            Ok(outcomes)
        } else {
            self.commit_each(me, batch, offer)
        }
    }

    fn commit_each(&mut self, me: Incarnation, batch: &[Commit], offer: Offer) -> Result<Vec<Outcome>, StoreError> {
        batch.iter().map(|commit| self.commit_one(me, commit.clone(), offer)).collect()
    }

    fn commit_one(&mut self, me: Incarnation, commit: Commit, offer: Offer) -> Result<Outcome, StoreError> {
        let outcome = self.judge(me, &commit);
        if offer == Offer::Again && self.has_written(&commit, &outcome) {
            return Ok(Outcome::Committed);
        }
        if outcome != Outcome::Committed {
            return Ok(outcome);
        }
        if let Some(birth) = commit.birth {
            self.bear(commit.saga, birth, commit.row.clone());
        }
        let saga = self.sagas.get_mut(&commit.saga).expect("a saga was judged to exist or was born just now");
        debug_assert!(commit.changes_row || saga.row == commit.row, "{:?} is not {:?}", commit.row, saga.row);
        saga.owner = (commit.row.rest == Rest::Owned).then_some(me);
        saga.row = commit.row;
        saga.events.extend(commit.events);
        for count in commit.counts {
            *self.counts.entry(count.counter).or_default() += 1;
        }
        for write in commit.writes {
            self.write(commit.saga, write)?;
        }
        Ok(Outcome::Committed)
    }

    /// What becomes of a commit, decided before anything is written.
    fn judge(&self, me: Incarnation, commit: &Commit) -> Outcome {
        let Some(birth) = &commit.birth else {
            let follows = self
                .sagas
                .get(&commit.saga)
                .is_some_and(|saga| saga.sequence() == commit.after && saga.owner == Some(me));
            return if follows { Outcome::Committed } else { Outcome::Stale };
        };
        if let Some(saga) = self.keys.get(&(birth.definition.clone(), birth.key.clone())) {
            let same_input = self.sagas[saga].birth.fingerprint == birth.fingerprint;
            return Outcome::Exists { saga: *saga, same_input };
        }
        if commit.after != 0 || self.sagas.contains_key(&commit.saga) {
            return Outcome::Stale;
        }
        let claim = birth
            .dedupe
            .as_ref()
            .and_then(|dedupe| self.dedupes.get(&(birth.definition.clone(), dedupe.digest.clone())));
        match claim {
            Some((saga, until)) if birth.created_at < *until => Outcome::Duplicate { saga: *saga },
            Some(_) | None => Outcome::Committed,
        }
    }

    /// Whether a commit that was refused is in the store already.
    fn has_written(&self, commit: &Commit, outcome: &Outcome) -> bool {
        if commit.events.is_none() {
            return commit.writes.iter().any(|write| self.has_left(commit.saga, write));
        }
        if !outcome.may_be_for_itself(commit) {
            return false;
        }
        let Some(saga) = self.sagas.get(&commit.saga) else { return false };
        let mut after = 0;
        saga.events.iter().any(|events| {
            let is_it = after == commit.after && commit.events.as_ref() == Some(events);
            after += events.count;
            is_it
        })
    }

    /// Whether a write is one that leaves something for good, and has left it.
    fn has_left(&self, saga: Uuid, write: &Write) -> bool {
        let (actor, action, step, reason, at) = match write {
            Write::OpenDeadLetter { id, .. } => return self.dead_letter(id).is_some(),
            Write::Audit { actor, action, step, reason, at } => (actor, action, step, reason, at),
            _ => return false,
        };
        self.audit.iter().any(|entry| {
            (entry.saga, entry.at, &entry.actor, &entry.action) == (Some(saga), *at, actor, action)
                && (&entry.step, &entry.reason) == (step, reason)
        })
    }

    fn bear(&mut self, id: Uuid, mut birth: Birth, row: Row) {
        self.keys.insert((birth.definition.clone(), birth.key.clone()), id);
        if let Some(dedupe) = birth.dedupe.take() {
            self.dedupes.insert((birth.definition.clone(), dedupe.digest), (id, dedupe.until));
        }
        self.sagas.insert(id, Saga { birth, row, owner: None, events: Vec::new() });
    }

    fn write(&mut self, saga: Uuid, write: Write) -> Result<(), StoreError> {
        match write {
            Write::PutMessage { step, participant, at } => {
                self.messages.insert((saga, step), Queued { participant, visible_at: at, receives: 0, receiver: None });
            }
            Write::MoveMessage { step, at } => {
                if let Some(message) = self.messages.get_mut(&(saga, step)) {
                    message.visible_at = at;
                    message.receiver = None;
                }
            }
            Write::HoldMessages => {
                for (_, message) in self.messages.iter_mut().filter(|((of, _), _)| *of == saga) {
                    message.visible_at = Timestamp::NEVER;
                    message.receiver = None;
                }
            }
            Write::DeleteMessage { step } => {
                self.messages.remove(&(saga, step));
            }
            Write::Send { queue, message } => self.queues.put(&queue, message),
            Write::OpenDeadLetter { id, step, direction, claim, error, fingerprint, participant, at } => {
                if self.dead_letter(&id).is_some() {
                    return Err(StoreError::Damaged(format!("the dead letter {id} was opened before").into()));
                }
                let birth = &self.sagas[&saga].birth;
                self.last_place += 1;
                self.dead_letters.push(DeadLetter {
                    id,
                    saga,
                    definition: birth.definition.clone(),
                    key: birth.key.clone(),
                    step,
                    direction,
                    claim,
                    error,
                    fingerprint,
                    participant,
                    opened_at: at,
                    closed: None,
                    place: self.last_place,
                });
            }
            Write::CloseDeadLetter { id, resolution, at } => {
                let open = self.dead_letters.iter_mut().find(|letter| letter.id == id && letter.saga == saga);
                if let Some(letter) = open.filter(|letter| letter.closed.is_none()) {
                    letter.closed = Some((at, resolution));
                }
            }
            Write::CloseSagaDeadLetter { resolution, at } => {
                let about_saga = |letter: &&mut DeadLetter| letter.saga == saga && letter.step.is_none();
                for letter in self.dead_letters.iter_mut().filter(about_saga) {
                    letter.closed.get_or_insert_with(|| (at, resolution.clone()));
                }
            }
            Write::Audit { actor, action, step, reason, at } => {
                let (place, saga) = (self.next_place(), Some(saga));
                let entry = AuditEntry { place, at, actor, action, saga, subject: None, step, reason, seal: None };
                self.audit.push(entry);
            }
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, me: Incarnation, now: Timestamp, limit: usize) -> Result<Claimed, StoreError> {
        self.fence(me)?;
        let mut waiting: Vec<(Timestamp, Uuid)> = self
            .sagas
            .iter()
            .filter_map(|(id, saga)| match saga.row.rest {
                Rest::Until(at) => Some((at, *id)),
                Rest::Owned | Rest::Parked | Rest::Finished(_) => None,
            })
            .collect();
        waiting.sort_unstable();
        let due = waiting.iter().take_while(|(at, _)| *at <= now).take(limit).count();
        let later = waiting.split_off(due);
        let records = waiting.into_iter().map(|(_, id)| self.own(me, id)).collect();
        Ok(Claimed { records, next_due: later.first().map(|(at, _)| *at) })
    }

    pub(super) fn acquire(&mut self, me: Incarnation, id: Uuid) -> Result<Acquired, StoreError> {
        self.fence(me)?;
        let Some(saga) = self.sagas.get(&id) else { return Ok(Acquired::Missing) };
        match (saga.owner, saga.row.rest) {
            (Some(owner), _) if owner != me => Ok(Acquired::Elsewhere(owner)),
            (_, Rest::Finished(_)) => Ok(Acquired::Finished(Box::new(saga.record(id)))),
            (_, Rest::Owned | Rest::Until(_) | Rest::Parked) => Ok(Acquired::Yours(Box::new(self.own(me, id)))),
        }
    }

    fn own(&mut self, me: Incarnation, id: Uuid) -> Record {
        let saga = self.sagas.get_mut(&id).expect("only a saga that was found is taken");
        saga.owner = Some(me);
        saga.row.rest = Rest::Owned;
        saga.record(id)
    }

    pub(super) fn receive(&mut self, me: Incarnation, request: &Receive) -> Result<Received, StoreError> {
        self.fence(me)?;
        let mut waiting: Vec<(Timestamp, (Uuid, String))> = self
            .messages
            .iter()
            .filter(|(_, message)| message.participant == request.participant)
            .filter(|((saga, _), _)| self.sagas[saga].owner.is_none_or(|owner| owner == me))
            .map(|(place, message)| (message.visible_at, place.clone()))
            .collect();
        waiting.sort_unstable();
        let ready = waiting.iter().take_while(|(at, _)| *at <= request.now).take(request.limit).count();
        let later = waiting.split_off(ready);
        let mut received = Received { messages: Vec::new(), next_at: later.first().map(|(at, _)| *at) };
        for (_, place) in waiting {
            let message = self.messages.get_mut(&place).expect("only a message that was found is received");
            message.visible_at = request.invisible_until;
            message.receives = message.receives.saturating_add(1);
            message.receiver = Some(me);
            received.next_at = Some(received.next_at.map_or(message.visible_at, |at| at.min(message.visible_at)));
            received.messages.push(Message { saga: place.0, step: place.1, receives: message.receives });
        }
        Ok(received)
    }

    pub(super) fn permits(&mut self, now: Timestamp, request: &PermitRequest) -> usize {
        let (granted, next) = permits::grant(self.next_permit, columns::time(now).saturating_mul(1_000), request);
        self.next_permit = next;
        granted
    }

    pub(super) fn forget(&mut self, request: &Forget) -> Vec<Uuid> {
        let later = self.sagas.range((Excluded(request.after), Unbounded));
        let old = later.filter(|(id, saga)| self.may_be_forgotten(**id, saga, request)).map(|(id, _)| *id);
        let forgotten: Vec<Uuid> = old.take(request.limit).collect();
        for id in &forgotten {
            self.sagas.remove(id);
            self.keys.retain(|_, saga| saga != id);
            self.dedupes.retain(|_, (saga, _)| saga != id);
            self.messages.retain(|(saga, _), _| saga != id);
            self.dead_letters.retain(|letter| letter.saga != *id);
        }
        forgotten
    }

    fn may_be_forgotten(&self, id: Uuid, saga: &Saga, request: &Forget) -> bool {
        let is_old = matches!(saga.row.rest, Rest::Finished(at) if at < request.finished_before);
        let letter = self.dead_letters.iter().any(|letter| letter.saga == id && letter.closed.is_none());
        let claim = self.dedupes.values().any(|(of, until)| *of == id && request.now < *until);
        is_old && !letter && !claim
    }

    fn next_place(&self) -> u128 {
        audit::place(self.audit.len() as u64 + 1, 0)
    }

    fn put_deed(&mut self, deed: Deed) {
        let Deed { actor, action, subject, at } = deed;
        let (place, subject, reason) = (self.next_place(), Some(subject), String::new());
        self.audit.push(AuditEntry { place, at, actor, action, saga: None, subject, step: None, reason, seal: None });
    }

    pub(super) fn seal(&mut self, limit: usize) -> Option<Head> {
        let sealed = self.audit.iter().take_while(|entry| entry.seal.is_some()).count();
        let last = self.audit.len().min(sealed.saturating_add(limit));
        let seals = audit::seals(self.head(), &self.audit[sealed..last]);
        for (entry, seal) in self.audit[sealed..].iter_mut().zip(&seals) {
            entry.seal = Some(*seal);
        }
        seals.last().copied()
    }

    pub(super) fn sealed(&self, after: u64, limit: usize) -> Vec<AuditEntry> {
        let sealed = self.audit.iter().filter(|entry| entry.seal.is_some_and(|seal| seal.number > after));
        sealed.take(limit).cloned().collect()
    }

    pub(super) fn head(&self) -> Head {
        self.audit.iter().rev().find_map(|entry| entry.seal).unwrap_or(Head::BEGINNING)
    }

    pub(super) fn put_definition(&mut self, definition: StoredDefinition, deed: Deed) -> bool {
        let StoredDefinition { name, version, .. } = &definition;
        let before = self.current.insert(name.clone(), version.clone());
        let changed = before.as_ref() != Some(version);
        self.definitions.entry(version.clone()).or_insert(definition);
        if changed {
            self.put_deed(deed);
        }
        changed
    }

    pub(super) fn definitions(&self, which: &Which) -> Vec<StoredDefinition> {
        match which {
            Which::Current => self.current.values().map(|version| self.definitions[version].clone()).collect(),
            Which::Version(version) => self.definitions.get(version).cloned().into_iter().collect(),
        }
    }

    pub(super) fn put_token(&mut self, token: StoredToken, deed: Deed) -> Result<(), StoreError> {
        if self.tokens.contains_key(&token.id) {
            return Ok(());
        }
        if self.token(&token.digest).is_some() {
            return Err(StoreError::Damaged("there is another token with this digest".into()));
        }
        self.tokens.insert(token.id, token);
        self.put_deed(deed);
        Ok(())
    }

    pub(super) fn token(&self, digest: &TokenDigest) -> Option<StoredToken> {
        self.tokens.values().find(|token| token.digest == *digest).cloned()
    }

    pub(super) fn tokens(&self, query: TokenQuery) -> Vec<StoredToken> {
        let older = self.tokens.values().rev().filter(|token| query.before.is_none_or(|before| token.id < before));
        older.take(query.limit).cloned().collect()
    }

    pub(super) fn revoke_token(&mut self, id: Uuid, deed: Deed) -> Option<StoredToken> {
        let token = self.tokens.get_mut(&id)?;
        let was_revoked = token.revoked_at.is_some();
        token.revoked_at.get_or_insert(deed.at);
        let token = token.clone();
        if !was_revoked {
            self.put_deed(deed);
        }
        Some(token)
    }

    pub(super) fn saga(&self, id: Uuid) -> Option<Record> {
        self.sagas.get(&id).map(|saga| saga.record(id))
    }

    pub(super) fn sagas(&self, query: &SagaQuery) -> Vec<Summary> {
        self.sagas
            .iter()
            .rev()
            .filter(|(id, saga)| {
                query.before.is_none_or(|before| **id < before)
                    && query.definition.as_ref().is_none_or(|name| saga.birth.definition == *name)
                    && query.key.as_ref().is_none_or(|key| saga.birth.key == *key)
                    && query.status.is_none_or(|status| saga.row.status == status)
            })
            .take(query.limit)
            .map(|(id, saga)| Summary { id: *id, birth: saga.birth.clone(), row: saga.row.clone() })
            .collect()
    }

    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        self.dead_letters
            .iter()
            .rev()
            .filter(|letter| {
                query.before.is_none_or(|before| letter.place < before)
                    && query.definition.as_ref().is_none_or(|name| letter.definition == *name)
                    && query.saga.is_none_or(|saga| letter.saga == saga)
                    && query.step.as_ref().is_none_or(|step| letter.step.as_ref() == Some(step))
                    && query.participant.as_ref().is_none_or(|name| letter.participant.as_ref() == Some(name))
                    && query.fingerprint.as_ref().is_none_or(|fingerprint| letter.fingerprint == *fingerprint)
                    && query.opened_before.is_none_or(|at| letter.opened_at < at)
                    && (query.closed || letter.closed.is_none())
            })
            .take(query.limit)
            .cloned()
            .collect()
    }

    pub(super) fn dead_letter_groups(&self, query: &GroupQuery) -> Vec<DeadLetterGroup> {
        let mut groups: BTreeMap<&str, DeadLetterGroup> = BTreeMap::new();
        // Oldest first, so that the last one stands for its group.
        for letter in self.dead_letters.iter().filter(|letter| letter.closed.is_none()) {
            let at = letter.opened_at;
            let group = groups.entry(&letter.fingerprint).or_insert_with(|| {
                let sample = letter.clone();
                DeadLetterGroup { count: 0, oldest_at: at, newest_at: at, sample }
            });
            group.count += 1;
            (group.oldest_at, group.newest_at) = (group.oldest_at.min(at), group.newest_at.max(at));
            group.sample = letter.clone();
        }
        let mut groups: Vec<DeadLetterGroup> = groups.into_values().collect();
        groups.retain(|group| query.before.is_none_or(|before| group.sample.place < before));
        groups.sort_by_key(|group| Reverse(group.sample.place));
        groups.truncate(query.limit);
        groups
    }

    pub(super) fn dead_letter(&self, id: &str) -> Option<DeadLetter> {
        self.dead_letters.iter().find(|letter| letter.id == id).cloned()
    }

    pub(super) fn audit(&self, query: &AuditQuery) -> Vec<AuditEntry> {
        self.audit
            .iter()
            .rev()
            .filter(|entry| query.before.is_none_or(|before| entry.place < before))
            .filter(|entry| query.saga.is_none_or(|saga| entry.saga == Some(saga)))
            .take(query.limit)
            .cloned()
            .collect()
    }

    pub(super) fn statistics(&self) -> Statistics {
        let count = |counter| self.counts.get(&counter).copied().unwrap_or_default();
        Statistics {
            started: count(Counter::Started),
            completed: count(Counter::Completed),
            compensated: count(Counter::Compensated),
            dead_letters_open: self.dead_letters.iter().filter(|letter| letter.closed.is_none()).count() as u64,
            orphans: self.sagas.iter().filter(|(id, saga)| self.is_orphan(**id, saga)).count() as u64,
        }
    }

    fn is_orphan(&self, id: Uuid, saga: &Saga) -> bool {
        let message = self.messages.keys().any(|(owner, _)| *owner == id);
        let letter = self.dead_letters.iter().any(|letter| letter.saga == id && letter.closed.is_none());
        saga.row.rest == Rest::Parked && !saga.row.paused && !message && !letter
    }
}

impl Saga {
    /// The number of its last event.
    fn sequence(&self) -> u64 {
        self.events.iter().map(|events| events.count).sum()
    }

    fn record(&self, id: Uuid) -> Record {
        Record {
            id,
            birth: self.birth.clone(),
            row: self.row.clone(),
            events: self.events.clone(),
            sequence: self.sequence(),
            damage: None,
        }
    }
}
