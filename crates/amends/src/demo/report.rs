//! What is told at the end: for programs as one JSON document, for people as `text.rs` lays it out.

mod text;

#[cfg(test)]
mod tests;

use super::Faults;
use super::follow::{self, Ended, Latency, Tally};
use super::reconcile::{self, Check, Evidence, Finding};
use super::services::Fired;
use super::setting::{Setting, USUAL};
use amends_client::{Claim, DeadLetter, Saga, SagaStatus, StepStatus};
use serde::Serialize;
use shop::Service;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was measured while it ran.
pub(super) struct Measured {
    /// The seed of the customers and the faults.
    pub(super) seed: u64,
    /// How much went wrong.
    pub(super) faults: Faults,
    /// From the first order until all had ended.
    pub(super) duration: Duration,
    /// How the sagas stand.
    pub(super) tally: Tally,
    /// Which faults struck.
    pub(super) fired: Fired,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The server's address.
    pub(super) server: String,
    /// The addresses of the six services.
    pub(super) services: BTreeMap<&'static str, String>,
    /// The seed of the customers and the faults.
    pub(super) seed: u64,
    /// How much went wrong.
    pub(super) faults: Faults,
    /// What became of the orders.
    pub(super) outcome: Outcome,
    /// How often which kind of fault struck, by service.
    pub(super) faults_fired: Fired,
    /// What was checked, and how often it was found wrong.
    pub(super) checks: Vec<Checked>,
    /// Everything that is wrong.
    pub(super) findings: Vec<Finding>,
    /// Every saga that waits for a person.
    pub(super) stuck: Vec<Parked>,
    /// One saga of each outcome, with the commands to look at it.
    pub(super) examples: Vec<Example>,
    /// Whether the services did what Amends says.
    pub(super) agrees: bool,
}

/// What became of the orders.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    /// Purchases made.
    pub(super) orders: usize,
    /// Those whose button was pressed twice.
    pub(super) double_clicks: usize,
    /// Clicks that no answer came to, or none that names an order.
    pub(super) unanswered_clicks: usize,
    /// Sagas that were started.
    pub(super) sagas: usize,
    /// Those that completed.
    pub(super) completed: usize,
    /// Those that were undone.
    pub(super) compensated: usize,
    /// Those that wait for a person.
    pub(super) stuck: usize,
    /// The time from accepted to finished.
    pub(super) latency: Option<Latency>,
    /// From the first order until all had ended, in milliseconds.
    pub(super) duration_ms: u64,
}

/// What was checked.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Checked {
    /// The check.
    pub(super) check: Check,
    /// What must not be, for people.
    pub(super) what: &'static str,
    /// How many of them there are.
    pub(super) found: usize,
    /// Among how many.
    pub(super) looked_at: usize,
    /// Among what.
    pub(super) things: &'static str,
}

/// A saga that waits for a person.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Parked {
    /// Its id.
    pub(super) saga: String,
    /// Its order.
    pub(super) order: String,
    /// Why it is stuck.
    pub(super) reason: Option<String>,
    /// Its open dead letters.
    pub(super) dead_letters: Vec<Letter>,
}

/// A dead letter, as far as it can be held against the ledgers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Letter {
    /// Its id.
    pub(super) id: String,
    /// The step.
    pub(super) step: Option<String>,
    /// What is claimed of its effect.
    pub(super) claim: Claim,
}

/// A saga worth a look.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Example {
    /// Its id.
    pub(super) saga: String,
    /// Its order.
    pub(super) order: String,
    /// How it stands.
    pub(super) status: SagaStatus,
    /// What happened to it, in a few words.
    pub(super) story: String,
    /// The commands to look at it.
    pub(super) commands: Vec<String>,
}

impl Report {
    /// Holds the evidence against itself and writes down what came of it.
    pub(super) fn new(setting: &Setting, evidence: &Evidence, measured: Measured) -> Report {
        let reconciliation = reconcile::reconcile(evidence);
        let checked = |check: Check| Checked {
            check,
            what: check.counted(),
            found: reconciliation.found(check),
            looked_at: reconciliation.looked_at.get(&check).copied().unwrap_or(0),
            things: check.things(),
        };
        Report {
            server: setting.server.clone(),
            services: Service::ALL.map(|service| (service.name(), setting.services.address(service).to_owned())).into(),
            seed: measured.seed,
            faults: measured.faults,
            outcome: Outcome::of(evidence, &measured),
            faults_fired: measured.fired,
            checks: Check::ALL.map(checked).into(),
            stuck: parked(evidence),
            examples: examples(evidence, &setting.server),
            agrees: reconciliation.agrees(),
            findings: reconciliation.findings,
        }
    }

    /// The report for people. `kept` says whether the server outlives it. Colours are for whoever prints it to keep
    /// or to take out.
    pub(super) fn to_text(&self, kept: bool) -> String {
        text::render(self, kept)
    }
}

impl Outcome {
    fn of(evidence: &Evidence, measured: &Measured) -> Outcome {
        let Tally { completed, compensated, stuck, latency, .. } = measured.tally;
        Outcome {
            orders: evidence.checkouts.len(),
            double_clicks: evidence.checkouts.iter().filter(|checkout| checkout.clicks > 1).count(),
            unanswered_clicks: evidence.checkouts.iter().map(|checkout| checkout.unanswered).sum(),
            sagas: evidence.sagas.len(),
            completed,
            compensated,
            stuck,
            latency,
            duration_ms: u64::try_from(measured.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn parked(evidence: &Evidence) -> Vec<Parked> {
    let letters = |saga: &Saga| -> Vec<Letter> {
        let letters = evidence.letters.iter().filter(|letter| letter.saga == saga.id);
        let letters = letters
            .map(|DeadLetter { id, step, claim, .. }| Letter { id: id.clone(), step: step.clone(), claim: *claim });
        letters.collect()
    };
    let stuck = evidence.sagas.iter().filter(|saga| saga.status == SagaStatus::Stuck);
    stuck
        .map(|saga| Parked {
            saga: saga.id.clone(),
            order: saga.key.clone(),
            reason: saga.reason.clone(),
            dead_letters: letters(saga),
        })
        .collect()
}

/// The most eventful saga of each outcome.
fn examples(evidence: &Evidence, server: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    for status in [SagaStatus::Completed, SagaStatus::Compensated, SagaStatus::Stuck] {
        let of_status = evidence.sagas.iter().filter(|saga| saga.status == status);
        let eventful = of_status.max_by_key(|saga| (count(saga, StepStatus::Compensated), retries(saga)));
        examples.extend(eventful.map(|saga| Example {
            saga: saga.id.clone(),
            order: saga.key.clone(),
            status,
            story: story(saga),
            commands: commands(saga, &evidence.letters, server),
        }));
    }
    examples
}

fn story(saga: &Saga) -> String {
    let took = match follow::ended(saga) {
        Ok(Some(Ended::Completed { took_ms } | Ended::Compensated { took_ms })) => took_ms,
        Ok(None) | Err(_) => 0,
    };
    let took = super::progress::time(took);
    let reason = saga.reason.as_deref().unwrap_or("it does not say why").trim_end_matches('.');
    match saga.status {
        SagaStatus::Completed => match saga.steps.iter().filter(|step| step.attempts > 1).max_by_key(|step| step.attempts) {
            None => format!("All {} steps at the first attempt, in {took}.", saga.steps.len()),
            Some(step) => format!(
                "All {} steps in {took}, after {} in all; {} took {} attempts.",
                saga.steps.len(),
                counted(retries(saga), "retry", "retries"),
                step.name,
                step.attempts
            ),
        },
        SagaStatus::Compensated => {
            let undone = counted(count(saga, StepStatus::Compensated), "step", "steps");
            format!("Undone in {took}, {undone} back: {reason}.")
        }
        SagaStatus::Stuck | SagaStatus::Running | SagaStatus::Compensating => format!("{reason}."),
    }
}

/// A number of things, in words that fit the number.
fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn count(saga: &Saga, status: StepStatus) -> usize {
    saga.steps.iter().filter(|step| step.status == status).count()
}

/// How many calls were made again.
fn retries(saga: &Saga) -> usize {
    let again = |calls: u32| calls.saturating_sub(1) as usize;
    saga.steps.iter().map(|step| again(step.attempts) + again(step.compensation_attempts)).sum()
}

fn commands(saga: &Saga, letters: &[DeadLetter], server: &str) -> Vec<String> {
    let command = |words: &str, id: &str| format!("{} {words} {id}{}", program(), server_flag(server));
    let mut commands = vec![command("get", &saga.id)];
    match saga.status {
        SagaStatus::Completed => {}
        SagaStatus::Compensated | SagaStatus::Running | SagaStatus::Compensating => {
            commands.push(command("watch", &saga.id));
        }
        SagaStatus::Stuck => {
            let letters = letters.iter().filter(|letter| letter.saga == saga.id);
            commands.extend(letters.map(|letter| command("dead-letters show", &letter.id)));
        }
    }
    commands
}

/// This program as it was called, so that a command can be copied: a bare name is found again where it was found.
pub(super) fn program() -> String {
    std::env::args().next().filter(|name| !name.contains(char::is_whitespace)).unwrap_or_else(|| "amends".into())
}

/// What a command has to say to reach the server: nothing where it is at its usual address.
fn server_flag(server: &str) -> String {
    if server == format!("http://{USUAL}") { String::new() } else { format!(" --server {server}") }
}
