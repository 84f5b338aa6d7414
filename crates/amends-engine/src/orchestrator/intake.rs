//! What comes out of the store: sagas that are due or wanted, and messages.

use super::live::{self, Cause, Live};
use super::{CLAIM, Claim, Loaded, Orchestrator, Output, Taken, Want, writes};
use crate::{EngineError, Order, Snapshot};
use amends_core::definition::Definition;
use amends_core::machine::{Command, Operator, Settlement};
use amends_core::time::Timestamp;
use amends_store::{Received, Record, StoreError, Write};
use uuid::Uuid;

/// When a saga is due again that is left to a newer program; another of the old ones may find it first.
const LEFT_TO_NEWER_MS: u64 = 2_000;

impl Orchestrator {
    pub(super) fn claim_due(&mut self) {
        if let Claim::At(at) = self.claim
            && at <= self.now
            && self.has_room()
            && !self.closed
        {
            self.claim = Claim::OnItsWay { again_at: self.now.plus(self.settings.sweep_ms) };
            self.outputs.push_back(Output::Claim { limit: CLAIM });
        }
    }

    pub(super) fn claimed(&mut self, result: Result<(Vec<Loaded>, Option<Timestamp>), StoreError>) {
        let sweep_at = self.now.plus(self.settings.sweep_ms);
        let asked_for = match self.claim {
            Claim::OnItsWay { again_at } => again_at,
            Claim::At(at) => at,
        };
        match result {
            Ok((sagas, _)) if sagas.len() >= CLAIM => {
                self.claim = Claim::At(self.now);
                sagas.into_iter().for_each(|saga| self.take_in(saga));
            }
            Ok((sagas, next_due)) => {
                let next_due = next_due.unwrap_or(sweep_at).min(asked_for).max(self.now.plus(1));
                self.claim = Claim::At(next_due.min(sweep_at));
                sagas.into_iter().for_each(|saga| self.take_in(saga));
            }
            Err(error) => {
                self.claim = Claim::At(sweep_at);
                self.store_failed(error);
            }
        }
    }

    /// Sees to it that what is due at `at` is claimed in time.
    pub(super) fn claim_by(&mut self, at: Timestamp) {
        match &mut self.claim {
            Claim::At(planned) => *planned = at.min(*planned),
            Claim::OnItsWay { again_at } => *again_at = at.min(*again_at),
        }
    }

    pub(super) fn acquired(&mut self, saga: Uuid, result: Result<Taken, StoreError>) {
        let refusal = match result {
            Ok(Taken::Yours(loaded)) => return self.take_in(*loaded),
            Ok(Taken::Finished(loaded)) => match loaded
                .definition
                .and_then(|definition| Snapshot::read(&loaded.record, definition).map_err(|error| error.to_string()))
            {
                Ok((snapshot, _)) => {
                    let status = snapshot.saga.status().as_str();
                    EngineError::Conflict(format!("the saga is finished: it is {status}"))
                }
                Err(_) if self.has_newer => EngineError::ForNewer(saga),
                Err(_) => EngineError::Unreadable(saga),
            },
            Ok(Taken::Elsewhere(owner)) => EngineError::Elsewhere(owner),
            Ok(Taken::Missing) => EngineError::UnknownSaga(saga),
            Err(error) => {
                self.store_failed(error.clone());
                EngineError::Store(error)
            }
        };
        let wants = self.wanted.remove(&saga).unwrap_or_default();
        self.turn_away(saga, wants, &refusal);
    }

    /// The saga could not be taken into memory: whoever wanted something of it is told why.
    pub(super) fn turn_away(&mut self, saga: Uuid, wants: Vec<(Cause, Want)>, refusal: &EngineError) {
        for (cause, want) in wants {
            match want {
                Want::Message { step, .. } => self.lanes.forget(saga, &step),
                Want::Order(_) | Want::Command(_) => {}
            }
            if let Cause::Caller(reply) = cause {
                self.reply(reply, Err(refusal.clone()));
            }
        }
    }

    /// Takes a saga into memory and goes on where it stands: the fold of its history, then the ordinary loop.
    pub(super) fn take_in(&mut self, loaded: Loaded) {
        let id = loaded.record.id;
        if self.set_aside.contains(&id) {
            // It was read before the commit that sets it aside: it is read once more after that.
            self.wanted.entry(id).or_default();
            return;
        }
        let wants = self.wanted.remove(&id).unwrap_or_default();
        if let Some(live) = self.live.get_mut(&id) {
            live.taken_again |= live.staged.is_some();
            return wants.into_iter().for_each(|(cause, want)| self.want(id, cause, want));
        }
        let after = loaded.record.sequence;
        let read = loaded
            .definition
            .and_then(|definition| Snapshot::read(&loaded.record, definition).map_err(|error| error.to_string()));
        match read {
            Ok((snapshot, _)) => {
                let (cause, extra, wants) = self.reprieve(&loaded.record, &snapshot, wants);
                // One commit for all of it: the saga may be at rest again after that, and nobody's.
                let mut commands = vec![(cause, Command::Recover)];
                for (cause, want) in wants {
                    match live::command(&snapshot.definition, &want) {
                        Ok(command) => commands.push((cause, command)),
                        Err(error) => self.turn_away(id, vec![(cause, want)], &error),
                    }
                }
                self.live.insert(id, Live::new(snapshot, after, Some(loaded.record.row)));
                self.pursue(id, commands, extra);
            }
            Err(why) if self.has_newer && loaded.record.damage.is_none() => self.put_back(&loaded.record, &why, wants),
            Err(why) => self.quarantine(&loaded.record, &why, wants),
        }
    }

    /// A saga that was set aside and can be read again goes on, and its dead letter is settled: in the name of whoever
    /// asked for it, if anyone did. Returns who that is, what is to be written, and what else is wanted of the saga.
    fn reprieve(
        &mut self,
        record: &Record,
        snapshot: &Snapshot,
        mut wants: Vec<(Cause, Want)>,
    ) -> (Cause, Vec<Write>, Vec<(Cause, Want)>) {
        if !writes::is_set_aside(&record.row) {
            return (Cause::Itself, Vec::new(), wants);
        }
        let asked = wants.iter().position(|(_, want)| want.retries_saga().is_some()).map(|place| wants.remove(place));
        let operator = asked.as_ref().and_then(|(_, want)| want.retries_saga());
        let writes = writes::reprieve(&snapshot.definition, &snapshot.saga, operator, self.now);
        // Its messages were held, and come when they are released.
        wants.retain(|(_, want)| match want {
            Want::Message { step, .. } => {
                self.lanes.forget(record.id, step);
                false
            }
            Want::Order(_) | Want::Command(_) => true,
        });
        (asked.map_or(Cause::Itself, |(cause, _)| cause), writes, wants)
    }

    /// Sets a saga aside that cannot be read: visible, and in nobody's way.
    fn quarantine(&mut self, record: &Record, why: &str, wants: Vec<(Cause, Want)>) {
        tracing::error!(saga = %record.id, why, "a saga cannot be read and is set aside as a dead letter");
        self.turn_away(record.id, wants, &EngineError::Unreadable(record.id));
        self.set_aside.insert(record.id);
        self.commits.add(writes::quarantine(record, why, self.now));
    }

    /// Leaves a saga that cannot be read to a newer program: as it was, and due again soon.
    fn put_back(&mut self, record: &Record, why: &str, wants: Vec<(Cause, Want)>) {
        tracing::debug!(saga = %record.id, why, "a saga cannot be read and is left to a newer program");
        self.turn_away(record.id, wants, &EngineError::ForNewer(record.id));
        self.set_aside.insert(record.id);
        self.commits.add(writes::put_back(record, self.now.plus(LEFT_TO_NEWER_MS)));
    }

    pub(super) fn received(&mut self, participant: &str, result: Result<Received, StoreError>) {
        match result {
            Ok(received) => {
                for message in self.lanes.received(participant, received, self.now) {
                    let want = Want::Message { step: message.step, receives: message.receives };
                    self.want(message.saga, Cause::Itself, want);
                }
            }
            Err(error) => {
                self.lanes.not_received(participant, self.now.plus(self.settings.sweep_ms), self.now);
                match error {
                    // Messages that it may have given come again when they are visible again.
                    StoreError::Unavailable(why) | StoreError::Unknown(why) => {
                        tracing::error!(%why, "the store is not available");
                    }
                    StoreError::Fenced | StoreError::Damaged(_) => self.store_failed(error),
                }
            }
        }
    }
}

impl Want {
    /// What a command wants that could not be given to its saga.
    pub(super) fn of(definition: &Definition, command: Command) -> Want {
        match command {
            Command::Received { step, receives } => {
                Want::Message { step: definition.steps[step].name.clone(), receives }
            }
            command => Want::Command(command),
        }
    }

    /// Who asks to try a saga again that could not be read.
    fn retries_saga(&self) -> Option<&Operator> {
        match self {
            Want::Order(Order::Settle { letter, settlement: Settlement::Retry, operator, .. })
                if writes::is_about_saga(*letter) =>
            {
                Some(operator)
            }
            Want::Order(_) | Want::Command(_) | Want::Message { .. } => None,
        }
    }
}
