//! The shop's orders as the tests of their faults see them: the steps that there are, an engine that carries them
//! out, and what must be the case once one has come to rest.

#![cfg(test)]

use super::shop::{Effect, Ledger, Shop};
use amends_core::definition::Definition;
use amends_core::idempotency::action_key;
use amends_core::lint;
use amends_core::machine::{Claim, Direction, Event, Operator, Settlement, Status, StepState};
use amends_engine::{
    BreakerSettings, Engine, EngineOptions, Order, Participant, Settings, Snapshot, StartRequest, Started,
};
use amends_store::{DeadLetter, DeadLetterQuery, SqliteOptions, SqliteStore, Statistics, Views};
use serde::Deserialize;
use serde_json::{Value, json};
use shop::Service;
use shop::faults::Fault;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// A step of the shop's definition.
pub struct Step {
    pub name: &'static str,
    pub service: Service,
    /// Where its action is sent; `{}` stands for the order.
    pub action: &'static str,
    pub kind: Kind,
}

/// How a step is undone, and what becomes of it if nobody can say whether it happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is undone there, as if it had happened.
    Undoable(&'static str),
    /// The participant is asked first.
    Asked(&'static str),
    /// It cannot be undone: the saga only goes forward.
    Forward,
}

pub const STEPS: [Step; 8] = [
    step("create-order", Service::Order, "/orders", Kind::Undoable("/orders/{}/cancel")),
    step("reserve-inventory", Service::Inventory, "/reservations", Kind::Undoable("/reservations/{}/release")),
    step("charge-payment", Service::Payment, "/charges", Kind::Asked("/refunds")),
    step("create-shipment", Service::Shipping, "/shipments", Kind::Undoable("/shipments/{}/cancel")),
    step("confirm-order", Service::Order, "/orders/{}/confirm", Kind::Forward),
    step("commit-reservation", Service::Inventory, "/reservations/{}/commit", Kind::Forward),
    step("notify-customer", Service::Notification, "/notifications", Kind::Forward),
    step("record-analytics", Service::Analytics, "/events", Kind::Forward),
];
pub const RESERVE: usize = 1;
pub const CHARGE: usize = 2;
/// The last step that may be refused; all that can be undone are done when it is.
pub const SHIP: usize = 3;
/// The steps after this one need nothing but it, and run together.
pub const CONFIRM: usize = 4;
pub const COMMIT: usize = 5;

/// How long a call may take, in seconds.
pub const TIMEOUT_S: u64 = 3;

/// What an order buys, of a product that only this order knows.
const QUANTITY: i64 = 3;
const IN_STOCK: i64 = 10;

/// One order, what is to go wrong with it, and what must become of it.
pub struct Case {
    pub label: String,
    pub order: String,
    /// The faults, each aimed at this order alone.
    pub faults: Vec<(Service, Fault)>,
    /// Which requests the faults must have struck, and how often each.
    pub struck: BTreeMap<Call, u64>,
    pub end: End,
    /// What must be left of each step.
    pub effects: [Effect; 8],
    /// What must become of a stuck saga once the faults are gone and a person lets it try again.
    pub mended: Option<(Status, [Effect; 8])>,
}

/// A request that a fault strikes: at which service, which way, and to which path.
pub type Call = (&'static str, String, String);

/// Where a saga must come to rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Completed,
    Compensated,
    Stuck { step: usize, direction: Direction, claim: Claim },
}

/// An engine over a file, and the shop that it works with.
pub struct World {
    pub shop: Shop,
    pub engine: Engine,
    store: Arc<SqliteStore>,
    definition: Arc<Definition>,
}

/// What the services say, once all is quiet.
pub struct Evidence {
    ledger: Ledger,
    stock: BTreeMap<String, [i64; 3]>,
    firings: Vec<(&'static str, Firing)>,
}

#[derive(Deserialize)]
struct Firing {
    direction: String,
    path: String,
    key: String,
}

const fn step(name: &'static str, service: Service, action: &'static str, kind: Kind) -> Step {
    Step { name, service, action, kind }
}

impl Step {
    pub fn compensation(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Undoable(path) | Kind::Asked(path) => Some(path),
            Kind::Forward => None,
        }
    }
}

/// The shop's definition, with this retry policy for every call, and more time for each: what is late here is late on
/// purpose, and not because the machine has much to do.
pub fn definition(retry: &str) -> String {
    let mut text = shop::definition().to_owned();
    for (written, instead, times) in [
        ("\nretry: { attempts: 5, initial: 100ms, factor: 2, max: 2s }\n", format!("\nretry: {retry}\n"), 1),
        ("timeout: 1s", format!("timeout: {TIMEOUT_S}s"), 13),
        ("    compensation: { ", format!("    compensation: {{ retry: {retry}, "), 4),
        ("    probe:\n", format!("    probe:\n      retry: {retry}\n"), 1),
        ("    kind: retriable\n", format!("    kind: retriable\n    retry: {retry}\n"), 4),
    ] {
        assert_eq!(text.matches(written).count(), times, "the shop's definition is another now: `{written}`");
        text = text.replace(written, &instead);
    }
    text
}

impl World {
    /// An engine with a new store in `folder`, and the shop's definition with this retry policy.
    pub async fn start(folder: &Path, shop: Shop, retry: &str) -> World {
        let store = Arc::new(SqliteStore::open(SqliteOptions::new(folder.join("amends.db"))).unwrap());
        // Short, so that many compensations that fail on purpose do not hold up the others for long.
        let breaker = BreakerSettings { open_ms: 100, ..BreakerSettings::default() };
        let participants = Service::ALL.map(|service| {
            let url = shop.url(service).parse().unwrap();
            // Less than the services could take at once: a call that waits here is not timed yet.
            (service.name().to_owned(), Participant { in_flight: 24, breaker, ..Participant::at(url) })
        });
        let settings = Settings { participants: participants.into(), ..Settings::default() };
        let options = EngineOptions { store: store.clone(), views: store.clone(), settings };
        let engine = Engine::start(options).await.unwrap();
        let source = definition(retry);
        let compiled = lint::compile(&source).unwrap();
        let version = compiled.version.clone();
        assert!(engine.put_definition(&source, compiled, "a test").await.unwrap());
        let definition = engine.definition(&version).await.unwrap().unwrap();
        World { shop, engine, store, definition }
    }

    /// Makes the product that this order buys.
    pub async fn fill_the_shelf(&self, case: &Case) {
        let path = format!("/stock/{}", case.order);
        self.shop.put(Service::Inventory, &path, &json!({ "free": IN_STOCK })).await;
    }

    /// Starts the saga of an order, or finds it, and waits until it is finished or stuck.
    pub async fn fulfil(&self, case: &Case) -> Started {
        let lines = json!([{ "sku": case.order, "quantity": QUANTITY, "price_cents": 700 }]);
        let input = json!({
            "order_id": case.order, "customer_id": "somebody", "lines": lines, "total_cents": 700 * QUANTITY
        });
        let (definition, input) = (shop::DEFINITION.to_owned(), Arc::new(input));
        let request = StartRequest { definition, input, traceparent: None, wait_ms: Some(120_000) };
        self.engine.start_saga(request).await.unwrap()
    }

    /// Waits until the saga is in a state that `is_so` takes; it is read from the store.
    pub async fn wait_until(&self, id: Uuid, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let waiting = async {
            let mut looks = looks();
            loop {
                looks.tick().await;
                let record = self.store.saga(id).await.unwrap().unwrap();
                let snapshot = Snapshot::read(&record, self.definition.clone()).unwrap().0;
                if is_so(&snapshot) {
                    return snapshot;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the saga gets there in time")
    }

    /// What happened to the saga, for people.
    async fn history(&self, id: Uuid) -> Vec<String> {
        let record = self.store.saga(id).await.unwrap().unwrap();
        let (saga, history) = Snapshot::read(&record, self.definition.clone()).unwrap();
        let lines = history.into_iter().map(|(at, event)| {
            let after_ms = at.since(saga.saga.created_at);
            let step = event.step().map_or("", |step| STEPS[step].name);
            let failure = match &event {
                Event::ActionFailed { failure, .. }
                | Event::ActionRefused { failure, .. }
                | Event::ActionUnknown { failure, .. }
                | Event::ProbeFailed { failure, .. }
                | Event::CompensationFailed { failure, .. }
                | Event::DeadLettered { failure, .. } => failure.message.as_str(),
                _ => "",
            };
            format!("{after_ms:>6} ms  {} {step} {failure}", event.name())
        });
        lines.collect()
    }

    /// Waits until nothing about the saga moves any more: a stuck one may have other steps that still do.
    pub async fn at_rest(&self, id: Uuid) -> Snapshot {
        self.wait_until(id, |snapshot| {
            let status = snapshot.saga.status();
            let is_settled = matches!(status, Status::Completed | Status::Compensated | Status::Stuck);
            is_settled && snapshot.saga.steps.iter().all(|step| is_at_rest(&step.state))
        })
        .await
    }

    /// The saga with this key, if there is one.
    pub async fn find(&self, key: &str) -> Option<Uuid> {
        let query = amends_store::SagaQuery { key: Some(key.to_owned()), limit: 1, ..Default::default() };
        self.store.sagas(query).await.unwrap().first().map(|saga| saga.id)
    }

    pub async fn statistics(&self) -> Statistics {
        self.store.statistics().await.unwrap()
    }

    /// Lets a stuck saga try again, in a person's name.
    pub async fn retry(&self, saga: &Snapshot) {
        for (_, death) in saga.saga.dead() {
            let operator = Operator { actor: "somebody".into(), reason: "the fault is mended".into() };
            let order = Order::Settle { letter: death.letter, settlement: Settlement::Retry, operator, seen: None };
            self.engine.order(saga.id, order).await.unwrap();
        }
    }

    /// What the services say now.
    pub async fn evidence(&self) -> Evidence {
        let mut firings = Vec::new();
        for service in Service::ALL {
            let mut said = self.shop.get(service, "/faults").await;
            let list: Vec<Firing> = serde_json::from_value(said["firings"].take()).unwrap();
            firings.extend(list.into_iter().map(|firing| (service.name(), firing)));
        }
        Evidence { ledger: self.shop.ledger().await, stock: self.shop.stock().await, firings }
    }

    /// Whether the saga has come to rest where it must, with a letter for a person where it is stuck and only there.
    pub async fn check_end(&self, case: &Case, saga: &Snapshot, problems: &mut Problems) {
        let (status, dead) = match case.end {
            End::Completed => (Status::Completed, None),
            End::Compensated => (Status::Compensated, None),
            End::Stuck { step, direction, claim } => (Status::Stuck, Some((step, direction, claim))),
        };
        let found: Vec<_> = saga.saga.dead().map(|(step, death)| (step, death.direction, death.claim)).collect();
        problems.compare("the saga is", &saga.saga.status(), &status);
        problems.compare("given up are", &found, &Vec::from_iter(dead));
        let query = DeadLetterQuery { saga: Some(saga.id), limit: 10, ..DeadLetterQuery::default() };
        let letters = self.store.dead_letters(query).await.unwrap();
        let said = |letter: &DeadLetter| (letter.step.clone(), letter.direction.clone(), letter.claim.clone());
        let shown = dead.map(|(step, direction, claim)| {
            (Some(STEPS[step].name.to_owned()), direction.as_str().to_owned(), claim.as_str().to_owned())
        });
        problems.compare("people are shown", &letters.iter().map(said).collect::<Vec<_>>(), &Vec::from_iter(shown));
        if let Some((step, _, claim)) = dead {
            let net = case.effects[step].net();
            let agrees = match claim {
                Claim::Done => net == 1,
                Claim::Undone => net == 0,
                Claim::Unknown => true,
            };
            assert!(agrees, "{}: the table itself claims {claim:?} of an effect that is there {net} times", case.label);
        }
    }
}

impl Evidence {
    /// Whether the ledgers hold these effects of the order and no others, and the stock agrees with them.
    pub fn check_effects(&self, order: &str, saga: Uuid, effects: &[Effect; 8], problems: &mut Problems) {
        for (step, expected) in STEPS.iter().zip(effects) {
            let found = self.ledger.effect(&action_key(order, saga, step.name));
            problems.compare(step.name, &found, expected);
        }
        let entries = self.ledger.entries.iter().filter(|entry| entry.order_id == order).count();
        let expected: u32 = effects.iter().map(|effect| effect.done + effect.undone).sum();
        problems.compare("entries in the ledgers", &entries, &(expected as usize));
        let sold = effects[COMMIT].net();
        let reserved = effects[RESERVE].net() - sold;
        let stock = [IN_STOCK - QUANTITY * (reserved + sold), QUANTITY * reserved, QUANTITY * sold];
        problems.compare("free, reserved and sold", &self.stock.get(order), &Some(&stock));
    }

    /// Whether the faults of the order struck where they were meant to, as often as they were meant to.
    pub fn check_struck(&self, case: &Case, problems: &mut Problems) {
        let mut struck: BTreeMap<Call, u64> = BTreeMap::new();
        for (service, firing) in self.firings.iter().filter(|(_, firing)| firing.key.contains(&case.order)) {
            *struck.entry((*service, firing.direction.clone(), firing.path.clone())).or_default() += 1;
        }
        problems.compare("the faults struck", &struck, &case.struck);
    }
}

/// What is wrong with one case.
pub struct Problems {
    label: String,
    found: Vec<String>,
}

impl Problems {
    pub fn of(case: &Case) -> Problems {
        Problems { label: format!("{} ({})", case.label, case.order), found: Vec::new() }
    }

    pub fn compare<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, expected: &T) {
        if found != expected {
            self.found.push(format!("{what}: {found:?}, and not {expected:?}"));
        }
    }

    /// The problems as text, if there are any, with the saga's history.
    pub async fn told(self, world: &World, saga: &Snapshot) -> Option<String> {
        if self.found.is_empty() {
            return None;
        }
        let history = world.history(saga.id).await.join("\n        ");
        Some(format!("{}\n    {}\n        {history}", self.label, self.found.join("\n    ")))
    }
}

/// Looks at something that gives no signal.
pub fn looks() -> tokio::time::Interval {
    let mut looks = interval(Duration::from_millis(20));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

fn is_at_rest(state: &StepState) -> bool {
    match state {
        StepState::Pending
        | StepState::Done
        | StepState::Refused
        | StepState::Skipped
        | StepState::Compensated
        | StepState::Dead(_) => true,
        StepState::Reopened
        | StepState::Acting(_)
        | StepState::Sent { .. }
        | StepState::ActionDue { .. }
        | StepState::Probing(_)
        | StepState::ProbeDue { .. }
        | StepState::Waiting { .. }
        | StepState::Sleeping { .. }
        | StepState::Unknown
        | StepState::Compensating(_) => false,
    }
}

/// The faults of one service as `PUT /faults` takes them.
pub fn faults_of(service: Service, cases: &[Case]) -> Value {
    let faults = cases.iter().flat_map(|case| &case.faults);
    json!(faults.filter(|(at, _)| *at == service).map(|(_, fault)| fault).collect::<Vec<_>>())
}
