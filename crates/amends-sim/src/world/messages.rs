//! What becomes of a message between the commit that writes it and its participant, and of the answer to it. A queue keeps what it
//! is given, and promises neither when it delivers nor how often.

use super::{Happening, World};
use crate::model::{self, Known, Violation};
use crate::participants::{Arrival, Request, Work};
use amends_core::answer::{Answer, Reply};
use amends_core::definition::Method;
use amends_core::machine::{self, Direction};
use amends_core::time::Timestamp;
use amends_engine::orchestrator::{Input, OutgoingCall};
use amends_engine::{EngineError, Order};
use amends_store::queues::NewMessage;
use amends_store::{Commit, Write};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use uuid::Uuid;

/// How long a message is invisible to others once it was received.
const VISIBILITY_MS: u64 = 500;
/// When an answer is brought again that nobody has taken.
const BRING_AGAIN_MS: u64 = 700;

/// A message on its way to a participant, or in its hands.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    request: Request,
    not_after: Timestamp,
}

/// An answer that is brought until it is taken.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    saga: Uuid,
    order: Order,
}

/// A command, as far as it matters to its participant.
#[derive(Deserialize)]
struct Command {
    step: String,
    direction: Direction,
    attempt: u32,
    idempotency_key: String,
    action_key: Option<String>,
    not_after: Timestamp,
    body: Box<RawValue>,
}

impl World {
    /// What a commit sends is in the queue from here on.
    pub(super) fn post(&mut self, commit: &Commit) -> Result<(), Violation> {
        for write in &commit.writes {
            let Write::Send { queue, message } = write else { continue };
            let known = &self.model.sagas[&commit.saga];
            let delivery = delivery(known, queue, message)?;
            model::check_key(known, &delivery.request.call)?;
            self.model.sent(&delivery.request.call, &self.participants)?;
            let chaos = self.plan.chaos.clone();
            if self.strikes(chaos.lose_request) {
                self.coverage.met("a message that nobody received");
                continue;
            }
            let delay_ms = if self.strikes(chaos.delay) { self.rng.u64(200..8_000) } else { self.rng.u64(1..20) };
            // What is believed is remembered by whoever was asked, so a second delivery does nothing.
            if !delivery.request.is_believed && self.strikes(chaos.duplicate) {
                self.coverage.met("a message delivered twice");
                let again_ms = self.rng.u64(1..5_000);
                self.participants.expect(&delivery.request);
                self.after(again_ms, Happening::Delivered(delivery.clone()));
            }
            self.participants.expect(&delivery.request);
            self.after(delay_ms, Happening::Delivered(delivery));
        }
        Ok(())
    }

    /// A participant receives a message.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        let is_away = self.away_until.get(&delivery.request.call.request.participant);
        if is_away.is_some_and(|until| *until > self.now) {
            return self.after(VISIBILITY_MS, Happening::Delivered(delivery));
        }
        if delivery.request.is_believed && self.now > delivery.not_after {
            self.coverage.met("a message received after its time");
            return self.participants.forget(&delivery.request);
        }
        match self.participants.arrive(&delivery.request, self.now, &mut self.coverage) {
            Arrival::Answered(Answer::Response(response)) if response.retry_after_ms.is_some() => {
                self.after(100, Happening::Delivered(delivery));
            }
            Arrival::Answered(answer) => {
                self.participants.forget(&delivery.request);
                self.answer_message(&delivery.request.call, answer);
            }
            Arrival::Begun => {
                let work = self.draw_work(&delivery.request);
                let took_ms = self.rng.u64(1..200);
                self.after(took_ms, Happening::Handled(delivery, work));
            }
        }
    }

    /// The work on a message ends.
    pub(super) fn handled(&mut self, delivery: Delivery, work: Work) -> Result<(), Violation> {
        let answer = self.participants.finish(&delivery.request, work);
        let effect = self.participants.effect(crate::participants::action_key(&delivery.request.call));
        if effect.done > 1 || effect.undone > effect.done {
            return Err(format!("an effect happened twice: {effect:?} after {:?}", delivery.request.call));
        }
        let Some(answer) = answer else {
            self.after(VISIBILITY_MS, Happening::Delivered(delivery));
            return Ok(());
        };
        self.participants.forget(&delivery.request);
        self.answer_message(&delivery.request.call, answer);
        Ok(())
    }

    /// The participant answers over a queue, which loses nothing; but it may end before it has.
    fn answer_message(&mut self, call: &OutgoingCall, answer: Answer) {
        if self.strikes(self.plan.chaos.lose_answer) {
            return;
        }
        let Answer::Response(response) = answer else { return };
        let error = format!("answered {}", response.status);
        let reply = match response.status {
            200..=299 => Reply::Done { output: response.body },
            500..=599 => Reply::NotDone { error, retry_after_ms: None },
            _ => Reply::Refused { error },
        };
        let (step, direction, attempt) = (call.step_name.clone(), call.direction, call.attempt);
        self.answers.push(Some(Answered { saga: call.saga, order: Order::Reply { step, direction, attempt, reply } }));
        let delay_ms = self.rng.u64(1..50);
        self.after(delay_ms, Happening::Replied(self.answers.len() - 1));
    }

    /// Brings an answer to some process, and again later unless it was taken by then.
    pub(super) fn bring(&mut self, number: usize) {
        let Some(Answered { saga, order }) = self.answers[number].clone() else { return };
        self.after(BRING_AGAIN_MS, Happening::Replied(number));
        let owner = self.model.sagas[&saga].owner;
        let process = self.processes.iter().position(|process| process.incarnation == owner);
        let process = process.filter(|_| self.rng.bool()).unwrap_or_else(|| self.any_process());
        let reply = self.ask_about_answer(number);
        self.ask_process(process, Input::Order { reply, saga, order });
    }

    /// What came of bringing an answer.
    pub(super) fn answer_taken(&mut self, number: usize, error: Option<&EngineError>) {
        match error {
            None => self.answers[number] = None,
            Some(EngineError::Conflict(_)) => {
                self.coverage.met("an answer that nobody waited for");
                self.answers[number] = None;
            }
            // Somebody else has the saga, or nobody can have it now.
            Some(_) => {}
        }
    }
}

fn delivery(known: &Known, queue: &str, message: &NewMessage) -> Result<Delivery, Violation> {
    let command: Command = serde_json::from_str(&message.body).map_err(|error| error.to_string())?;
    let step = known.definition.step(&command.step).ok_or("a message of a step that there is not")?;
    let request = machine::Request {
        method: Method::Send,
        participant: queue.to_owned(),
        path: String::new(),
        body: Some(command.body.get().to_owned()),
        timeout_ms: 0,
    };
    let call = OutgoingCall {
        id: 0,
        saga: known.saga.id,
        step,
        step_name: command.step,
        direction: command.direction,
        attempt: command.attempt,
        key: command.idempotency_key,
        action_key: command.action_key,
        traceparent: String::new(),
        request,
    };
    let request = Request { call: Arc::new(call), honours_key: true, is_believed: !known.leaves_tombstone(step) };
    Ok(Delivery { request, not_after: command.not_after })
}
