//! What happens at the points, and how often each was met.

use crate::{BadFailpoints, Bearing, Point, VARIABLE};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is to happen at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The process ends after so long, in which everything else goes on: what must not be done yet shows.
    Abort(Duration),
    Delay(Duration),
    Error,
}

/// What is to happen at which point, and at which meeting, counted from 1; at every one if that is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Armed {
    pub(crate) point: Point,
    pub(crate) action: Action,
    pub(crate) meeting: Option<u64>,
}

static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();
static MEETINGS: [AtomicU64; Point::ALL.len()] = [const { AtomicU64::new(0) }; Point::ALL.len()];

/// Arms the points that the environment names. Once in a process; until then no point does anything.
///
/// # Errors
/// Says what is wrong with the variable, with the nearest name where a point's is misspelt.
pub fn arm() -> Result<(), BadFailpoints> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let armed = parse(&text.to_string_lossy()).map_err(BadFailpoints)?;
    // A second server in one process has the failpoints of the first.
    ARMED.get_or_init(|| armed);
    Ok(())
}

/// Meets a point in a thread that may block. Returns whether it is to fail.
pub fn meet(point: Point) -> bool {
    let Some(action) = action(point) else { return false };
    if let Some(time) = action.takes() {
        std::thread::sleep(time);
    }
    action.conclude()
}

/// Meets a point in a task. Returns whether it is to fail.
pub async fn meet_async(point: Point) -> bool {
    let Some(action) = action(point) else { return false };
    if let Some(time) = action.takes() {
        tokio::time::sleep(time).await;
    }
    action.conclude()
}

impl Action {
    fn takes(self) -> Option<Duration> {
        match self {
            Action::Abort(time) | Action::Delay(time) => Some(time).filter(|time| !time.is_zero()),
            Action::Error => None,
        }
    }

    /// Ends the process, or says whether the point is to fail.
    fn conclude(self) -> bool {
        match self {
            Action::Abort(_) => std::process::abort(),
            Action::Delay(_) => false,
            Action::Error => true,
        }
    }
}

/// What is to happen at this meeting, which it counts and, if anything is to happen, tells.
fn action(point: Point) -> Option<Action> {
    let armed = ARMED.get()?;
    let meeting = MEETINGS[point as usize].fetch_add(1, Ordering::Relaxed) + 1;
    let found = armed.iter().find(|armed| armed.point == point && armed.meeting.is_none_or(|nth| nth == meeting))?;
    // Standard error is not buffered, so this is written before anything ends.
    eprintln!("failpoint {}: {:?} at meeting {meeting}", point.name(), found.action);
    Some(found.action)
}

pub(crate) fn parse(text: &str) -> Result<Vec<Armed>, String> {
    let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(parse_one).collect()
}

fn parse_one(entry: &str) -> Result<Armed, String> {
    let (name, what) = entry.split_once('=').ok_or_else(|| format!("`{entry}` does not say what is to happen"))?;
    let point = point(name.trim())?;
    let (action, meeting) = match what.split_once('@') {
        Some((action, nth)) => (action, Some(number(nth).filter(|nth| *nth > 0).ok_or_else(|| wrong(entry))?)),
        None => (what, None),
    };
    let action = match action.trim() {
        "abort" => Action::Abort(Duration::ZERO),
        "error" => Action::Error,
        other => {
            let (kind, time) = other.strip_suffix(')').and_then(|call| call.split_once('(')).unwrap_or_default();
            let time = number(time).map(Duration::from_millis).ok_or_else(|| wrong(entry))?;
            match kind {
                "abort" => Action::Abort(time),
                "delay" => Action::Delay(time),
                _ => return Err(wrong(entry)),
            }
        }
    };
    let bears = match action {
        Action::Abort(Duration::ZERO) => true,
        Action::Abort(_) | Action::Delay(_) => point.bearing() != Bearing::Abort,
        Action::Error => point.bearing() == Bearing::Error,
    };
    if bears {
        Ok(Armed { point, action, meeting })
    } else {
        Err(format!("`{entry}`: this point takes no such action"))
    }
}

fn wrong(entry: &str) -> String {
    format!(
        "`{entry}` is not of the form POINT=abort, POINT=abort(MS), POINT=delay(MS) or POINT=error, each with or without @N"
    )
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn point(name: &str) -> Result<Point, String> {
    Point::ALL.iter().find(|point| point.name() == name).copied().ok_or_else(|| {
        let likeness = |point: &&Point| (strsim::jaro_winkler(name, point.name()) * 1_000.0) as u64;
        let nearest = Point::ALL.iter().max_by_key(likeness).expect("there are points");
        format!("there is no failpoint `{name}`; did you mean `{}`?", nearest.name())
    })
}

#[cfg(test)]
mod tests;
