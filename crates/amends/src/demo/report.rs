//! What is told at the end: for programs as one JSON document, for people as `text.rs` lays it out.

mod text;

#[cfg(test)]
mod tests;

use super::Faults;
use super::follow::{self, Ended, Latency};
use super::progress::time;
use super::reconcile::{self, Check, Evidence, Finding};
use super::services::Fired;
use super::setting::{Setting, USUAL};
use amends_client::{Claim, DeadLetter, Saga, SagaStatus, Step, StepStatus};
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
    /// From accepted to finished.
    pub(super) latency: Option<Latency>,
    /// Which faults struck.
    pub(super) fired: Fired,
}

/// Where everything was, and how this program was called.
pub(super) struct Place {
    program: String,
    server: String,
    services: BTreeMap<&'static str, String>,
}

impl Place {
    /// The place where `setting` is.
    pub(super) fn of(setting: &Setting) -> Place {
        let address = |service: Service| setting.services.address(service).to_owned();
        Place {
            program: program(),
            server: setting.server.clone(),
            services: Service::ALL.map(|service| (service.name(), address(service))).into(),
        }
    }
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// This program, as it was called.
    #[serde(skip)]
    pub(super) program: String,
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
    /// What went wrong last.
    pub(super) error: String,
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
    /// What happened to it, in a sentence or two.
    pub(super) story: Vec<String>,
    /// The commands to look at it.
    pub(super) commands: Vec<String>,
}

impl Report {
    /// Holds the evidence against itself and writes down what came of it.
    pub(super) fn new(place: Place, evidence: &Evidence, measured: Measured) -> Report {
        let reconciliation = reconcile::reconcile(evidence);
        let checked = |check: Check| Checked {
            check,
            what: check.counted(),
            found: reconciliation.found(check),
            looked_at: reconciliation.looked_at.get(&check).copied().unwrap_or(0),
            things: check.things(),
        };
        let Place { program, server, services } = place;
        Report {
            examples: examples(evidence, &Shell { program: &program, server: &server }),
            program,
            server,
            services,
            seed: measured.seed,
            faults: measured.faults,
            outcome: Outcome::of(evidence, &measured),
            faults_fired: measured.fired,
            checks: Check::ALL.map(checked).into(),
            stuck: parked(evidence),
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
        let of = |status| evidence.sagas.iter().filter(|saga| saga.status == status).count();
        Outcome {
            orders: evidence.checkouts.len(),
            double_clicks: evidence.checkouts.iter().filter(|checkout| checkout.clicks > 1).count(),
            unanswered_clicks: evidence.checkouts.iter().map(|checkout| checkout.unanswered).sum(),
            sagas: evidence.sagas.len(),
            completed: of(SagaStatus::Completed),
            compensated: of(SagaStatus::Compensated),
            stuck: of(SagaStatus::Stuck),
            latency: measured.latency,
            duration_ms: u64::try_from(measured.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn parked(evidence: &Evidence) -> Vec<Parked> {
    let letters = |saga: &Saga| -> Vec<Letter> {
        let letters = evidence.letters.iter().filter(|letter| letter.saga == saga.id);
        let letters = letters
            .map(|DeadLetter { id, step, claim, error, .. }| (id.clone(), step.clone(), *claim, error.clone()))
            .map(|(id, step, claim, error)| Letter { id, step, claim, error });
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
fn examples(evidence: &Evidence, shell: &Shell<'_>) -> Vec<Example> {
    let mut examples = Vec::new();
    for status in [SagaStatus::Completed, SagaStatus::Compensated, SagaStatus::Stuck] {
        let sagas = evidence.sagas.iter().filter(|saga| saga.status == status);
        let eventful = sagas.max_by_key(|saga| (of_status(saga, StepStatus::Compensated).count(), retries(saga)));
        examples.extend(eventful.map(|saga| Example {
            saga: saga.id.clone(),
            order: saga.key.clone(),
            status,
            story: story(saga),
            commands: commands(saga, &evidence.letters, shell),
        }));
    }
    examples
}

fn story(saga: &Saga) -> Vec<String> {
    let took = match follow::ended(saga) {
        Ok(Some(Ended::Completed { took_ms } | Ended::Compensated { took_ms })) => time(took_ms),
        Ok(None) | Err(_) => "an unknown time".to_owned(),
    };
    match saga.status {
        SagaStatus::Completed => vec![completed_story(saga, &took)],
        SagaStatus::Compensated => {
            let undone: Vec<&str> =
                of_status(saga, StepStatus::Compensated).rev().map(|step| step.name.as_str()).collect();
            let undone = match undone.as_slice() {
                [] => format!("Nothing had to be undone, and {took} after the start all was over."),
                [one] => format!("So {one} was undone, and {took} after the start all was over."),
                [first @ .., last] => {
                    format!("So {} and {last} were undone, and {took} after the start all was over.", first.join(", "))
                }
            };
            vec![reason(saga), undone]
        }
        SagaStatus::Stuck | SagaStatus::Running | SagaStatus::Compensating => {
            let done = counted(of_status(saga, StepStatus::Done).count(), "other step has", "other steps have");
            vec![reason(saga), format!("{done} taken effect; what is right now is for a person to say.")]
        }
    }
}

fn completed_story(saga: &Saga, took: &str) -> String {
    let steps = saga.steps.len();
    match saga.steps.iter().filter(|step| step.attempts > 1).max_by_key(|step| step.attempts) {
        None => format!("All {steps} steps took effect in {took}, each at its first attempt."),
        Some(step) => format!(
            "All {steps} steps took effect in {took}, with {}: {} needed {} attempts.",
            counted(retries(saga), "call made again", "calls made again"),
            step.name,
            step.attempts
        ),
    }
}

/// Why a saga did not complete, as a sentence that begins and ends like one.
fn reason(saga: &Saga) -> String {
    let reason = saga.reason.as_deref().unwrap_or("it does not say why").trim_end_matches('.');
    let mut letters = reason.chars();
    letters.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// A number of things, in words that fit the number.
fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn of_status(saga: &Saga, status: StepStatus) -> impl DoubleEndedIterator<Item = &Step> {
    saga.steps.iter().filter(move |step| step.status == status)
}

/// How many calls were made again.
fn retries(saga: &Saga) -> usize {
    let again = |calls: u32| calls.saturating_sub(1) as usize;
    saga.steps.iter().map(|step| again(step.attempts) + again(step.compensation_attempts)).sum()
}

fn commands(saga: &Saga, letters: &[DeadLetter], shell: &Shell<'_>) -> Vec<String> {
    let mut commands = vec![shell.command(&format!("get {}", saga.id))];
    match saga.status {
        SagaStatus::Completed => {}
        SagaStatus::Compensated | SagaStatus::Running | SagaStatus::Compensating => {
            commands.push(shell.command(&format!("watch {}", saga.id)));
        }
        SagaStatus::Stuck => {
            let letters = letters.iter().filter(|letter| letter.saga == saga.id);
            commands.extend(letters.map(|letter| shell.command(&format!("dead-letters show {}", letter.id))));
        }
    }
    commands
}

/// What every command has in common.
struct Shell<'a> {
    program: &'a str,
    server: &'a str,
}

impl Shell<'_> {
    /// A command that can be copied and run. It names the server where that is not at its usual address.
    fn command(&self, words: &str) -> String {
        let Shell { program, server } = self;
        if *server == format!("http://{USUAL}") {
            return format!("{program} {words}");
        }
        format!("{program} {words} --server {server}")
    }
}

/// This program as it was called: a bare name is found again where it was found.
fn program() -> String {
    std::env::args().next().filter(|name| !name.contains(char::is_whitespace)).unwrap_or_else(|| "amends".into())
}
