//! Events become spans. A tracker follows one saga and remembers when what is open was begun.

use amends_core::answer::Failure;
use amends_core::definition::StepIndex;
use amends_core::machine::{Direction, Event, Phase, Saga};
use amends_core::time::Timestamp;
use amends_engine::{Snapshot, trace};
use std::collections::BTreeMap;

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) trace_id: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent_id: Option<[u8; 8]>,
    pub(super) name: String,
    /// Whether it stands for a call to somebody else.
    pub(super) is_call: bool,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) attributes: Vec<(&'static str, String)>,
    /// What went wrong, if it ended badly.
    pub(super) error: Option<String>,
}

/// What is open in one saga.
#[derive(Debug)]
pub(super) struct Tracker {
    next: u64,
    open: BTreeMap<(StepIndex, Direction), (Timestamp, u32)>,
    /// The last attempt at a step's compensation that has ended.
    compensated: BTreeMap<StepIndex, u32>,
}

impl Default for Tracker {
    fn default() -> Self {
        Tracker::from(1)
    }
}

/// How an attempt ended.
enum End<'e> {
    Well,
    Badly(&'e Failure),
}

impl Tracker {
    /// A tracker that knows nothing of what came before this event.
    pub(super) fn from(next: u64) -> Tracker {
        Tracker { next, open: BTreeMap::new(), compensated: BTreeMap::new() }
    }

    /// The sequence of the event that it expects.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Takes the next event and returns the spans that end with it. One that was taken before is passed over.
    pub(super) fn take(&mut self, snapshot: &Snapshot, sequence: u64, at: Timestamp, event: &Event) -> Vec<Span> {
        if sequence < self.next {
            return Vec::new();
        }
        self.next = sequence + 1;
        use Direction::{Action, Compensation, Probe};
        let ended = match event {
            Event::ActionStarted { step, attempt, .. } => return self.begin(*step, Action, at, *attempt),
            Event::ProbeStarted { step, attempt } => return self.begin(*step, Probe, at, *attempt),
            Event::CompensationQueued { step, .. } => return self.begin_compensation(*step, at),
            Event::ActionDone { step, by_probe: false, .. } => vec![(*step, Action, End::Well)],
            Event::ActionDone { step, by_probe: true, .. } => vec![(*step, Probe, End::Well)],
            Event::ActionFailed { step, failure, .. } => vec![(*step, Action, End::Badly(failure))],
            Event::ProbeFailed { step, failure, .. } => vec![(*step, Probe, End::Badly(failure))],
            Event::ActionRefused { step, failure } | Event::ActionUnknown { step, failure, .. } => {
                vec![(*step, Action, End::Badly(failure)), (*step, Probe, End::Well)]
            }
            Event::CompensationFailed { step, failure, .. } => vec![(*step, Compensation, End::Badly(failure))],
            Event::CompensationDone { step } => vec![(*step, Compensation, End::Well)],
            Event::DeadLettered { step, direction, failure, .. } => vec![(*step, *direction, End::Badly(failure))],
            Event::Completed | Event::Compensated => return vec![whole(snapshot, at)],
            Event::Started { .. }
            | Event::WaitStarted { .. }
            | Event::WaitCompleted { .. }
            | Event::WaitFailed { .. }
            | Event::SleepStarted { .. }
            | Event::SleepEnded { .. }
            | Event::CompensationEntered { .. }
            | Event::CompensationSent { .. }
            | Event::DeadLetterSettled { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. } => Vec::new(),
        };
        if let Event::CompensationFailed { step, attempt, .. } = event
            && let Some((_, open)) = self.open.get_mut(&(*step, Compensation))
        {
            // Attempts whose answers were lost have no event, and their numbers are left out.
            *open = (*open).max(*attempt);
        }
        let mut spans: Vec<Span> = ended
            .into_iter()
            .filter_map(|(step, direction, end)| self.end(snapshot, step, direction, at, end))
            .collect();
        if let Event::CompensationFailed { step, retry_at, .. } = event {
            spans.extend(self.begin_compensation(*step, *retry_at));
        }
        spans
    }

    fn begin(&mut self, step: StepIndex, direction: Direction, at: Timestamp, attempt: u32) -> Vec<Span> {
        self.open.insert((step, direction), (at, attempt));
        Vec::new()
    }

    /// A compensation begins when its message can be received: its wait in the queue is part of it.
    fn begin_compensation(&mut self, step: StepIndex, at: Timestamp) -> Vec<Span> {
        let attempt = self.compensated.get(&step).copied().unwrap_or_default() + 1;
        self.begin(step, Direction::Compensation, at, attempt)
    }

    fn end(
        &mut self,
        snapshot: &Snapshot,
        step: StepIndex,
        direction: Direction,
        at: Timestamp,
        end: End<'_>,
    ) -> Option<Span> {
        let (began, attempt) = self.open.remove(&(step, direction))?;
        if direction == Direction::Compensation {
            self.compensated.insert(step, attempt);
        }
        let written = snapshot.definition.steps.get(step)?;
        let error = match end {
            End::Well => None,
            End::Badly(failure) => Some(failure.message.clone()),
        };
        let verb = match direction {
            Direction::Action => "perform",
            Direction::Compensation => "compensate",
            Direction::Probe => "probe",
        };
        let mut attributes = identity(snapshot);
        attributes.push(("amends.step", written.name.clone()));
        attributes.push(("amends.direction", direction.as_str().to_owned()));
        attributes.push(("amends.attempt", attempt.to_string()));
        let called = match direction {
            Direction::Action => written.call().map(|call| &call.action),
            Direction::Probe => written.call().and_then(|call| call.probe.as_ref()).map(|probe| &probe.call),
            Direction::Compensation => written.compensation().map(|compensation| &compensation.call),
        };
        attributes.extend(called.map(|call| ("amends.participant", call.participant.clone())));
        Some(Span {
            trace_id: trace::trace_id(&snapshot.saga),
            id: trace::span_id(snapshot.id, step, direction, attempt),
            parent_id: Some(trace::saga_span_id(snapshot.id)),
            name: format!("{verb} {}", written.name),
            is_call: true,
            began: began.min(at),
            ended: at,
            attributes,
            error,
        })
    }
}

/// Whether the caller wants the saga's trace recorded. One that was started outside any trace is.
pub(super) fn is_sampled(saga: &Saga) -> bool {
    let flags = saga.traceparent.as_deref().and_then(trace::parse).map(|(_, _, flags)| flags);
    flags.is_none_or(|flags| flags & 1 == 1)
}

fn whole(snapshot: &Snapshot, ended: Timestamp) -> Span {
    let error = match &snapshot.saga.phase {
        Phase::Compensated { reason, .. } | Phase::Compensating { reason } => Some(reason.clone()),
        Phase::Forward | Phase::Completed { .. } => None,
    };
    let mut attributes = identity(snapshot);
    attributes.push(("amends.status", snapshot.saga.status().as_str().to_owned()));
    Span {
        trace_id: trace::trace_id(&snapshot.saga),
        id: trace::saga_span_id(snapshot.id),
        parent_id: trace::parent_span_id(&snapshot.saga),
        name: format!("saga {}", snapshot.birth.definition),
        is_call: false,
        began: snapshot.saga.created_at,
        ended,
        attributes,
        error,
    }
}

fn identity(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    vec![
        ("amends.saga", snapshot.id.to_string()),
        ("amends.definition", snapshot.birth.definition.clone()),
        ("amends.key", snapshot.saga.key.clone()),
    ]
}
