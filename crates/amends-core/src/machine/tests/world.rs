//! A saga, its participants, its queue, and a person who knows what happened: whatever may happen to them, happens.

use super::ledger::Account;
use super::spec;
use super::stage::{Stage, operator, response};
use crate::answer::{Answer, Reply};
use crate::definition::{Effects, Kind, StepIndex};
use crate::machine::request;
use crate::machine::{Claim, Command, Decision, Direction, Event, Phase, PlannedCall, Refusal, Settlement, StepState};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing that may happen. Numbers pick among what there is at that moment.
#[derive(Clone, Copy, Debug)]
pub enum Move {
    /// A call that is in flight ends.
    Answer { pick: u8, outcome: u8, coin: u8 },
    /// An answer that was given before is given again.
    Repeat { pick: u8 },
    /// A request that nobody waits for any more arrives after all.
    Land { pick: u8 },
    /// Time passes.
    Pass { jump: u8 },
    /// A compensation's message is received, whether it is due or not.
    Receive { pick: u8, receives: u8 },
    /// The orchestrator dies and another takes the saga into memory.
    Crash { coins: u8 },
    /// A wait is ended from outside.
    End { pick: u8, well: bool },
    /// A person cancels, pauses or resumes.
    Order { which: u8 },
    /// A person decides about a dead letter.
    Settle { pick: u8, how: u8 },
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub stage: Stage,
    pub accounts: Vec<Account>,
    answered: Vec<(PlannedCall, Answer)>,
    /// How often each message was received since it was put in the queue.
    receives: Vec<u32>,
    /// How often what was seen.
    pub seen: BTreeMap<&'static str, u64>,
}

impl World {
    pub fn begin(line: &str) -> World {
        let definition = spec::definition(line);
        let honours =
            |step: &crate::definition::Step| step.call().is_none_or(|work| work.effects == Effects::Idempotent);
        let accounts = definition.steps.iter().map(|step| Account { honours_key: honours(step), ..Account::default() });
        let accounts: Vec<_> = accounts.collect();
        let receives = vec![0; accounts.len()];
        let (stage, decision) = Stage::begin(definition);
        let mut world = World { stage, accounts, answered: Vec::new(), receives, seen: BTreeMap::new() };
        world.judge(&decision);
        world
    }

    /// Does a move, if there is anything to do it with.
    pub fn make(&mut self, action: Move) {
        match action {
            Move::Answer { pick, outcome, coin } => {
                if let Some(call) = picked(&self.stage.flying, pick).cloned() {
                    if call.request.is_message() {
                        self.deliver(&call, outcome, coin);
                    } else {
                        self.answer(call, outcome, coin);
                    }
                }
            }
            Move::Repeat { pick } => {
                if let Some((call, answer)) = picked(&self.answered, pick).cloned() {
                    self.repeat(&call, answer);
                }
            }
            Move::Land { pick } => {
                let under_way: Vec<_> = self.steps_where(|account| account.under_way > 0);
                if let Some(step) = picked(&under_way, pick) {
                    let turned_away = self.accounts[*step].tombstone && self.accounts[*step].honours_key;
                    self.accounts[*step].land();
                    self.saw(if turned_away { "a tombstone met" } else { "a late arrival" });
                    self.audit();
                }
            }
            Move::Pass { jump } => self.pass(jump),
            Move::Receive { pick, receives } => {
                let messages = self.stage.messages();
                if let Some((step, _)) = picked(&messages, pick) {
                    self.receive(*step, if receives == 255 { 21 } else { 1 });
                }
            }
            Move::Crash { coins } => self.crash(|index| coins.rotate_left(index)),
            Move::End { pick, well } => self.end(pick, well),
            Move::Order { which } => self.order(which),
            Move::Settle { pick, how } => {
                let dead: Vec<_> = self.stage.saga.dead().map(|(step, _)| step).collect();
                if let Some(step) = picked(&dead, pick) {
                    let _ = self.settle(*step, how);
                }
            }
        }
    }

    /// Gives a command; a refusal is only an answer.
    fn command(&mut self, command: &Command) -> Result<Decision, Refusal> {
        let outcome = self.stage.command(command);
        match &outcome {
            Ok(decision) => self.judge(decision),
            Err(Refusal::Stale) => self.saw("stale"),
            Err(Refusal::Conflict(_)) => self.saw("conflict"),
        }
        outcome
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn steps_where(&self, matches: impl Fn(&Account) -> bool) -> Vec<StepIndex> {
        (0..self.accounts.len()).filter(|step| matches(&self.accounts[*step])).collect()
    }

    /// The queue gives a message out again when nobody deals with it for long. Whoever is at it already lets it lie.
    fn receive(&mut self, step: StepIndex, times: u32) {
        self.receives[step] += times;
        if self.stage.is_flying(step, Direction::Compensation) {
            return;
        }
        self.command(&Command::Received { step, receives: self.receives[step] }).expect("a compensation is queued");
    }

    // --- Calls -----------------------------------------------------------------------------------------------

    /// Lets a call end in one of the ways there are; more than half of the time in a good one.
    fn answer(&mut self, call: PlannedCall, outcome: u8, coin: u8) {
        let answer = match call.direction {
            Direction::Action => self.act(call.step, outcome, coin),
            Direction::Probe => self.tell(call.step, outcome),
            Direction::Compensation => self.undo(call.step, outcome, coin),
        };
        self.answered.push((call.clone(), answer.clone()));
        let PlannedCall { step, direction, attempt, .. } = call;
        let _ = self.command(&Command::Answered { step, direction, attempt, answer });
    }

    /// Delivers a message, and perhaps again at some other time. Its answer may never come back.
    fn deliver(&mut self, call: &PlannedCall, outcome: u8, coin: u8) {
        let PlannedCall { step, direction, attempt, .. } = *call;
        self.saw("a message delivered");
        let comes_again = coin.is_multiple_of(4) && self.is_undone_all_the_same(step);
        let no = || "no".to_owned();
        let reply = match (outcome, direction) {
            (0..=149, Direction::Action) => match self.well(step) {
                Answer::Response(said) if said.status == 200 => Some(Reply::Done { output: said.body }),
                _ => Some(Reply::Refused { error: no() }),
            },
            (0..=149, _) => {
                self.accounts[step].undo();
                Some(Reply::Done { output: Arc::default() })
            }
            (150..=189, Direction::Action) => {
                self.perhaps(step, coin);
                None
            }
            (150..=189, _) => {
                self.accounts[step].undo();
                None
            }
            (190..=229, _) => Some(Reply::NotDone { error: no(), retry_after_ms: Some(u64::from(coin)) }),
            (230..=255, _) => Some(Reply::Refused { error: no() }),
        };
        self.stage.flying.retain(|other| other != call);
        if let Some(reply) = reply {
            let outcome = self.command(&Command::Answered { step, direction, attempt, answer: Answer::Reply(reply) });
            if outcome == Err(Refusal::Stale) {
                self.saw("a message answered after its time");
            }
        }
        if comes_again {
            self.saw("a message delivered again");
            self.stage.flying.push(call.clone());
        }
    }

    /// Whether a participant's *no* is not simply believed, because a compensation can leave a tombstone.
    fn is_undone_all_the_same(&self, step: StepIndex) -> bool {
        let can_be_undone = self.stage.definition.steps[step].compensation().is_some_and(|compensation| {
            request::compensation(&self.stage.definition, &self.stage.saga, step, &compensation.call).is_ok()
        });
        self.accounts[step].honours_key && can_be_undone
    }

    fn act(&mut self, step: StepIndex, outcome: u8, coin: u8) -> Answer {
        let retry_after = [None, Some(0), Some(700), Some(9_000)][usize::from(coin / 3 % 4)];
        match outcome {
            0..=149 => self.well(step),
            150..=189 => {
                self.perhaps(step, coin);
                match outcome % 4 {
                    0 => response(503, retry_after, Value::Null),
                    1 => response(408, None, Value::Null),
                    _ => lost(),
                }
            }
            190..=204 => {
                self.perhaps(step, coin);
                if outcome.is_multiple_of(2) {
                    response(425, retry_after, Value::Null)
                } else {
                    response(409, Some(500), Value::Null)
                }
            }
            205..=229 if outcome.is_multiple_of(2) => response(429, retry_after, Value::Null),
            205..=229 => Answer::NotSent { error: "nobody there".into() },
            230..=255 => response([401, 404, 422, 302][usize::from(outcome % 4)], None, Value::Null),
        }
    }

    /// The participant does as it is asked.
    fn well(&mut self, step: StepIndex) -> Answer {
        let name = self.stage.definition.steps[step].name.clone();
        if self.accounts[step].act() {
            response(200, None, json!({ "of": name }))
        } else {
            response(422, None, Value::Null)
        }
    }

    /// The request has arrived, or will, or never does. A participant that keeps no tombstones gets none that is late;
    /// nor does one that is believed when it says that the step did not happen.
    fn perhaps(&mut self, step: StepIndex, coin: u8) {
        let written = &self.stage.definition.steps[step];
        let gone = written.compensation().is_some_and(|compensation| compensation.not_found_is_done);
        let may_say_no = written.call().is_some_and(|work| work.probe.is_some() || work.action.is_message());
        let is_believed = may_say_no && !self.is_undone_all_the_same(step);
        let may_be_late = !is_believed && !gone;
        match coin % 3 {
            0 => {
                self.accounts[step].act();
            }
            1 if may_be_late => self.accounts[step].under_way += 1,
            _ => {}
        }
    }

    fn tell(&mut self, step: StepIndex, outcome: u8) -> Answer {
        let name = self.stage.definition.steps[step].name.clone();
        match outcome {
            0..=159 => response(200, None, json!({ "happened": self.accounts[step].net() > 0, "of": name })),
            160..=189 => response(503, None, Value::Null),
            190..=219 => lost(),
            220..=255 => response(404, None, Value::Null),
        }
    }

    fn undo(&mut self, step: StepIndex, outcome: u8, coin: u8) -> Answer {
        let compensation = self.stage.definition.steps[step].compensation().expect("it is compensated");
        let nothing_there = compensation.not_found_is_done && self.accounts[step].net() == 0;
        match outcome {
            0..=149 if nothing_there && coin.is_multiple_of(2) => response(404, None, Value::Null),
            0..=149 => {
                self.accounts[step].undo();
                response(if coin.is_multiple_of(3) { 410 } else { 200 }, None, Value::Null)
            }
            150..=194 => {
                if coin.is_multiple_of(2) {
                    self.accounts[step].undo();
                }
                match outcome % 4 {
                    0 => response(503, Some(u64::from(coin) * 20), Value::Null),
                    1 => response(425, None, Value::Null),
                    2 => response(409, Some(300), Value::Null),
                    _ => lost(),
                }
            }
            195..=229 if outcome.is_multiple_of(3) => Answer::NotSent { error: "nobody there".into() },
            195..=229 => response(if outcome % 3 == 1 { 429 } else { 422 }, None, Value::Null),
            230..=255 => response(if outcome.is_multiple_of(2) { 401 } else { 403 }, None, Value::Null),
        }
    }

    /// An answer that was given before changes nothing, unless the very same attempt was made again meanwhile. A dead
    /// letter does not keep the number of the last attempt at a compensation, so a retried one may count it again.
    fn repeat(&mut self, call: &PlannedCall, answer: Answer) {
        let PlannedCall { step, direction, attempt, .. } = *call;
        let same = |other: &PlannedCall| (other.step, other.direction, other.attempt) == (step, direction, attempt);
        let counted_again = direction == Direction::Compensation
            && attempt > self.stage.saga.steps[step].compensation_attempts
            && matches!(self.stage.saga.steps[step].state, StepState::Compensating(_));
        if !counted_again && !self.stage.flying.iter().any(same) {
            let outcome = self.command(&Command::Answered { step, direction, attempt, answer });
            assert_eq!(outcome.err(), Some(Refusal::Stale), "a repeated answer was taken for a new one");
        }
    }

    /// Whatever was in flight has lost its answer; the coin says whether it arrived.
    pub fn crash(&mut self, coin: impl Fn(u32) -> u8) {
        let calls = self.stage.flying.clone().into_iter().filter(|call| !call.request.is_message());
        for (index, call) in (0..).zip(calls) {
            let coin = coin(index);
            match call.direction {
                Direction::Action => self.perhaps(call.step, coin),
                Direction::Compensation if coin.is_multiple_of(3) => self.accounts[call.step].undo(),
                Direction::Compensation | Direction::Probe => {}
            }
            self.saw(match call.direction {
                Direction::Action => "an action interrupted",
                Direction::Compensation => "a compensation interrupted",
                Direction::Probe => "a probe interrupted",
            });
        }
        self.command(&Command::Recover).expect("recovery is never refused");
    }

    // --- Time and people ---------------------------------------------------------------------------------------

    fn pass(&mut self, jump: u8) {
        let due = self.stage.saga.wake_at(&self.stage.definition);
        self.stage.now = match jump {
            0..=149 => due.unwrap_or(self.stage.now).max(self.stage.now),
            150..=219 => self.stage.now.plus(u64::from(jump)),
            220..=249 => self.stage.now.plus(3_000),
            250..=255 => self.stage.now.plus(3_600_000),
        };
        self.command(&Command::Tick).expect("a tick is never refused");
    }

    fn end(&mut self, pick: u8, well: bool) {
        let steps = self.stage.saga.steps.iter().enumerate();
        let waiting: Vec<_> =
            steps.filter(|(_, step)| matches!(step.state, StepState::Waiting { .. })).map(|(step, _)| step).collect();
        let Some(step) = picked(&waiting, pick).copied() else { return };
        let output = self.output(step);
        let command = if well {
            Command::Complete { step, output, operator: operator() }
        } else {
            Command::Fail { step, operator: operator() }
        };
        self.command(&command).expect("it waits");
    }

    fn order(&mut self, which: u8) {
        let command = match which % 4 {
            0 => Command::Cancel(operator()),
            1 | 2 => Command::Pause(operator()),
            _ => Command::Resume(operator()),
        };
        let _ = self.command(&command);
    }

    /// A person looks at the books, sets right what they say if need be, and decides.
    pub fn settle(&mut self, step: StepIndex, how: u8) -> Result<Decision, Refusal> {
        let StepState::Dead(death) = self.stage.saga.steps[step].state.clone() else { return Err(Refusal::Stale) };
        let before = self.accounts[step].clone();
        self.accounts[step].land_all();
        let is_there = self.accounts[step].net() > 0;
        let settlement = match how % 10 {
            // What does not honour its key is not sent again if it is there.
            0..=3 if death.direction == Direction::Action && is_there && !before.honours_key => {
                Settlement::Done { output: self.output(step) }
            }
            0..=3 => Settlement::Retry,
            4 => Settlement::Done { output: self.output(step) },
            5 | 6 => Settlement::Undone,
            7 => Settlement::TurnAround,
            8 => Settlement::Edit { body: Arc::new(json!({ "edited": how })) },
            _ => Settlement::Skip,
        };
        let command =
            Command::Settle { letter: death.letter, settlement: settlement.clone(), operator: operator(), seen: None };
        match settlement {
            Settlement::Done { .. } if !is_there => self.accounts[step].done += 1,
            Settlement::Undone => self.accounts[step].undo(),
            Settlement::Skip => self.accounts[step].left_alone = true,
            Settlement::Done { .. } | Settlement::Retry | Settlement::Edit { .. } | Settlement::TurnAround => {}
        }
        let may_be_delivered = self.stage.is_flying(step, Direction::Action);
        let outcome = self.stage.command(&command);
        match &outcome {
            Ok(decision) => {
                match settlement {
                    Settlement::Edit { .. } => {
                        let has_none = before.net() == 0 && before.under_way == 0;
                        assert!(has_none, "another key beside what is there or may come: {before:?}");
                        assert!(!may_be_delivered, "another key beside a message that may be delivered: step {step}");
                        self.saw("edited");
                    }
                    Settlement::TurnAround => self.saw("turned around"),
                    _ => {}
                }
                self.judge(decision);
            }
            // Nothing is set right for a decision that is not taken.
            Err(_) => self.accounts[step] = before,
        }
        outcome
    }

    fn output(&self, step: StepIndex) -> Arc<Value> {
        Arc::new(json!({ "of": self.stage.definition.steps[step].name }))
    }

    // --- What must be true of it -------------------------------------------------------------------------------

    /// Holds what the saga says against the books.
    fn judge(&mut self, decision: &Decision) {
        super::laws::at_most_once_is_kept(&self.stage.definition, &self.stage.history);
        for event in &decision.events {
            self.saw(event.name());
            if let Event::CompensationQueued { step, .. } | Event::CompensationFailed { step, .. } = event {
                self.receives[*step] = 0;
            }
            if let Event::ActionRefused { step, .. } | Event::DeadLettered { step, claim: Claim::Undone, .. } = event {
                // It is believed, so nobody begins after its time what was sent.
                self.stage.flying.retain(|call| call.step != *step);
            }
            if let Event::ActionUnknown { step, ask_at: None, .. } = event
                && self.stage.definition.steps[*step].call().is_some_and(|work| work.action.is_message())
            {
                self.saw("a message refused and undone");
            }
            self.judge_event(event);
        }
        self.audit();
    }

    fn judge_event(&mut self, event: &Event) {
        let certainly = |account: &Account, effects: u32| account.net() == effects && account.under_way == 0;
        match event {
            Event::ActionDone { step, .. } => assert_eq!(self.accounts[*step].net(), 1, "done, says {event:?}"),
            Event::ActionRefused { step, .. } => {
                assert!(certainly(&self.accounts[*step], 0), "no effect, says {event:?}: {:?}", self.accounts[*step]);
            }
            Event::CompensationDone { step } => assert_eq!(self.accounts[*step].net(), 0, "undone, says {event:?}"),
            Event::DeadLettered { step, direction, claim, .. } => {
                let account = &self.accounts[*step];
                let agrees = match claim {
                    Claim::Done => account.net() == 1,
                    Claim::Undone => certainly(account, 0),
                    Claim::Unknown => true,
                };
                assert!(agrees, "{event:?} does not agree with {account:?}");
                self.saw(match direction {
                    Direction::Action => "an action dead",
                    Direction::Probe => "a probe dead",
                    Direction::Compensation => "a compensation dead",
                });
            }
            Event::CompensationEntered { .. } => {
                for (account, written) in self.accounts.iter().zip(&self.stage.definition.steps) {
                    let holds = written.kind == Kind::Compensatable || account.left_alone || certainly(account, 0);
                    assert!(holds, "it turned back behind {}, {account:?}", written.name);
                }
            }
            _ => {}
        }
    }

    /// What is true at any time, and what is true at the end.
    fn audit(&self) {
        for (account, written) in self.accounts.iter().zip(&self.stage.definition.steps) {
            assert!(account.done <= 1 && account.undone <= account.done, "{}: {account:?}", written.name);
            if written.call().is_none() || account.left_alone {
                continue;
            }
            let stays = !written.leaves_something();
            match self.stage.saga.phase {
                Phase::Completed { .. } => assert_eq!(account.net(), 1, "completed without {}", written.name),
                Phase::Compensated { .. } if !stays => assert_eq!(account.net(), 0, "{} is left behind", written.name),
                Phase::Compensated { .. } | Phase::Forward | Phase::Compensating { .. } => {}
            }
        }
    }

    // --- All's well --------------------------------------------------------------------------------------------

    /// Everything heals: from here on every call succeeds, and people let the saga go on. Returns in how many moves
    /// it finished.
    pub fn heal(&mut self) -> usize {
        let bound = 30 * (self.accounts.len() + 1);
        for moves in 0..bound {
            if self.stage.saga.is_finished() {
                self.accounts.iter_mut().for_each(Account::land_all);
                for call in std::mem::take(&mut self.stage.flying) {
                    self.deliver(&call, 0, 1);
                }
                self.audit();
                return moves;
            }
            self.heal_once(moves);
        }
        panic!("it does not come to an end in {bound} moves: {:#?}", self.stage.saga);
    }

    /// One move of [`World::heal`].
    pub fn heal_once(&mut self, moves: usize) {
        let dead = self.stage.saga.dead().next().map(|(step, _)| step);
        if self.stage.saga.held {
            self.command(&Command::Resume(operator())).expect("what is held can be resumed");
        } else if let Some(call) = self.stage.flying.first().cloned() {
            if call.request.is_message() {
                self.deliver(&call, 0, 1);
            } else {
                self.answer(call, 0, 1);
            }
        } else if let Some((step, at)) = self.stage.messages().into_iter().min_by_key(|(_, at)| *at) {
            self.stage.now = self.stage.now.max(at);
            self.receive(step, 1);
        } else if let Some(step) = dead {
            // Tried again first; what cannot even be rendered is set right by hand after a while.
            let tried = if moves < 10 * self.accounts.len() { self.settle(step, 0) } else { Err(Refusal::Stale) };
            let undone = tried.or_else(|_| self.settle(step, 5));
            undone.or_else(|_| self.settle(step, 4)).expect("there is a way out of every dead letter");
        } else {
            let waiting = self.stage.saga.steps.iter().any(|step| matches!(step.state, StepState::Waiting { .. }));
            if waiting { self.end(0, true) } else { self.pass(0) }
        }
    }
}

fn picked<T>(items: &[T], pick: u8) -> Option<&T> {
    if items.is_empty() { None } else { items.get(usize::from(pick) % items.len()) }
}

fn lost() -> Answer {
    Answer::Lost { error: "nobody answered".into() }
}
