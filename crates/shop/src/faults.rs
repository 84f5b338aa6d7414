//! Failing on purpose: which requests fail, how, and that they did.
//!
//! A refusal is decided inside the idempotency layer, as a service decides it itself: it is stored, and a repeat gets
//! the same one. Everything else strikes outside of it, where networks and processes fail; only a crash before
//! the commit has to sit between the handler and the layer. No fault waits while a transaction is open.
//!
//! Chance is drawn from one seeded sequence, in the order in which requests come: with one request at a time, the
//! same seed makes the same faults.

mod layers;
mod presets;
#[cfg(test)]
mod tests;

pub(crate) use layers::{around_the_transaction, inside_the_transaction, replace, show};
pub use presets::preset;

use crate::Service;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fault and when it strikes. As JSON: `{"fault": "decline", "probability": 0.1, "direction": "action"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub fault: FaultKind,
    /// The chance from 0 to 1 that it strikes a request that it is meant for.
    #[serde(default = "always")]
    pub probability: f64,
    /// Only requests of this direction; where it is absent, actions and compensations, but not reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Only requests to this path, in which `*` stands for any one segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only requests of this order: it is looked for in the path, the query and the idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Only the n-th of the requests that it is meant for, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// At most so many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultKind {
    /// It is refused with 402.
    Decline,
    /// It is refused with 409, to stay.
    OutOfStock,
    /// It waits before anything else happens.
    Latency {
        /// At least so long, in milliseconds.
        min_ms: u64,
        /// At most so long, in milliseconds.
        max_ms: u64,
    },
    /// It is answered with this status from 500 to 599 and has no effect.
    Error {
        /// The status.
        status: u16,
    },
    /// It is answered 403 and has no effect, as where a credential was changed and the caller was not told.
    Forbidden,
    /// It is answered 429 and has no effect.
    RateLimit {
        /// The `Retry-After` in seconds.
        retry_after_s: u32,
    },
    /// It takes effect, and its answer is held back until the caller has lost patience. A repeat's answer can be, too.
    TimeoutAfterEffect {
        /// How long the answer is held back, in milliseconds.
        hold_ms: u64,
    },
    /// It takes effect, and the connection is closed in place of an answer. A repeat's can be, too.
    LostResponse,
    /// The process aborts.
    Crash {
        /// When.
        at: CrashPoint,
    },
}

/// When a process aborts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPoint {
    /// The request has arrived and nothing has been done.
    BeforeEffect,
    /// The effect is written and its transaction is open.
    BeforeCommit,
    /// The transaction is committed and nobody has been answered.
    AfterCommit,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It does something.
    Action,
    /// It undoes an action.
    Compensation,
    /// It only asks.
    Probe,
}

/// The faults of a service, and what they did.
pub struct Faults {
    state: Mutex<State>,
}

/// Where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// Before the idempotency layer.
    Arrival,
    /// In the transaction, before the handler.
    Handler,
    /// In the transaction, after the handler has done its work.
    Commit,
    /// After the idempotency layer has let an answer of success go.
    Departure,
}

/// As much of a request as faults are aimed by.
#[derive(Clone, Debug)]
struct Target {
    direction: Direction,
    path: String,
    query: String,
    key: String,
}

struct State {
    random: fastrand::Rng,
    armed: Vec<Armed>,
    firings: VecDeque<Firing>,
}

/// A fault with its counts, as `GET /faults` shows it.
#[derive(Clone, Serialize)]
struct Armed {
    #[serde(flatten)]
    fault: Fault,
    /// How many requests it was meant for.
    matched: u64,
    /// How many it struck.
    fired: u64,
}

/// A request that was struck.
#[derive(Clone, Serialize)]
struct Firing {
    fault: FaultKind,
    direction: Direction,
    path: String,
    key: String,
}

/// How many firings are remembered one by one.
const FIRINGS: usize = 1000;

/// Reads what `--faults` says: a preset's name, a JSON list, or the path of a file that holds one.
///
/// # Errors
/// An error that says what cannot be read or makes no sense.
pub fn read(text: &str, service: Service) -> anyhow::Result<Vec<Fault>> {
    if let Some(faults) = preset(text, service) {
        return Ok(faults);
    }
    let json = if text.trim_start().starts_with('[') {
        text.to_owned()
    } else {
        std::fs::read_to_string(text).with_context(|| format!("the faults in {text} cannot be read"))?
    };
    let faults: Vec<Fault> = serde_json::from_str(&json).context("the faults are not a JSON list of faults")?;
    faults.iter().try_for_each(Fault::check)?;
    Ok(faults)
}

impl Faults {
    /// Arms `faults`. The same `seed` makes the same choices.
    #[must_use]
    pub fn new(faults: Vec<Fault>, seed: u64) -> Faults {
        let state = State { random: fastrand::Rng::with_seed(seed), armed: arm(faults), firings: VecDeque::new() };
        Faults { state: Mutex::new(state) }
    }

    /// Puts `faults` in place of those there are, with fresh counts.
    fn replace(&self, faults: Vec<Fault>) {
        let mut state = self.state();
        state.armed = arm(faults);
        state.firings.clear();
    }

    /// The first fault from place `from` on that strikes `target` at `point`, and the place after it. The faults that
    /// are asked for their place each count the request once.
    fn strike(&self, point: Point, target: &Target, from: usize) -> Option<(FaultKind, usize)> {
        let mut state = self.state();
        let State { random, armed, firings } = &mut *state;
        let place = (from..armed.len()).find(|&place| armed[place].strikes(point, target, random))?;
        let fault = armed[place].fault.fault;
        firings.push_back(Firing {
            fault,
            direction: target.direction,
            path: target.path.clone(),
            key: target.key.clone(),
        });
        if firings.len() > FIRINGS {
            firings.pop_front();
        }
        Some((fault, place + 1))
    }

    /// A length of time from `min_ms` to `max_ms`.
    fn between(&self, min_ms: u64, max_ms: u64) -> u64 {
        self.state().random.u64(min_ms..=max_ms)
    }

    /// No code that holds the lock panics, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// A fault that strikes with this probability whatever changes something.
    #[must_use]
    pub fn new(fault: FaultKind, probability: f64) -> Fault {
        Fault { fault, probability, direction: None, path: None, order_id: None, nth: None, limit: None }
    }

    /// Refuses what makes no sense, so that no test waits for a fault that cannot come.
    fn check(&self) -> anyhow::Result<()> {
        if !(0.0..=1.0).contains(&self.probability) {
            bail!("a probability is a number from 0 to 1, not {}", self.probability);
        }
        match self.fault {
            FaultKind::Latency { min_ms, max_ms } if min_ms > max_ms => {
                bail!("a latency from {min_ms} to {max_ms} ms has no length; put the smaller number first")
            }
            FaultKind::Error { status } if !(500..=599).contains(&status) => {
                bail!("an error's status is from 500 to 599, not {status}")
            }
            FaultKind::Latency { .. }
            | FaultKind::Error { .. }
            | FaultKind::Decline
            | FaultKind::OutOfStock
            | FaultKind::Forbidden
            | FaultKind::RateLimit { .. }
            | FaultKind::TimeoutAfterEffect { .. }
            | FaultKind::LostResponse
            | FaultKind::Crash { .. } => Ok(()),
        }
    }

    fn is_meant_for(&self, target: &Target) -> bool {
        let direction = match self.direction {
            Some(direction) => direction == target.direction,
            None => target.direction != Direction::Probe,
        };
        let path = self.path.as_deref().is_none_or(|pattern| matches_path(pattern, &target.path));
        let order = self.order_id.as_deref().is_none_or(|order_id| target.names(order_id));
        direction && path && order
    }
}

impl FaultKind {
    fn point(self) -> Point {
        match self {
            FaultKind::Latency { .. }
            | FaultKind::Error { .. }
            | FaultKind::Forbidden
            | FaultKind::RateLimit { .. }
            | FaultKind::Crash { at: CrashPoint::BeforeEffect } => Point::Arrival,
            FaultKind::Decline | FaultKind::OutOfStock => Point::Handler,
            FaultKind::Crash { at: CrashPoint::BeforeCommit } => Point::Commit,
            FaultKind::TimeoutAfterEffect { .. }
            | FaultKind::LostResponse
            | FaultKind::Crash { at: CrashPoint::AfterCommit } => Point::Departure,
        }
    }
}

impl Armed {
    /// Counts the request, and says whether the fault strikes it.
    fn strikes(&mut self, point: Point, target: &Target, random: &mut fastrand::Rng) -> bool {
        if self.fault.fault.point() != point || !self.fault.is_meant_for(target) {
            return false;
        }
        self.matched += 1;
        let turn = self.fault.nth.is_none_or(|nth| nth == self.matched);
        let left = self.fault.limit.is_none_or(|limit| self.fired < limit);
        let strikes = turn && left && random.f64() < self.fault.probability;
        self.fired += u64::from(strikes);
        strikes
    }
}

impl Target {
    fn names(&self, order_id: &str) -> bool {
        [&self.path, &self.query, &self.key].into_iter().any(|place| place.contains(order_id))
    }
}

fn always() -> f64 {
    1.0
}

fn arm(faults: Vec<Fault>) -> Vec<Armed> {
    faults.into_iter().map(|fault| Armed { fault, matched: 0, fired: 0 }).collect()
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(segment)) if wanted == "*" || wanted == segment => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}
