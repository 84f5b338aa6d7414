//! Processes: what they want done, when they die, and what the store says to them.

use super::{DAWN, Happening, LEASE_MS, World, done};
use crate::model::Violation;
use crate::process::{Life, ProcessId, State};
use amends_core::machine::StepState;
use amends_core::time::Timestamp;
use amends_engine::EngineError;
use amends_engine::orchestrator::{Input, Loaded, Output, Taken};
use amends_store::{Acquired, Claimed, Commit, Offer, Outcome, Record, Rest, Store, StoreError, Views, Write};
use std::sync::Arc;
use uuid::Uuid;

impl World {
    pub(super) fn hand_in(&mut self, life: Life, input: Input) {
        let now = self.now;
        let process = &mut self.processes[life.process];
        if process.life == life {
            process.hand_in(now, input);
        }
    }

    /// Lets a process do what is due, and carries out what it wants. It may die before or after each thing it does.
    pub(super) fn turn(&mut self, process: ProcessId) -> Result<(), Violation> {
        let life = self.processes[process].life;
        for output in self.processes[process].turn(self.now) {
            let point = point(&output);
            if self.strikes(self.plan.chaos.kill) {
                self.note_death(process, point.map(|(before, _)| before));
                self.kill(process);
                return Ok(());
            }
            self.carry_out(process, output)?;
            if self.strikes(self.plan.chaos.kill) {
                self.note_death(process, point.map(|(_, after)| after));
                self.kill(process);
            }
            if self.processes[process].life != life || !self.processes[process].is_running() {
                return Ok(());
            }
        }
        self.stop_if_quiet(process);
        if self.strikes(self.plan.chaos.freeze) && self.processes[process].is_running() {
            self.freeze(process);
        } else if self.strikes(self.plan.chaos.stop) {
            if let Some(orchestrator) = self.processes[process].running() {
                orchestrator.close();
                self.processes[process].is_stopping = true;
            }
        } else if self.strikes(self.plan.chaos.amnesia / 10) {
            self.remembers = false;
            let ms = self.rng.u64(100..3_000);
            self.after(ms, Happening::Remembers);
        }
        Ok(())
    }

    fn note_death(&mut self, process: ProcessId, point: Option<&'static str>) {
        if let Some(point) = point {
            self.coverage.met(point);
        }
        if self.processes[process].is_recovering {
            self.coverage.met("killed while recovering");
        }
    }

    /// Nothing of the process is left but what it has sent off. Another one begins after a while.
    pub(super) fn kill(&mut self, process: ProcessId) {
        self.trace(|_| format!("process {process} is killed"));
        let found = &mut self.processes[process];
        let (life, incarnation) = (found.life, found.incarnation);
        found.state = State::Dead;
        let after_ms = self.rng.u64(1..2_000);
        self.after(after_ms, Happening::Starts(process));
        self.after(LEASE_MS, Happening::Expires { life, incarnation });
    }

    fn freeze(&mut self, process: ProcessId) {
        let for_ms = self.rng.u64(10..3 * LEASE_MS);
        self.trace(|_| format!("process {process} is frozen for {for_ms} ms"));
        let found = &mut self.processes[process];
        found.freeze();
        let (life, incarnation) = (found.life, found.incarnation);
        self.after(for_ms, Happening::Thaws(life));
        self.after(LEASE_MS, Happening::Expires { life, incarnation });
    }

    pub(super) fn thaw(&mut self, life: Life) {
        let now = self.now;
        let process = &mut self.processes[life.process];
        if process.life != life || !matches!(process.state, State::Frozen { .. }) {
            return;
        }
        if self.retired.contains(&process.incarnation) {
            self.coverage.met("took over a frozen process that came back");
        }
        process.thaw(now);
    }

    /// A lease has run out. Whoever is alive then takes over; an embedded store is taken over by its next process alone.
    pub(super) fn expire(&mut self, life: Life, incarnation: Uuid) {
        let process = &self.processes[life.process];
        let lives = process.life == life && process.is_running();
        if !lives && self.processes.len() > 1 {
            self.retire(incarnation);
        }
    }

    fn retire(&mut self, incarnation: Uuid) {
        if self.retired.insert(incarnation) {
            self.trace(|_| format!("{incarnation} is taken over"));
            let owned = |known: &&crate::model::Known| known.rest == Rest::Owned && known.owner == incarnation;
            let in_mid_call = |known: &crate::model::Known| {
                known.saga.steps.iter().any(|step| matches!(step.state, StepState::Acting(_) | StepState::Probing(_)))
            };
            if self.model.sagas.values().filter(owned).any(in_mid_call) {
                self.coverage.met("took over a call in flight");
            }
            done(self.store.retire(incarnation, self.now)).expect("a memory store lets an incarnation retire");
        }
    }

    /// A process starts, under a new incarnation and with a clock of its own.
    pub(super) fn start(&mut self, process: ProcessId) {
        if !matches!(self.processes[process].state, State::Dead) {
            return;
        }
        let before = self.processes[process].incarnation;
        if self.processes.len() == 1 && !before.is_nil() {
            self.retire(before);
        }
        let incarnation = Uuid::from_u128(self.rng.u128(1..));
        let (skew_ms, is_behind) = if self.plan.skew_ms == 0 || self.is_healed {
            (0, false)
        } else {
            (self.rng.u64(..=self.plan.skew_ms), self.rng.bool())
        };
        if self.plan.skew_ms >= 3_600_000 {
            self.coverage.met("clock wrong by an hour");
        }
        let (settings, now, seed) = (self.settings.clone(), self.now, self.rng.u64(..));
        let found = &mut self.processes[process];
        (found.skew_ms, found.is_behind) = (skew_ms, is_behind);
        let enlisted = done(self.store.enlist(incarnation, found.clock(now)));
        enlisted.expect("a memory store takes an incarnation");
        found.begin(incarnation, &settings, now, seed);
        self.trace(|_| format!("process {process} starts as {incarnation}"));
    }

    /// A process that was told to stop ends when nothing of it is under way.
    fn stop_if_quiet(&mut self, process: ProcessId) {
        let found = &mut self.processes[process];
        if found.is_stopping && found.running().is_some_and(|orchestrator| orchestrator.is_quiet()) {
            let incarnation = found.incarnation;
            found.state = State::Dead;
            self.coverage.met("stopped in order");
            self.retire(incarnation);
            let after_ms = self.rng.u64(1..500);
            self.after(after_ms, Happening::Starts(process));
        }
    }

    fn carry_out(&mut self, process: ProcessId, output: Output) -> Result<(), Violation> {
        match output {
            Output::Commit { .. }
            | Output::Claim { .. }
            | Output::Acquire { .. }
            | Output::Receive(_)
            | Output::Permits(_) => {
                let found = &self.processes[process];
                let (life, incarnation) = (found.life, found.incarnation);
                let slow = self.plan.chaos.slow_store;
                let ms = if self.strikes(slow) { self.rng.u64(100..2_000) } else { self.rng.u64(..3) };
                self.after(ms, Happening::Store { life, incarnation, output: Box::new(output) });
            }
            Output::Call(call) => self.call(process, *call)?,
            Output::Reply { reply, result } => self.told(reply, result)?,
            Output::Announce { .. } => {}
            Output::Fatal(EngineError::Store(StoreError::Fenced)) => {
                // It was taken over. It drops everything and begins anew.
                self.processes[process].state = State::Dead;
                self.after(1, Happening::Starts(process));
            }
            Output::Fatal(EngineError::Store(StoreError::Unknown(_))) => {
                // It does not know what it owns: it gives up everything and begins anew.
                let incarnation = self.processes[process].incarnation;
                self.processes[process].state = State::Dead;
                self.retire(incarnation);
                self.after(1, Happening::Starts(process));
            }
            Output::Fatal(error) => return Err(format!("process {process} cannot go on: {error}")),
        }
        Ok(())
    }

    // --- The store -------------------------------------------------------------------------------------------

    /// An operation reaches the store, even if whoever sent it has died since; the answer comes back to the living.
    pub(super) fn reach_store(&mut self, life: Life, incarnation: Uuid, output: Output) -> Result<(), Violation> {
        let found = &self.processes[life.process];
        let is_dead = found.life != life || matches!(found.state, State::Dead);
        // With an embedded store nothing of a dead process reaches it.
        if is_dead && (self.processes.len() == 1 || self.rng.bool()) {
            return Ok(());
        }
        let refused = self.strikes(self.plan.chaos.refuse_store).then(|| {
            self.coverage.met("store unavailable");
            StoreError::Unavailable("the disk is full".into())
        });
        let now = self.processes[life.process].clock(self.now);
        let input = match output {
            Output::Commit { batch, offer: Offer::First, commits } => {
                Input::Committed { batch, result: self.commit_first(incarnation, commits, refused)? }
            }
            Output::Commit { batch, offer: Offer::Again, commits } => {
                Input::Committed { batch, result: self.commit(incarnation, commits, Offer::Again, refused)? }
            }
            Output::Claim { limit } if self.loses_answer() => {
                self.coverage.met("claim done, its answer lost");
                let claimed = refused.map_or_else(|| done(self.store.claim(incarnation, now, limit)), Err);
                Input::Claimed(claimed.and(Err(StoreError::Unknown("the connection broke".into()))))
            }
            Output::Acquire { saga } if self.loses_answer() => {
                self.coverage.met("acquire done, its answer lost");
                let acquired = refused.map_or_else(|| done(self.store.acquire(incarnation, saga)), Err);
                let result = acquired.and(Err(StoreError::Unknown("the connection broke".into())));
                Input::Acquired { saga, result }
            }
            Output::Receive(request) if self.loses_answer() => {
                self.coverage.met("receive done, its answer lost");
                let participant = request.participant.clone();
                let received = refused.map_or_else(|| done(self.store.receive(incarnation, request)), Err);
                let result = received.and(Err(StoreError::Unknown("the connection broke".into())));
                Input::Received { participant, result }
            }
            Output::Claim { limit } => {
                let claimed = refused.map_or_else(|| done(self.store.claim(incarnation, now, limit)), Err);
                Input::Claimed(claimed.map(|claimed| self.load_claimed(incarnation, claimed)))
            }
            Output::Acquire { saga } => {
                let acquired = refused.map_or_else(|| done(self.store.acquire(incarnation, saga)), Err);
                Input::Acquired { saga, result: acquired.map(|acquired| self.load_acquired(incarnation, acquired)) }
            }
            Output::Receive(request) => {
                let participant = request.participant.clone();
                let result = refused.map_or_else(|| done(self.store.receive(incarnation, request)), Err);
                Input::Received { participant, result }
            }
            Output::Permits(request) => {
                let granted = refused.map_or_else(|| Ok(self.store.permits_at(self.now, request)), Err);
                Input::Permitted(granted)
            }
            Output::Call(_) | Output::Reply { .. } | Output::Announce { .. } | Output::Fatal(_) => return Ok(()),
        };
        let ms = self.rng.u64(..3);
        self.after(ms, Happening::Input { life, input: Box::new(input) });
        Ok(())
    }

    fn commit_first(
        &mut self,
        incarnation: Uuid,
        commits: Arc<[Commit]>,
        refused: Option<StoreError>,
    ) -> Result<Result<Vec<Outcome>, StoreError>, Violation> {
        let broken = || StoreError::Unknown("the connection broke".into());
        Ok(match self.fate_of_commit() {
            Fate::Answered => self.commit(incarnation, commits, Offer::First, refused)?,
            Fate::AnswerLost => self.commit(incarnation, commits, Offer::First, refused)?.and(Err(broken())),
            Fate::Lost { arrives_ms } => {
                // It may arrive after all, when nobody waits for it any more.
                if let Some(ms) = arrives_ms {
                    self.after(ms, Happening::Ghost { incarnation, batch: commits });
                }
                Err(broken())
            }
        })
    }

    fn commit(
        &mut self,
        incarnation: Uuid,
        batch: Arc<[Commit]>,
        offer: Offer,
        refused: Option<StoreError>,
    ) -> Result<Result<Vec<Outcome>, StoreError>, Violation> {
        // What was written when its answer was lost is committed once, in the model as in the store.
        let before: Vec<bool> = batch.iter().map(|commit| offer == Offer::Again && self.model.has(commit)).collect();
        let commit = |batch| match offer {
            Offer::First => done(self.store.commit(incarnation, batch)),
            Offer::Again => done(self.store.commit_again(incarnation, batch)),
        };
        let result = refused.map_or_else(|| commit(batch.clone()), Err);
        match &result {
            Ok(_) if self.retired.contains(&incarnation) => {
                return Err(format!("{incarnation} was taken over and has committed"));
            }
            Ok(outcomes) => {
                for ((commit, outcome), before) in batch.iter().zip(outcomes).zip(before) {
                    match (before, outcome) {
                        (true, Outcome::Committed) => {}
                        (true, outcome) => {
                            return Err(format!("{}: it was committed, and is {outcome:?}", commit.saga));
                        }
                        (false, outcome) => self.applied(incarnation, commit, outcome)?,
                    }
                }
            }
            Err(StoreError::Fenced) => self.coverage.met("stale write refused"),
            Err(StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Damaged(_)) => {}
        }
        let orphans = done(self.store.statistics()).expect("a memory store can be read").orphans;
        if orphans > 0 {
            return Err(format!("{orphans} sagas will never be woken, after {batch:?}"));
        }
        Ok(result)
    }

    /// Whether an answer of the store is lost. An embedded one's never is.
    fn loses_answer(&mut self) -> bool {
        self.processes.len() > 1 && self.strikes(self.plan.chaos.lose_commit)
    }

    fn fate_of_commit(&mut self) -> Fate {
        if !self.loses_answer() {
            return Fate::Answered;
        }
        if self.rng.bool() {
            self.coverage.met("commit written, its answer lost");
            return Fate::AnswerLost;
        }
        self.coverage.met("commit not written, its answer lost");
        let arrives_ms = self.rng.bool().then(|| self.rng.u64(..2_000));
        Fate::Lost { arrives_ms }
    }

    /// A commit that nobody waits for arrives. The store that it was for holds a commit's rows from its first statement on, so
    /// it is refused where the same commit was offered again meanwhile.
    pub(super) fn ghost(&mut self, incarnation: Uuid, batch: Arc<[Commit]>) -> Result<(), Violation> {
        let is_bare = batch.iter().any(|commit| commit.events.is_none());
        if !is_bare
            && matches!(&self.commit(incarnation, batch, Offer::First, None)?, Ok(outcomes) if outcomes.contains(&Outcome::Committed))
        {
            self.coverage.met("commit written by a ghost");
        }
        Ok(())
    }

    fn applied(&mut self, incarnation: Uuid, commit: &Commit, outcome: &Outcome) -> Result<(), Violation> {
        match outcome {
            Outcome::Committed => {
                self.trace(|_| format!("committed: {commit:?}"));
                if commit.events.is_none()
                    && commit.writes.iter().any(|write| matches!(write, Write::OpenDeadLetter { step: None, .. }))
                {
                    self.coverage.met("dead letter: unreadable saga");
                }
                self.model.committed(commit, &self.participants, &mut self.coverage)?;
                let known = self.model.sagas.get_mut(&commit.saga).expect("it was committed just now");
                known.owner = incarnation;
                self.post(commit)?;
            }
            Outcome::Exists { same_input: true, .. } => self.coverage.met("repeated start"),
            Outcome::Exists { same_input: false, .. } => self.coverage.met("key reused with another input"),
            Outcome::Duplicate { .. } => self.coverage.met("double click"),
            Outcome::Stale => self.coverage.met("a commit about a saga that has moved on"),
        }
        Ok(())
    }

    fn load_claimed(&mut self, incarnation: Uuid, claimed: Claimed) -> (Vec<Loaded>, Option<Timestamp>) {
        (claimed.records.into_iter().map(|record| self.load(incarnation, record)).collect(), claimed.next_due)
    }

    fn load_acquired(&mut self, incarnation: Uuid, acquired: Acquired) -> Taken {
        match acquired {
            Acquired::Yours(record) => Taken::Yours(Box::new(self.load(incarnation, *record))),
            Acquired::Finished(record) => Taken::Finished(Box::new(self.load(incarnation, *record))),
            Acquired::Elsewhere(owner) => Taken::Elsewhere(owner),
            Acquired::Missing => Taken::Missing,
        }
    }

    fn load(&mut self, incarnation: Uuid, record: Record) -> Loaded {
        if let Some(known) = self.model.sagas.get_mut(&record.id).filter(|known| !known.saga.is_finished()) {
            (known.owner, known.rest) = (incarnation, Rest::Owned);
        }
        let definition = if self.remembers {
            Ok(self.model.definitions[&record.birth.version].clone())
        } else {
            Err("this program does not know its definition".to_owned())
        };
        Loaded { record, definition }
    }

    /// For messages about the time.
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.now.since(DAWN)
    }
}

/// What happens to a commit on its way to the store and back.
enum Fate {
    Answered,
    /// It is written, and nobody hears of it.
    AnswerLost,
    /// It does not arrive, or not in time.
    Lost {
        arrives_ms: Option<u64>,
    },
}

/// The names of the places before and after an output at which a process can die.
fn point(output: &Output) -> Option<(&'static str, &'static str)> {
    Some(match output {
        Output::Commit { offer: Offer::First, .. } => ("killed before commit", "killed after commit"),
        Output::Commit { offer: Offer::Again, .. } => ("killed before commit again", "killed after commit again"),
        Output::Claim { .. } => ("killed before claim", "killed after claim"),
        Output::Acquire { .. } => ("killed before acquire", "killed after acquire"),
        Output::Receive(_) => ("killed before receive", "killed after receive"),
        Output::Call(_) => ("killed before call", "killed after call"),
        Output::Reply { .. } => ("killed before reply", "killed after reply"),
        Output::Permits(_) | Output::Announce { .. } | Output::Fatal(_) => return None,
    })
}
