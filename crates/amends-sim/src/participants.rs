//! The participants: services that honour the idempotency key by the same rules as the layer for services, or that
//! promise nothing; and the ledger of what they really did.
//!
//! A participant answers a request at once or works on it for a while. What it has done is in the ledger from the moment
//! its work is committed, whoever still waits for the answer.

use crate::coverage::Coverage;
use amends_core::answer::{Answer, Response};
use amends_core::idempotency::{
    Answered, CompensationDecision, Decision, Direction as KeyDirection, Ending, Fingerprint, FingerprintParts, Record,
    decide, decide_compensation,
};
use amends_core::machine::Direction;
use amends_core::time::Timestamp;
use amends_engine::orchestrator::OutgoingCall;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What really happened under the key of one action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// How often it took effect.
    pub(crate) done: u32,
    /// How often that was undone.
    pub(crate) undone: u32,
    /// Requests, of the action or of its compensation, that are under way or being worked on.
    pub(crate) under_way: u32,
}

impl Effect {
    /// The effects that are there.
    pub(crate) fn net(&self) -> u32 {
        self.done.saturating_sub(self.undone)
    }
}

/// A request on its way to a participant, or in its hands.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) call: Arc<OutgoingCall>,
    /// Whether the participant honours the key.
    pub(crate) honours_key: bool,
    /// Whether a probe's *no* is the end of the matter, because nothing would turn away a request that lands later.
    pub(crate) is_believed: bool,
}

/// How the work on a request will end, drawn beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It succeeds.
    Succeeds,
    /// It is refused with this status; nothing was written.
    Refused(u16),
    /// It fails with this status; what was written is rolled back.
    Fails(u16),
    /// The service dies over it; what was written is rolled back, and nobody answers.
    Dies,
}

/// What comes of a request when it arrives.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It is answered at once.
    Answered(Answer),
    /// It is worked on; [`Participants::finish`] ends that.
    Begun,
}

/// What a participant keeps under a key.
#[derive(Clone, Debug)]
struct Entry {
    record: Record,
    body: Arc<Value>,
}

/// All participants, and their ledger.
#[derive(Debug, Default)]
pub(crate) struct Participants {
    entries: BTreeMap<String, Entry>,
    ledger: BTreeMap<String, Effect>,
}

impl Participants {
    /// What happened under the key of an action.
    pub(crate) fn effect(&self, action_key: &str) -> Effect {
        self.ledger.get(action_key).copied().unwrap_or_default()
    }

    /// All keys of actions, and what happened under them.
    pub(crate) fn ledger(&self) -> impl Iterator<Item = (&String, &Effect)> {
        self.ledger.iter()
    }

    /// A person undoes by hand what is there.
    pub(crate) fn undo_by_hand(&mut self, action_key: &str) {
        let effect = self.ledger.entry(action_key.to_owned()).or_default();
        effect.undone = effect.done;
    }

    /// A request leaves for the participant.
    pub(crate) fn expect(&mut self, request: &Request) {
        self.effect_of(request).under_way += 1;
    }

    /// A request will not arrive, or its work is over.
    pub(crate) fn forget(&mut self, request: &Request) {
        self.effect_of(request).under_way -= 1;
    }

    fn effect_of(&mut self, request: &Request) -> &mut Effect {
        let key = action_key(&request.call);
        self.ledger.entry(key.to_owned()).or_default()
    }

    /// A request arrives.
    pub(crate) fn arrive(&mut self, request: &Request, now: Timestamp, coverage: &mut Coverage) -> Arrival {
        if request.call.direction == Direction::Probe {
            return Arrival::Answered(self.probe(request));
        }
        if !request.honours_key {
            return Arrival::Begun;
        }
        let call = &request.call;
        let fingerprint = fingerprint(call);
        let known = self.entries.get(&call.key);
        let status = match decide(known.map(|entry| &entry.record), &fingerprint, now) {
            Decision::Execute => return self.execute(request, fingerprint, now, coverage),
            Decision::Replay => {
                coverage.met("duplicate received");
                let entry = known.expect("what is replayed is known");
                let Record::Finished { status, .. } = &entry.record else { unreachable!("only an answer is replayed") };
                return Arrival::Answered(respond(*status, None, entry.body.clone()));
            }
            Decision::InFlight => {
                coverage.met("duplicate received");
                return Arrival::Answered(respond(409, Some(50), Arc::default()));
            }
            Decision::Compensated => {
                coverage.met("tombstone met");
                409
            }
            Decision::Mismatch => 422,
            Decision::Unknown => 409,
        };
        Arrival::Answered(respond(status, None, Arc::default()))
    }

    fn execute(
        &mut self,
        request: &Request,
        fingerprint: Fingerprint,
        now: Timestamp,
        coverage: &mut Coverage,
    ) -> Arrival {
        if request.call.direction == Direction::Compensation {
            let action = action_key(&request.call).to_owned();
            match decide_compensation(self.entries.get(&action).map(|entry| &entry.record), now) {
                CompensationDecision::Run => {}
                CompensationDecision::AskAgain => {
                    coverage.met("action in flight when its compensation came");
                    return Arrival::Answered(respond(409, Some(50), Arc::default()));
                }
                CompensationDecision::LeaveTombstone => {
                    coverage.met("tombstone left");
                    let record = Record::Tombstone { expires_at: Timestamp::NEVER };
                    self.entries.insert(action, Entry { record, body: Arc::default() });
                    return Arrival::Answered(respond(200, None, Arc::default()));
                }
                CompensationDecision::NothingToUndo => {
                    return Arrival::Answered(respond(200, None, Arc::default()));
                }
            }
        }
        let entry = Entry { record: Record::InFlight { fingerprint }, body: Arc::default() };
        self.entries.insert(request.call.key.clone(), entry);
        Arrival::Begun
    }

    /// The work on a request ends. `None` where nobody answers.
    pub(crate) fn finish(&mut self, request: &Request, work: Work) -> Option<Answer> {
        let call = request.call.clone();
        let (status, body) = match work {
            Work::Dies => {
                self.entries.remove(&call.key);
                return None;
            }
            Work::Succeeds => (200, Arc::new(json!({ "of": call.step_name }))),
            Work::Refused(status) | Work::Fails(status) => (status, Arc::default()),
        };
        let direction = match call.direction {
            Direction::Action | Direction::Probe => KeyDirection::Action,
            Direction::Compensation => KeyDirection::Compensation,
        };
        let ending = Answered { direction, status, retry_after: false }.ending();
        if ending == Ending::Commit {
            self.take_effect(request);
        }
        if request.honours_key {
            match ending {
                Ending::Commit | Ending::Refuse => {
                    let record =
                        Record::Finished { fingerprint: fingerprint(&call), status, expires_at: Timestamp::NEVER };
                    self.entries.insert(call.key.clone(), Entry { record, body: body.clone() });
                }
                Ending::Release => drop(self.entries.remove(&call.key)),
            }
        }
        Some(respond(status, None, body))
    }

    fn take_effect(&mut self, request: &Request) {
        let honours_key = request.honours_key;
        let effect = self.effect_of(request);
        match request.call.direction {
            Direction::Action => effect.done += 1,
            Direction::Compensation if honours_key => effect.undone += 1,
            // Undoing what is undone already does nothing.
            Direction::Compensation => effect.undone = effect.done,
            Direction::Probe => {}
        }
    }

    /// Whether it happened. Who is believed does not answer while a request is still under way.
    fn probe(&mut self, request: &Request) -> Answer {
        let effect = *self.effect_of(request);
        // The question itself is under way too.
        if request.is_believed && effect.under_way > 1 {
            return respond(503, None, Arc::default());
        }
        respond(200, None, Arc::new(json!({ "happened": effect.net() > 0 })))
    }
}

/// The key of the action that a call makes, undoes or asks about.
pub(crate) fn action_key(call: &OutgoingCall) -> &str {
    call.action_key.as_deref().unwrap_or(&call.key)
}

pub(crate) fn fingerprint(call: &OutgoingCall) -> Fingerprint {
    let body = call.request.body.as_deref().unwrap_or_default().as_bytes();
    let method = call.request.method.as_str();
    Fingerprint::new(&FingerprintParts { method, path: &call.request.path, body, ..FingerprintParts::default() })
}

pub(crate) fn respond(status: u16, retry_after_ms: Option<u64>, body: Arc<Value>) -> Answer {
    Answer::Response(Response { status, retry_after_ms, body, body_dropped: None })
}
