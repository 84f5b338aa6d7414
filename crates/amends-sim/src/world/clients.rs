//! Those who start sagas, and those who look after them: what they ask, what they are told, and whether it was true.

use super::{Happening, World, done};
use crate::chaos::Plan;
use crate::model::Violation;
use crate::process::{Process, ProcessId};
use amends_core::machine::{Claim, Direction, Operator, Phase, Settlement, StepState};
use amends_engine::orchestrator::{Input, Reply, ReplyId, StartInput, is_settled};
use amends_engine::{EngineError, Order, Snapshot};
use amends_store::{AuditQuery, DeadLetterQuery, StoreError, Views};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// How long a client waits before it asks again.
const TRY_MS: u64 = 700;

/// One start that somebody wants.
#[derive(Debug)]
struct Client {
    definition: String,
    input: Arc<Value>,
    is_served: bool,
}

/// What a caller waits for.
#[derive(Debug)]
enum Asked {
    /// That the saga was accepted.
    Start { client: usize, try_number: u32 },
    /// That the saga settled.
    End { saga: Uuid },
    /// That the answer with this number was taken.
    Answer { number: usize },
    /// That an order was carried out, and audited with this reason.
    Order { reason: String },
}

/// All who ask.
#[derive(Debug, Default)]
pub(super) struct Clients {
    clients: Vec<Client>,
    asked: BTreeMap<ReplyId, Asked>,
    next_reply: ReplyId,
    /// What was told to be accepted: the saga, and the client's input.
    told: Vec<(Uuid, Arc<Value>)>,
    /// The reasons of orders that somebody was told were carried out.
    carried_out: BTreeSet<String>,
    orders: u64,
}

impl Clients {
    /// Clients with their inputs; some start what another one starts.
    pub(super) fn draw(rng: &mut Rng, plan: &Plan) -> Clients {
        let mut clients: Vec<Client> = Vec::new();
        for number in 0..plan.sagas {
            let definition = format!("d{}", rng.usize(..plan.definitions));
            let click = rng.u8(..3);
            let input = json!({ "key": format!("k{number}"), "click": click, "salt": number });
            clients.push(Client { definition, input: Arc::new(input), is_served: false });
            let twin = rng.u8(..6);
            if twin < 2 {
                let original = &clients[rng.usize(..clients.len())];
                let mut input = (*original.input).clone();
                if twin == 0 {
                    input["salt"] = json!("another");
                }
                let twin = Client { definition: original.definition.clone(), input: Arc::new(input), is_served: false };
                clients.push(twin);
            }
        }
        Clients { clients, ..Clients::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn are_served(&self) -> bool {
        self.clients.iter().all(|client| client.is_served)
    }

    fn ask(&mut self, asked: Asked) -> ReplyId {
        self.next_reply += 1;
        self.asked.insert(self.next_reply, asked);
        self.next_reply
    }
}

impl World {
    /// A client starts its saga at some process, and asks again later unless it has been answered by then.
    pub(super) fn client_starts(&mut self, client: usize, try_number: u32) {
        if self.clients.clients[client].is_served {
            return;
        }
        self.after(TRY_MS, Happening::ClientStarts { client, try_number: try_number + 1 });
        let process = self.any_process();
        let wanted = &self.clients.clients[client];
        let name = wanted.definition.clone();
        let input = wanted.input.clone();
        let found = self.model.definitions.values().find(|definition| definition.name == name);
        let definition = found.expect("clients start what there is").clone();
        let reply = self.clients.ask(Asked::Start { client, try_number });
        let id = Uuid::from_u128(self.rng.u128(1..));
        let settled = self.rng.bool().then(|| self.clients.ask(Asked::End { saga: id }));
        let start = StartInput { reply, settled, id, definition, input, traceparent: None };
        self.ask_process(process, Input::Start(Box::new(start)));
    }

    pub(super) fn ask_about_answer(&mut self, number: usize) -> ReplyId {
        self.clients.ask(Asked::Answer { number })
    }

    pub(super) fn any_process(&mut self) -> ProcessId {
        self.rng.usize(..self.processes.len())
    }

    pub(super) fn ask_process(&mut self, process: ProcessId, input: Input) {
        if self.processes[process].is_running() && !self.processes[process].is_stopping {
            let now = self.now;
            self.processes[process].hand_in(now, input);
        }
    }

    /// A caller is answered.
    pub(super) fn told(&mut self, reply: ReplyId, result: Result<Reply, EngineError>) -> Result<(), Violation> {
        let Some(asked) = self.clients.asked.remove(&reply) else {
            return Err(format!("somebody was answered who did not ask, or twice: {result:?}"));
        };
        self.trace(|_| format!("told about {asked:?}: {:?}", result.as_ref().map(|_| "done")));
        if let Ok(Reply::Accepted(snapshot) | Reply::Saga(snapshot)) = &result {
            self.check_told(snapshot)?;
        }
        match asked {
            Asked::Start { client, try_number } => return self.start_answered(client, try_number, &result),
            Asked::End { saga } => {
                if let Ok(Reply::Saga(snapshot)) = &result
                    && !is_settled(&snapshot.saga)
                {
                    return Err(format!("{saga}: somebody was told its end before it had ended"));
                }
            }
            Asked::Answer { number } => self.answer_taken(number, result.as_ref().err()),
            Asked::Order { reason } => {
                if result.is_ok() {
                    self.clients.carried_out.insert(reason);
                }
            }
        }
        Ok(())
    }

    /// Nobody is told what is not in the store. What a process tells late, because it was frozen, may be of yesterday.
    fn check_told(&self, told: &Snapshot) -> Result<(), Violation> {
        let Some(known) = self.model.sagas.get(&told.id) else {
            return Err(format!("{}: somebody was told of a saga that is not in the store", told.id));
        };
        if told.saga.sequence > known.saga.sequence {
            return Err(format!("{}: somebody was told of events that are not in the store", told.id));
        }
        Ok(())
    }

    fn start_answered(
        &mut self,
        client: usize,
        try_number: u32,
        result: &Result<Reply, EngineError>,
    ) -> Result<(), Violation> {
        let input = self.clients.clients[client].input.clone();
        let id = match result {
            Ok(Reply::Accepted(snapshot) | Reply::Saga(snapshot)) => snapshot.id,
            Ok(Reply::Existing(id)) => *id,
            Err(EngineError::KeyReused { .. }) if try_number == 1 || self.has_twin(client) => {
                self.clients.clients[client].is_served = true;
                return Ok(());
            }
            Err(EngineError::Store(StoreError::Unavailable(_))) => {
                self.coverage.met("start refused by a full store");
                return Ok(());
            }
            Err(EngineError::Overloaded | EngineError::Store(_) | EngineError::Stopping) => return Ok(()),
            Err(error) => return Err(format!("a start was refused at {} ms: {error}", self.elapsed_ms())),
        };
        self.clients.clients[client].is_served = true;
        self.clients.told.push((id, input));
        Ok(())
    }

    /// Whether another client uses the same key with another input.
    fn has_twin(&self, client: usize) -> bool {
        let one = &self.clients.clients[client];
        self.clients.clients.iter().any(|other| {
            other.definition == one.definition && other.input["key"] == one.input["key"] && other.input != one.input
        })
    }

    /// Whatever anybody was told is so, when all is over.
    pub(super) fn judge_promises(&self) -> Result<(), Violation> {
        for (id, input) in &self.clients.told {
            let Some(known) = self.model.sagas.get(id) else {
                return Err(format!("{id}: it was accepted, and is lost"));
            };
            let is_double_click = known.saga.input["click"] == input["click"] && known.definition.dedupe.is_some();
            if known.saga.input != *input && !is_double_click {
                return Err(format!("{id}: it was accepted with another input"));
            }
        }
        let mut keys = BTreeSet::new();
        for known in self.model.sagas.values() {
            if !keys.insert((&known.definition.name, &known.saga.key)) {
                return Err(format!("{}: another saga has its key", known.saga.id));
            }
        }
        let audit = done(self.store.audit(AuditQuery { limit: usize::MAX, ..AuditQuery::default() }));
        let audit = audit.expect("a memory store can be read");
        for reason in &self.clients.carried_out {
            let entries = audit.iter().filter(|entry| entry.reason == *reason).count();
            if entries != 1 {
                return Err(format!("an order that was carried out has {entries} entries in the audit log: {reason}"));
            }
        }
        let open = DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() };
        match done(self.store.dead_letters(open)).expect("a memory store can be read").first() {
            Some(letter) => Err(format!("a dead letter is open although all is over: {letter:?}")),
            None => Ok(()),
        }
    }

    // --- People ----------------------------------------------------------------------------------------------

    /// A person looks at everything, and does something about some of it. Once the faults have stopped they see to it that
    /// nothing is left waiting for them.
    pub(super) fn person_acts(&mut self) {
        if self.is_healed && !self.is_over() {
            self.after(1_000, Happening::PersonActs);
        }
        let sagas: Vec<Uuid> = self.model.sagas.keys().copied().collect();
        for id in sagas {
            if self.is_healed || self.rng.u32(..1_000) < self.plan.chaos.people * 2 {
                let process = self.any_process();
                if let Some(order) = self.wish(id) {
                    let reason = match &order {
                        Order::Reply { .. } => continue,
                        Order::Complete { operator, .. }
                        | Order::Fail { operator, .. }
                        | Order::Cancel(operator)
                        | Order::Pause(operator)
                        | Order::Resume(operator)
                        | Order::Settle { operator, .. } => operator.reason.clone(),
                    };
                    let reply = self.clients.ask(Asked::Order { reason });
                    self.ask_process(process, Input::Order { reply, saga: id, order });
                }
            }
        }
    }

    /// What a person would do about a saga now.
    fn wish(&mut self, id: Uuid) -> Option<Order> {
        self.clients.orders += 1;
        let reason = format!("order {}", self.clients.orders);
        let operator = Operator { actor: "ada".into(), reason };
        let known = &self.model.sagas[&id];
        if known.saga.is_finished() {
            return None;
        }
        if let Some(letter) = self.letter_about_the_saga(id) {
            return Some(Order::Settle { letter, settlement: Settlement::Retry, operator, seen: None });
        }
        let saga = &self.model.sagas[&id].saga;
        let dead = saga.dead().next().map(|(step, death)| (step, death.letter, death.direction, death.claim));
        let waiting = saga.steps.iter().position(|step| matches!(step.state, StepState::Waiting { .. }));
        let is_held = saga.held;
        if let Some((step, letter, direction, claim)) = dead {
            let settlement = self.settlement(id, step, direction, claim)?;
            self.coverage.met("saga given up by the machine and settled by a person");
            return Some(Order::Settle { letter, settlement, operator, seen: None });
        }
        if is_held && (self.is_healed || self.rng.bool()) {
            return Some(Order::Resume(operator));
        }
        if let Some(step) = waiting {
            let step = self.model.sagas[&id].definition.steps[step].name.clone();
            let output = Arc::new(json!("yes"));
            let fails = self.rng.u8(..4) == 0;
            return Some(if fails {
                Order::Fail { step, operator }
            } else {
                Order::Complete { step, output, operator }
            });
        }
        if self.is_healed {
            return None;
        }
        Some(if self.rng.bool() { Order::Pause(operator) } else { Order::Cancel(operator) })
    }

    fn letter_about_the_saga(&self, id: Uuid) -> Option<u64> {
        let query = DeadLetterQuery { saga: Some(id), limit: 10, ..DeadLetterQuery::default() };
        let letters = done(self.store.dead_letters(query)).expect("a memory store can be read");
        let letter = letters.into_iter().find(|letter| letter.step.is_none())?;
        letter.id.rsplit('.').next()?.parse().ok()
    }

    /// What somebody decides about a dead letter who has looked at the participant's books. While a request may still
    /// arrive there, nothing can be decided; and that something is not there cannot be said while a process is frozen, which
    /// may have it still to send.
    fn settlement(&mut self, id: Uuid, step: usize, direction: Direction, claim: Claim) -> Option<Settlement> {
        let known = &self.model.sagas[&id];
        let key = known.action_key(step);
        let effect = self.participants.effect(&key);
        let can_be_undone = known.definition.steps[step].compensation().is_some();
        let is_forward = known.saga.phase == Phase::Forward;
        let turns_back = known.definition.steps[step].kind != amends_core::definition::Kind::Retriable;
        if effect.under_way > 0 {
            return None;
        }
        if self.rng.u8(..12) == 0 {
            return Some(Settlement::Skip);
        }
        let done = Settlement::Done { output: Arc::new(json!("by hand")) };
        let settlement = match direction {
            Direction::Action | Direction::Probe if effect.net() > 0 => done,
            // The machine itself is to know where these are safe.
            Direction::Action if is_forward && self.rng.u8(..4) == 0 => {
                Settlement::Edit { body: Arc::new(json!({ "key": "edited", "order": self.clients.orders })) }
            }
            Direction::Action | Direction::Probe if is_forward && self.rng.u8(..4) == 0 => Settlement::TurnAround,
            Direction::Action if is_forward && (claim == Claim::Undone || !turns_back) && self.rng.bool() => {
                Settlement::Retry
            }
            Direction::Action | Direction::Probe if is_forward && !turns_back => Settlement::Retry,
            Direction::Action | Direction::Probe if self.rng.u8(..4) > 0 || !is_forward => Settlement::Undone,
            Direction::Action | Direction::Probe => Settlement::Retry,
            Direction::Compensation if can_be_undone && (effect.net() > 0 || self.rng.bool()) => Settlement::Retry,
            Direction::Compensation => Settlement::Undone,
        };
        if matches!(settlement, Settlement::Undone | Settlement::TurnAround) {
            if self.processes.iter().any(Process::is_frozen) {
                return None;
            }
            if settlement == Settlement::Undone && direction == Direction::Compensation {
                self.participants.undo_by_hand(&key);
            }
        }
        Some(settlement)
    }
}
