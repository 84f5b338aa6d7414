//! The participants' lanes: what waits for a participant, and what is in flight there.
//!
//! A slow participant fills its own lane and no other. Actions and probes have their bound; compensations have a
//! bound of their own, a breaker, and the pace that all participants share.

use super::CallId;
use super::breaker::Breaker;
use super::pace::Pace;
use super::permits::Permits;
use crate::settings::{Participant, Settings};
use crate::{Gauges, ParticipantGauges, Snapshot, trace};
use amends_core::answer::{
    ActionOutcome, Answer, CompensationOutcome, ProbeOutcome, classify_action, classify_compensation, classify_probe,
};
use amends_core::definition::StepIndex;
use amends_core::machine::{Direction, PlannedCall, Request};
use amends_core::time::Timestamp;
use amends_store::{Message, PermitRequest, Receive, Received};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// A call that is to be made, with everything that goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingCall {
    /// Names the call until it has ended.
    pub id: CallId,
    /// The saga.
    pub saga: Uuid,
    /// The step.
    pub step: StepIndex,
    /// The step's name.
    pub step_name: String,
    /// Which of the step's calls.
    pub direction: Direction,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// `Idempotency-Key`: the same on every attempt, until a person edits the request.
    pub key: String,
    /// On a compensation, the key of the action to undo.
    pub action_key: Option<String>,
    /// The call's place in the trace.
    pub traceparent: String,
    /// What is sent.
    pub request: Request,
}

/// A call that has ended, as far as the saga must know.
pub(super) struct Ended {
    pub(super) saga: Uuid,
    pub(super) step: StepIndex,
    pub(super) direction: Direction,
    pub(super) attempt: u32,
}

/// A call in flight: what must be known of it when it ends.
#[derive(Clone, Debug)]
struct Flight {
    participant: String,
    step_name: String,
    saga: Uuid,
    step: StepIndex,
    direction: Direction,
    attempt: u32,
}

/// All lanes, and what they share.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: BTreeMap<String, Lane>,
    pace: Pace,
    /// Where others share the rate.
    permits: Option<Permits>,
    flying: BTreeMap<CallId, Flight>,
    /// When those of them began whose participants usually answer at once.
    quick: BTreeMap<CallId, Timestamp>,
    next_id: CallId,
    /// The lane that had a call last: the next place is offered to the one after it, so that none is starved.
    last_served: String,
}

#[derive(Debug)]
struct Lane {
    in_flight_bound: usize,
    compensations_bound: usize,
    calls: VecDeque<OutgoingCall>,
    calls_in_flight: usize,
    compensations: VecDeque<OutgoingCall>,
    compensations_in_flight: usize,
    /// Messages that were received and not dealt with yet, by saga and step: a message that becomes visible again
    /// meanwhile is not taken twice. Every compensation that waits or is in flight has its message here, and no more are
    /// received than there are places for: that is what bounds the compensations in flight.
    held: BTreeSet<(Uuid, String)>,
    breaker: Breaker,
    receive: ReceiveState,
    /// Messages that were put anew since they were asked for: what comes may be from before.
    renewed: BTreeSet<(Uuid, String)>,
    /// Of those asked for, how many have not come yet.
    asked_for: usize,
    ended: BTreeMap<(&'static str, &'static str), u64>,
    latency: (Vec<u64>, u64),
    /// How long its calls took of late, in sixteenths of a millisecond.
    usual: u64,
}

/// A participant whose calls take no longer is quick, in milliseconds.
const QUICK_MS: u64 = 3;

#[derive(Debug)]
enum ReceiveState {
    At(Timestamp),
    OnItsWay { again_at: Option<Timestamp> },
}

/// How often a lane looks for messages that it was not told of.
const RECEIVE_MS: u64 = 1_000;

impl Lanes {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> Lanes {
        let lanes = settings.participants.iter().map(|(name, settings)| (name.clone(), Lane::new(settings, now)));
        Lanes {
            lanes: lanes.collect(),
            pace: Pace::new(settings.compensations_per_second),
            permits: settings.is_shared.then(|| Permits::new(settings.compensations_per_second, now)),
            flying: BTreeMap::new(),
            quick: BTreeMap::new(),
            next_id: 1,
            last_served: String::new(),
        }
    }

    /// The participant's lane. One that is not configured has a lane too: its calls fail, visibly, one by one.
    fn lane(&mut self, participant: &str, now: Timestamp) -> &mut Lane {
        self.lanes.entry(participant.to_owned()).or_insert_with(|| {
            let nowhere = url::Url::parse("http://not-configured.invalid").expect("a constant address");
            Lane::new(&Participant::at(nowhere), now)
        })
    }

    /// Queues a call.
    pub(super) fn queue(&mut self, snapshot: &Snapshot, call: PlannedCall, now: Timestamp) {
        let (saga, name) = (&snapshot.saga, &snapshot.definition.steps[call.step].name);
        let own_key = saga.action_key(&snapshot.definition, call.step);
        let (key, undone_key) = match call.direction {
            Direction::Action | Direction::Probe => (own_key, None),
            Direction::Compensation => (saga.compensation_key(&snapshot.definition, call.step), Some(own_key)),
        };
        let call = OutgoingCall {
            id: self.next_id,
            saga: saga.id,
            step: call.step,
            step_name: name.clone(),
            direction: call.direction,
            attempt: call.attempt,
            key,
            action_key: undone_key,
            traceparent: trace::traceparent(saga, call.step, call.direction, call.attempt),
            request: call.request,
        };
        self.next_id += 1;
        let lane = self.lane(&call.request.participant.clone(), now);
        match call.direction {
            Direction::Action | Direction::Probe => lane.calls.push_back(call),
            Direction::Compensation => lane.compensations.push_back(call),
        }
    }

    /// The next call that has a place now; it counts as in flight from here on.
    pub(super) fn next_call(&mut self, now: Timestamp) -> Option<OutgoingCall> {
        let has_permit = self.permits.as_ref().is_none_or(|permits| permits.left(now) > 0);
        let pace_allows = has_permit && self.pace.allowance(now) > 0;
        let mut next_of = |(name, lane): (&String, &mut Lane)| {
            let call = lane.next_call(pace_allows, now)?;
            Some((name.clone(), call))
        };
        let last = self.last_served.clone();
        let after =
            self.lanes.range_mut::<String, _>((Bound::Excluded(&last), Bound::Unbounded)).find_map(&mut next_of);
        let (name, call) = after.or_else(|| self.lanes.range_mut(..=last).find_map(&mut next_of))?;
        if call.direction == Direction::Compensation {
            self.pace.take(now);
            self.permits.iter_mut().for_each(Permits::take);
        }
        if self.lanes.get(&name).is_some_and(Lane::is_quick) {
            self.quick.insert(call.id, now);
        }
        self.last_served = name;
        self.flying.insert(call.id, Flight::of(&call));
        Some(call)
    }

    /// Names the moment: every call that is in flight now has a lower number, and every later one a higher.
    pub(super) fn mark(&self) -> CallId {
        self.next_id
    }

    /// Whether calls from before that moment are still in flight that should have their answers at once. One that does not is
    /// not waited for.
    pub(super) fn has_stragglers(&self, mark: CallId, now: Timestamp) -> bool {
        self.quick.range(..mark).next_back().is_some_and(|(_, began)| now.since(*began) <= 2 * QUICK_MS)
    }

    /// A call that was given a place is not made after all.
    pub(super) fn cancel(&mut self, call: &OutgoingCall, now: Timestamp) {
        let Some(flight) = self.flying.remove(&call.id) else { return };
        self.quick.remove(&call.id);
        let lane = self.lane(&flight.participant, now);
        lane.leave(&flight);
        if call.direction == Direction::Compensation {
            // It said nothing about the participant's health.
            lane.breaker.forget();
        }
    }

    /// A call has ended. `None` where nobody knows it.
    pub(super) fn ended(&mut self, id: CallId, answer: &Answer, took_ms: u64, now: Timestamp) -> Option<Ended> {
        let call = self.flying.remove(&id)?;
        self.quick.remove(&id);
        let lane = self.lane(&call.participant, now);
        lane.leave(&call);
        let (class, healthy) = class(call.direction, answer);
        if call.direction == Direction::Compensation {
            lane.breaker.end(healthy, now);
        }
        *lane.ended.entry((call.direction.as_str(), class)).or_default() += 1;
        for (bucket, bound) in lane.latency.0.iter_mut().zip(Gauges::BUCKETS_MS) {
            *bucket += u64::from(took_ms <= bound);
        }
        lane.latency.1 += took_ms;
        lane.usual = (15 * lane.usual).saturating_add(16 * took_ms) / 16;
        Some(Ended { saga: call.saga, step: call.step, direction: call.direction, attempt: call.attempt })
    }

    /// Takes back the actions of a saga that wait for their place.
    pub(super) fn withdraw(&mut self, saga: Uuid) -> Vec<OutgoingCall> {
        let mut withdrawn = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.calls.retain(|call| {
                let stays = call.saga != saga || call.direction != Direction::Action;
                if !stays {
                    withdrawn.push(call.clone());
                }
                stays
            });
        }
        withdrawn
    }

    // --- Messages ------------------------------------------------------------------------------------------

    /// A message for this participant can be received from `at` on.
    pub(super) fn expect_message(&mut self, participant: &str, at: Timestamp, now: Timestamp) {
        match &mut self.lane(participant, now).receive {
            ReceiveState::At(planned) => *planned = at.min(*planned),
            ReceiveState::OnItsWay { again_at } => *again_at = Some(again_at.map_or(at, |again| at.min(again))),
        }
    }

    /// The message for a step's compensation was put anew, and can be received from `at` on.
    pub(super) fn message_put(&mut self, participant: &str, message: (Uuid, String), at: Timestamp, now: Timestamp) {
        let lane = self.lane(participant, now);
        if matches!(lane.receive, ReceiveState::OnItsWay { .. }) {
            lane.renewed.insert(message);
        }
        self.expect_message(participant, at, now);
    }

    /// What to receive now: as much as there are places for, and no more.
    pub(super) fn receives(&mut self, now: Timestamp, visibility_ms: u64) -> Vec<Receive> {
        let mut requests = Vec::new();
        for (participant, lane) in &mut self.lanes {
            let limit = lane.places(now);
            if limit > 0 && matches!(lane.receive, ReceiveState::At(at) if at <= now) {
                lane.receive = ReceiveState::OnItsWay { again_at: None };
                lane.asked_for = limit;
                let invisible_until = now.plus(visibility_ms);
                requests.push(Receive { participant: participant.clone(), limit, now, invisible_until });
            }
        }
        requests
    }

    /// What to ask of the store, so that compensations which wait may begin.
    pub(super) fn asks_for_permits(&mut self, now: Timestamp) -> Option<PermitRequest> {
        let permits = self.permits.as_mut()?;
        let ready = |lane: &Lane| lane.compensations.len().min(lane.breaker.allowance(now));
        permits.ask(self.lanes.values().map(ready).sum(), now)
    }

    pub(super) fn permitted(&mut self, count: usize, now: Timestamp) {
        self.permits.iter_mut().for_each(|permits| permits.granted(count, now));
    }

    /// Messages have come. Returns those that are not in hand already.
    pub(super) fn received(&mut self, participant: &str, received: Received, now: Timestamp) -> Vec<Message> {
        let lane = self.lane(participant, now);
        let again_at = match lane.receive {
            ReceiveState::OnItsWay { again_at } => again_at,
            ReceiveState::At(at) => Some(at),
        };
        let was_full = received.messages.len() >= lane.asked_for;
        lane.asked_for = 0;
        let next = if was_full { now } else { received.next_at.unwrap_or(Timestamp::NEVER).min(now.plus(RECEIVE_MS)) };
        lane.receive = ReceiveState::At(again_at.map_or(next, |again| again.min(next)));
        let renewed = std::mem::take(&mut lane.renewed);
        let mut messages = received.messages;
        messages.retain(|message| message.receives == 1 || !renewed.contains(&(message.saga, message.step.clone())));
        // One that is in hand and comes for the first time was put anew: the one in hand is about to be dropped.
        messages.retain(|message| lane.held.insert((message.saga, message.step.clone())) || message.receives == 1);
        messages
    }

    /// Receiving has failed; it is tried again.
    pub(super) fn not_received(&mut self, participant: &str, again_at: Timestamp, now: Timestamp) {
        let lane = self.lane(participant, now);
        lane.asked_for = 0;
        lane.renewed.clear();
        lane.receive = ReceiveState::At(again_at);
    }

    /// Whether a message of this saga is in hand: its compensation is in flight, or waits for its place.
    pub(super) fn has_message_of(&self, saga: Uuid) -> bool {
        let first = |lane: &Lane| lane.held.range((saga, String::new())..).next().map(|(found, _)| *found);
        self.lanes.values().any(|lane| first(lane) == Some(saga))
    }

    /// A message is not in hand any more.
    pub(super) fn forget(&mut self, saga: Uuid, step: &str) {
        let message = (saga, step.to_owned());
        for lane in self.lanes.values_mut() {
            lane.held.remove(&message);
        }
    }

    // --- Watching ------------------------------------------------------------------------------------------

    /// When there is something to do that no event will announce.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let pace = self.pace.next_at(now);
        let permitted = self.permits.as_ref().map_or(Some(now), |permits| permits.next_at(now));
        let lanes = self.lanes.values().filter_map(|lane| {
            let receive = match lane.receive {
                ReceiveState::At(at) if lane.has_places() => Some(at),
                ReceiveState::At(_) | ReceiveState::OnItsWay { .. } => None,
            };
            let ready = permitted.filter(|_| !lane.compensations.is_empty()).map(|at| at.max(pace));
            let earliest = [receive, ready].into_iter().flatten().min()?;
            // While the breaker is open neither is possible; while its probes are out, their end is waited for.
            let opens = lane.breaker.opens_at().unwrap_or(now).max(now);
            (lane.breaker.allowance(opens) > 0).then_some(earliest.max(opens))
        });
        lanes.min()
    }

    /// Whether no call is in flight and no action or probe waits for its place. Compensations that wait have their
    /// messages.
    pub(super) fn is_quiet(&self) -> bool {
        self.flying.is_empty() && self.lanes.values().all(|lane| lane.calls.is_empty())
    }

    pub(super) fn gauges(&self, now: Timestamp) -> BTreeMap<String, ParticipantGauges> {
        let gauges = self.lanes.iter().map(|(name, lane)| (name.clone(), lane.gauges(now)));
        gauges.collect()
    }
}

impl Flight {
    fn of(call: &OutgoingCall) -> Flight {
        Flight {
            participant: call.request.participant.clone(),
            step_name: call.step_name.clone(),
            saga: call.saga,
            step: call.step,
            direction: call.direction,
            attempt: call.attempt,
        }
    }
}

impl Lane {
    fn new(settings: &Participant, now: Timestamp) -> Lane {
        Lane {
            in_flight_bound: settings.in_flight.max(1),
            compensations_bound: settings.compensations_in_flight.max(1),
            calls: VecDeque::new(),
            calls_in_flight: 0,
            compensations: VecDeque::new(),
            compensations_in_flight: 0,
            held: BTreeSet::new(),
            breaker: Breaker::new(settings.breaker),
            receive: ReceiveState::At(now),
            renewed: BTreeSet::new(),
            asked_for: 0,
            ended: BTreeMap::new(),
            latency: (vec![0; Gauges::BUCKETS_MS.len()], 0),
            usual: 0,
        }
    }

    fn is_quick(&self) -> bool {
        self.usual <= 16 * QUICK_MS
    }

    /// The next call that has a place. `pace_allows`: whether a compensation may begin now at all.
    fn next_call(&mut self, pace_allows: bool, now: Timestamp) -> Option<OutgoingCall> {
        if self.calls_in_flight < self.in_flight_bound
            && let Some(call) = self.calls.pop_front()
        {
            self.calls_in_flight += 1;
            return Some(call);
        }
        if !pace_allows || self.breaker.allowance(now) == 0 {
            return None;
        }
        let call = self.compensations.pop_front()?;
        self.compensations_in_flight += 1;
        self.breaker.begin();
        Some(call)
    }

    fn has_places(&self) -> bool {
        self.held.len() < self.compensations_bound
    }

    /// How many messages there are places for now.
    fn places(&self, now: Timestamp) -> usize {
        self.compensations_bound.saturating_sub(self.held.len()).min(self.breaker.allowance(now))
    }

    /// A call gives up its place.
    fn leave(&mut self, call: &Flight) {
        match call.direction {
            Direction::Action | Direction::Probe => self.calls_in_flight -= 1,
            Direction::Compensation => {
                self.compensations_in_flight -= 1;
                self.held.remove(&(call.saga, call.step_name.clone()));
            }
        }
    }

    fn gauges(&self, now: Timestamp) -> ParticipantGauges {
        ParticipantGauges {
            calls_in_flight: self.calls_in_flight,
            calls_waiting: self.calls.len(),
            compensations_in_flight: self.compensations_in_flight,
            breaker: self.breaker.name(now),
            ended: self.ended.clone(),
            latency: self.latency.clone(),
        }
    }
}

/// The class of an answer, and whether it speaks for the participant's health.
fn class(direction: Direction, answer: &Answer) -> (&'static str, bool) {
    match direction {
        Direction::Action => match classify_action(answer) {
            ActionOutcome::Done { .. } => ("done", true),
            ActionOutcome::NotDone { .. } => ("not-done", false),
            ActionOutcome::InProgress { .. } => ("in-progress", true),
            ActionOutcome::Refused { .. } => ("refused", true),
            ActionOutcome::Unknown { .. } => ("unknown", false),
        },
        Direction::Compensation => match classify_compensation(answer, true) {
            CompensationOutcome::Done => ("done", true),
            CompensationOutcome::InProgress { .. } => ("in-progress", true),
            CompensationOutcome::Hopeless { .. } => ("refused", true),
            CompensationOutcome::Again { uncertain: false, .. } => ("not-done", false),
            CompensationOutcome::Again { uncertain: true, .. } => ("unknown", false),
        },
        Direction::Probe => match classify_probe(answer) {
            ProbeOutcome::Answered => ("done", true),
            ProbeOutcome::Again { .. } => ("not-done", false),
        },
    }
}
