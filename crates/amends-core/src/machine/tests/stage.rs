//! A saga on a stage: commands go in, the laws are checked, and the calls that are in flight are kept.

use super::laws;
use crate::answer::{Answer, Response};
use crate::definition::{Definition, StepIndex};
use crate::machine::{
    Command, Decision, Direction, Event, Moment, Operator, PlannedCall, Refusal, Saga, Start, StepState, Undoing, Way,
    begin, decide,
};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// When every play begins.
pub const DAWN: Timestamp = Timestamp(1_000_000_000_000);

/// One saga, its whole history, and the calls that nobody has answered yet.
#[derive(Debug)]
pub struct Stage {
    pub definition: Definition,
    pub saga: Saga,
    pub history: Vec<(Timestamp, Event)>,
    pub flying: Vec<PlannedCall>,
    pub now: Timestamp,
    chance: u64,
}

impl Stage {
    /// Starts a saga, and says what it does first.
    pub fn begin(definition: Definition) -> (Stage, Decision) {
        let start = Start {
            id: Uuid::from_u128(7),
            key: "key-1".into(),
            input: Arc::new(json!({ "id": "order-1" })),
            traceparent: None,
        };
        let decision = begin(&definition, start, Moment { now: DAWN, chance: 1 });
        let history: Vec<_> = decision.events.iter().map(|event| (DAWN, event.clone())).collect();
        let saga = Saga::clone(&decision.saga);
        let flying = decision.calls.clone();
        let stage = Stage { definition, saga, history, flying, now: DAWN, chance: 1 };
        laws::after_the_start(&stage, &decision);
        (stage, decision)
    }

    /// Gives a command now, and checks everything that must hold afterwards.
    pub fn command(&mut self, command: &Command) -> Result<Decision, Refusal> {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let moment = Moment { now: self.now, chance: self.chance };
        if let Command::Answered { step, direction, attempt, .. } = command {
            let of = |call: &PlannedCall| (call.step, call.direction, call.attempt) == (*step, *direction, *attempt);
            let landed = self.flying.iter().position(of);
            landed.map(|landed| self.flying.remove(landed));
        }
        let decision = match decide(&self.definition, &self.saga, command, moment) {
            Ok(decision) => decision,
            Err(refusal) => {
                laws::on_refusal(self, command, &refusal);
                return Err(refusal);
            }
        };
        let before = std::mem::replace(&mut self.saga, Saga::clone(&decision.saga));
        self.history.extend(decision.events.iter().map(|event| (self.now, event.clone())));
        // Whoever waited for the answers is gone; a compensation's message comes again by itself, and a message is answered to whoever
        // has the saga then.
        if *command == Command::Recover {
            self.flying.retain(|call| call.request.is_message());
        }
        self.flying.extend(decision.calls.iter().cloned());
        laws::after(self, &before, command, &decision);
        Ok(decision)
    }

    /// Whether a call of this step is in flight.
    pub fn is_flying(&self, step: StepIndex, direction: Direction) -> bool {
        self.flying.iter().any(|call| (call.step, call.direction) == (step, direction))
    }

    /// The steps whose compensation's message is in the queue, whether it is due or not.
    pub fn messages(&self) -> Vec<(StepIndex, Timestamp)> {
        let steps = self.saga.steps.iter().enumerate();
        let queued = steps.filter_map(|(step, found)| match &found.state {
            StepState::Compensating(Undoing { way: Way::Call, at, .. }) => Some((step, *at)),
            _ => None,
        });
        queued.collect()
    }
}

/// Whoever acts in these tests.
pub fn operator() -> Operator {
    Operator { actor: "ann".into(), reason: "a test".into() }
}

/// A complete response.
pub fn response(status: u16, retry_after_ms: Option<u64>, body: Value) -> Answer {
    Answer::Response(Response { status, retry_after_ms, body: Arc::new(body), body_dropped: None })
}
