//! What becomes of a call between a process and a participant, and at the participant.

use super::{Asks, DAWN, Happening, World};
use crate::model::Violation;
use crate::participants::{Arrival, Request, Work, respond};
use crate::process::ProcessId;
use amends_core::answer::Answer;
use amends_core::machine::Direction;
use amends_engine::orchestrator::{Input, OutgoingCall};
use std::sync::Arc;

impl World {
    /// A process makes a call.
    pub(super) fn call(&mut self, process: ProcessId, call: OutgoingCall) -> Result<(), Violation> {
        let is_live = !self.retired.contains(&self.processes[process].incarnation);
        self.trace(|_| format!("process {process} calls: {call:?}"));
        let known = &self.model.sagas.get(&call.saga).ok_or("a call for a saga that was never committed")?;
        crate::model::check_key(known, &call)?;
        let is_believed = !known.leaves_tombstone(call.step);
        let honours_key = known.honours_key(call.step);
        self.model.called(&call, is_live, &self.participants)?;
        if call.direction == Direction::Compensation {
            self.check_rate()?;
        }
        let asks = Asks { life: self.processes[process].life, call: call.id, since: self.now };
        self.processes[process].calls_in_flight += 1;
        // Who was taken over stops calling as soon as its own clock says that its lease has run out. Only a step that
        // leaves a tombstone is safe against the moment in which it has not looked yet.
        if !is_live && is_believed {
            self.answer(asks, 0, Answer::NotSent { error: "the lease has run out".into() });
            return Ok(());
        }
        let request = Request { call: Arc::new(call), honours_key, is_believed };
        self.send(request, asks);
        Ok(())
    }

    /// Where orchestrators share the rate of compensations, no second sees more of them.
    fn check_rate(&mut self) -> Result<(), Violation> {
        let rate = self.settings.compensations_per_second as usize;
        self.begun.push_back(self.now);
        if !self.settings.is_shared || self.begun.len() <= rate {
            return Ok(());
        }
        let first = self.begun.pop_front().unwrap_or(self.now);
        if self.now.since(first) < 1_000 {
            return Err(format!("more than {rate} compensations in a second, from {} on", first.since(DAWN)));
        }
        self.coverage.met("the rate of compensations was shared");
        Ok(())
    }

    fn send(&mut self, request: Request, asks: Asks) {
        let chaos = self.plan.chaos.clone();
        let participant = request.call.request.participant.clone();
        let timeout_ms = request.call.request.timeout_ms;
        let is_away = self.away_until.get(&participant).is_some_and(|until| *until > self.now);
        if !is_away && self.strikes(chaos.outage) {
            let until = self.now.plus(self.rng.u64(100..5_000));
            self.away_until.insert(participant, until);
        }
        if is_away || self.strikes(chaos.unreachable) {
            return self.answer(asks, 1, Answer::NotSent { error: "connection refused".into() });
        }
        if self.strikes(chaos.turn_away) {
            let status = [401, 403, 429, 302, 404][self.rng.usize(..5)];
            return self.answer(asks, 2, respond(status, None, Arc::default()));
        }
        // Whatever else happens, the caller gives up.
        self.answer(asks, timeout_ms, Answer::Lost { error: "no answer in time".into() });
        if self.strikes(chaos.lose_request) {
            return;
        }
        let delay_ms = if self.strikes(chaos.delay) {
            self.coverage.met("request landed late");
            self.rng.u64(timeout_ms..timeout_ms * 10)
        } else {
            self.rng.u64(1..5)
        };
        self.participants.expect(&request);
        self.after(delay_ms, Happening::Arrives { request, asks: Some(asks) });
    }

    /// A request reaches its participant.
    pub(super) fn arrive(&mut self, request: Request, asks: Option<Asks>) {
        match self.participants.arrive(&request, self.now, &mut self.coverage) {
            Arrival::Answered(answer) => {
                self.participants.forget(&request);
                self.reply(asks, answer);
            }
            Arrival::Begun => {
                let work = self.draw_work(&request);
                let is_slow = self.strikes(self.plan.chaos.slow_work);
                let took_ms = if is_slow { self.rng.u64(200..1_500) } else { self.rng.u64(1..30) };
                if asks.is_some() && request.honours_key && self.strikes(self.plan.chaos.duplicate) {
                    let again_ms = self.rng.u64(1..400);
                    if work == Work::Succeeds {
                        self.participants.expect(&request);
                        let request = request.clone();
                        self.after(again_ms, Happening::Arrives { request, asks: None });
                    }
                }
                self.after(took_ms, Happening::Finishes { request, asks, work });
            }
        }
    }

    pub(super) fn draw_work(&mut self, request: &Request) -> Work {
        let chaos = self.plan.chaos.clone();
        match request.call.direction {
            _ if self.strikes(chaos.crash) => Work::Dies,
            _ if self.strikes(chaos.fail) => Work::Fails([500, 503][self.rng.usize(..2)]),
            Direction::Action if self.strikes(chaos.refuse) => Work::Refused([400, 409, 422][self.rng.usize(..3)]),
            Direction::Compensation if self.strikes(chaos.hopeless) => Work::Fails(403),
            Direction::Action | Direction::Compensation | Direction::Probe => Work::Succeeds,
        }
    }

    /// The work on a request ends.
    pub(super) fn finish(&mut self, request: &Request, asks: Option<Asks>, work: Work) -> Result<(), Violation> {
        let answer = self.participants.finish(request, work);
        self.participants.forget(request);
        let effect = self.participants.effect(crate::participants::action_key(&request.call));
        if effect.done > 1 || effect.undone > effect.done {
            return Err(format!("an effect happened twice: {effect:?} after {:?}", request.call));
        }
        if let Some(answer) = answer {
            self.reply(asks, answer);
        }
        Ok(())
    }

    /// The participant answers; what the caller hears is another matter.
    fn reply(&mut self, asks: Option<Asks>, answer: Answer) {
        let Some(asks) = asks else { return };
        if self.strikes(self.plan.chaos.lose_answer) {
            return;
        }
        if self.strikes(self.plan.chaos.gateway) {
            let status = [500, 502, 504, 408, 599][self.rng.usize(..5)];
            return self.answer(asks, 2, respond(status, None, Arc::new("<html>".into())));
        }
        let delay_ms = self.rng.u64(1..5);
        self.answer(asks, delay_ms, answer);
    }

    fn answer(&mut self, asks: Asks, after_ms: u64, answer: Answer) {
        self.after(after_ms, Happening::Hears { asks, answer });
    }

    /// The caller hears an answer. What comes after the first is for nobody.
    pub(super) fn hear(&mut self, asks: Asks, answer: Answer) {
        let process = &mut self.processes[asks.life.process];
        if process.life != asks.life || !process.heard.insert(asks.call) {
            return;
        }
        process.calls_in_flight -= 1;
        let took_ms = self.now.since(asks.since);
        process.hand_in(self.now, Input::Answered { call: asks.call, answer, took_ms });
    }
}
