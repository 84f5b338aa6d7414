//! Holds what Amends says against what the services did, from outside. A pure function over plain data: it trusts
//! neither side, and knows nothing of how the data was come by.

#[cfg(test)]
mod tests;

use amends_client::{Claim, DeadLetter, Saga, SagaStatus, Step, StepStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The steps that move stock, as the shop's definition calls them.
const RESERVE: &str = "reserve-inventory";
const COMMIT: &str = "commit-reservation";
/// The services whose effects have to come in pairs.
const PAYMENT: &str = "payment";
const SHIPPING: &str = "shipping";

/// Everything that was found out once all was quiet.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Every checkout, with the orders that the shop answered with.
    pub(super) checkouts: Vec<Checkout>,
    /// Every saga at the server.
    pub(super) sagas: Vec<Saga>,
    /// Every open dead letter.
    pub(super) letters: Vec<DeadLetter>,
    /// The ledgers of all services.
    pub(super) ledger: Vec<Entry>,
    /// The stock of every product.
    pub(super) stock: Vec<Stock>,
    /// Unfinished sagas that nothing will wake, as the server counts them.
    pub(super) orphans: u64,
}

/// What a customer asked for, and which orders came of it. No two checkouts have the same customer and lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkout {
    /// Who.
    pub(super) customer_id: String,
    /// What, as it was sent.
    pub(super) lines: Value,
    /// How often the button was pressed.
    pub(super) clicks: usize,
    /// The orders named in the answers.
    pub(super) orders: BTreeSet<String>,
    /// How many clicks were not answered, or by nothing that names an order.
    pub(super) unanswered: usize,
}

/// One line of a service's ledger.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Entry {
    /// The service that wrote it.
    #[serde(default)]
    pub(super) service: String,
    /// The key of the action that was done or undone.
    pub(super) action_key: String,
    /// The order it was for.
    pub(super) order_id: String,
    /// Whether it was done or undone.
    pub(super) direction: Direction,
}

/// Whether something was done or undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Direction {
    /// It was done.
    Action,
    /// It was undone.
    Compensation,
}

/// How much there is of a product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Stock {
    /// The product.
    pub(super) sku: String,
    /// How much there was before the first order.
    #[serde(default)]
    pub(super) initial: i64,
    /// How much nobody has asked for.
    pub(super) free: i64,
    /// How much is held for orders.
    pub(super) reserved: i64,
    /// How much has left.
    pub(super) sold: i64,
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// No effect happened twice under one key.
    DoneOnce,
    /// Nothing was undone more often than it was done.
    UndoneOnce,
    /// Every effect belongs to a step of a saga.
    EffectsKnown,
    /// Completed: every step's effect is there.
    Completed,
    /// Compensated: no step's effect is there.
    Compensated,
    /// Whoever was charged gets a parcel.
    ChargedNotShipped,
    /// Whoever gets a parcel was charged.
    ShippedNotCharged,
    /// Nobody was charged twice.
    ChargedTwice,
    /// Nobody gets two parcels.
    ShippedTwice,
    /// All stock is free, sold, or held for an order that waits for a person.
    Stock,
    /// Amends knows every order.
    OrdersKnown,
    /// The shop knows every saga's order.
    SagasKnown,
    /// Every checkout became one order: not none where an answer was lost, not two where the button was pressed twice.
    OneOrderEach,
    /// What a dead letter claims is so.
    DeadLetters,
    /// Every saga has something that will wake it.
    Orphans,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check that found it.
    pub(super) check: Check,
    /// The order, product or key it is about.
    pub(super) subject: String,
    /// What is the case.
    pub(super) detail: String,
}

/// The result: how much was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciliation {
    /// How many things each check has looked at: a zero among the findings means nothing without it.
    pub(super) looked_at: BTreeMap<Check, usize>,
    /// Everything found, in the order of the checks.
    pub(super) findings: Vec<Finding>,
}

/// How often something was done and undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    done: i64,
    undone: i64,
}

impl Checkout {
    fn purchase(&self) -> String {
        purchase(&self.customer_id, &self.lines)
    }
}

impl Count {
    fn net(self) -> i64 {
        self.done - self.undone
    }
}

impl Check {
    /// All checks, in the order in which they are shown.
    pub(super) const ALL: [Check; 15] = [
        Check::DoneOnce,
        Check::UndoneOnce,
        Check::EffectsKnown,
        Check::Completed,
        Check::Compensated,
        Check::ChargedNotShipped,
        Check::ShippedNotCharged,
        Check::ChargedTwice,
        Check::ShippedTwice,
        Check::Stock,
        Check::OrdersKnown,
        Check::SagasKnown,
        Check::OneOrderEach,
        Check::DeadLetters,
        Check::Orphans,
    ];

    /// What is counted, for people: the things that must not be.
    pub(super) fn counted(self) -> &'static str {
        match self {
            Check::DoneOnce => "effects done twice",
            Check::UndoneOnce => "effects undone more often than done",
            Check::EffectsKnown => "effects that belong to no saga",
            Check::Completed => "effects missing from completed orders",
            Check::Compensated => "effects left behind by compensated orders",
            Check::ChargedNotShipped => "orders charged and not shipped",
            Check::ShippedNotCharged => "orders shipped and not charged",
            Check::ChargedTwice => "orders charged twice",
            Check::ShippedTwice => "orders shipped twice",
            Check::Stock => "products with stock neither free nor sold",
            Check::OrdersKnown => "orders that Amends does not know",
            Check::SagasKnown => "sagas that the shop does not know",
            Check::OneOrderEach => "checkouts that became two orders or none",
            Check::DeadLetters => "dead letters that the ledgers contradict",
            Check::Orphans => "sagas that nothing will wake",
        }
    }

    /// What is looked at, for people.
    pub(super) fn things(self) -> &'static str {
        match self {
            Check::DoneOnce | Check::UndoneOnce => "keys",
            Check::EffectsKnown => "ledger entries",
            Check::Completed | Check::Compensated => "steps",
            Check::ChargedNotShipped | Check::ShippedNotCharged | Check::ChargedTwice | Check::ShippedTwice => "orders",
            Check::Stock => "products",
            Check::OrdersKnown => "orders",
            Check::SagasKnown | Check::Orphans => "sagas",
            Check::OneOrderEach => "checkouts",
            Check::DeadLetters => "dead letters",
        }
    }
}

impl Reconciliation {
    /// Whether nothing was found.
    pub(super) fn agrees(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many findings a check has.
    pub(super) fn found(&self, check: Check) -> usize {
        self.findings.iter().filter(|finding| finding.check == check).count()
    }

    fn look(&mut self, check: Check, things: usize) {
        *self.looked_at.entry(check).or_default() += things;
    }

    fn find(&mut self, check: Check, subject: impl Into<String>, detail: impl Into<String>) {
        self.findings.push(Finding { check, subject: subject.into(), detail: detail.into() });
    }
}

/// Holds everything against everything.
pub(super) fn reconcile(evidence: &Evidence) -> Reconciliation {
    let mut result = Reconciliation { looked_at: Check::ALL.map(|check| (check, 0)).into(), findings: Vec::new() };
    let keys = counted(evidence.ledger.iter().map(|entry| (entry.action_key.as_str(), entry.direction)));
    once(&keys, &mut result);
    known_effects(evidence, &mut result);
    finished_steps(evidence, &keys, &mut result);
    charged_and_shipped(evidence, &mut result);
    stock(evidence, &keys, &mut result);
    known_orders(evidence, &mut result);
    one_order_each(evidence, &mut result);
    dead_letters(evidence, &keys, &mut result);
    result.look(Check::Orphans, evidence.sagas.len());
    if evidence.orphans > 0 {
        result.find(Check::Orphans, "the server", format!("it counts {} of them", evidence.orphans));
    }
    result.findings.sort_by(|a, b| (a.check, &a.subject).cmp(&(b.check, &b.subject)));
    result
}

fn counted<'a>(entries: impl Iterator<Item = (&'a str, Direction)>) -> BTreeMap<&'a str, Count> {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for (name, direction) in entries {
        let count = counts.entry(name).or_default();
        match direction {
            Direction::Action => count.done += 1,
            Direction::Compensation => count.undone += 1,
        }
    }
    counts
}

fn once(keys: &BTreeMap<&str, Count>, result: &mut Reconciliation) {
    result.look(Check::DoneOnce, keys.len());
    result.look(Check::UndoneOnce, keys.len());
    for (key, Count { done, undone }) in keys {
        if *done > 1 {
            result.find(Check::DoneOnce, *key, format!("done {done} times"));
        }
        if undone > done {
            result.find(Check::UndoneOnce, *key, format!("done {done} times, undone {undone} times"));
        }
    }
}

fn known_effects(evidence: &Evidence, result: &mut Reconciliation) {
    let steps = evidence.sagas.iter().flat_map(|saga| &saga.steps);
    let known: BTreeSet<&str> = steps.filter_map(|step| step.idempotency_key.as_deref()).collect();
    result.look(Check::EffectsKnown, evidence.ledger.len());
    for entry in evidence.ledger.iter().filter(|entry| !known.contains(entry.action_key.as_str())) {
        let detail = format!("{} did it under the key `{}`", entry.service, entry.action_key);
        result.find(Check::EffectsKnown, &entry.order_id, detail);
    }
}

/// Completed: each step that is done has its effect, and no other has one. Compensated: none has.
fn finished_steps(evidence: &Evidence, keys: &BTreeMap<&str, Count>, result: &mut Reconciliation) {
    for saga in &evidence.sagas {
        let (check, done) = match saga.status {
            SagaStatus::Completed => (Check::Completed, 1),
            SagaStatus::Compensated => (Check::Compensated, 0),
            SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Stuck => continue,
        };
        for step in &saga.steps {
            if step.idempotency_key.is_none() {
                continue;
            }
            let expected = if step.status == StepStatus::Done { done } else { 0 };
            let net = net_of(step, keys);
            result.look(check, 1);
            if net != expected {
                let detail = format!("{} is {}, and its effect is there {net} times", step.name, step.status);
                result.find(check, &saga.key, detail);
            }
        }
    }
}

/// Orders that wait for a person are left out of the pairs: that one half is missing is what the person is asked.
/// That nothing happens twice holds for them too.
fn charged_and_shipped(evidence: &Evidence, result: &mut Reconciliation) {
    let of = |service: &str| {
        let entries = evidence.ledger.iter().filter(|entry| entry.service == service);
        counted(entries.map(|entry| (entry.order_id.as_str(), entry.direction)))
    };
    let (charges, shipments) = (of(PAYMENT), of(SHIPPING));
    let unfinished = evidence.sagas.iter().filter(|saga| !saga.status.is_finished());
    let unfinished: BTreeSet<&str> = unfinished.map(|saga| saga.key.as_str()).collect();
    let keys = evidence.sagas.iter().map(|saga| saga.key.as_str());
    let orders: BTreeSet<&str> = keys.chain(charges.keys().copied()).chain(shipments.keys().copied()).collect();
    for order in orders {
        let charged = charges.get(order).copied().unwrap_or_default();
        let shipped = shipments.get(order).copied().unwrap_or_default();
        let detail = format!(
            "charged {} and refunded {}, shipped {} and cancelled {}",
            charged.done, charged.undone, shipped.done, shipped.undone
        );
        let in_pairs = !unfinished.contains(order);
        let faults = [
            (Check::ChargedNotShipped, in_pairs, charged.net() > 0 && shipped.net() <= 0),
            (Check::ShippedNotCharged, in_pairs, shipped.net() > 0 && charged.net() <= 0),
            (Check::ChargedTwice, true, charged.done > 1),
            (Check::ShippedTwice, true, shipped.done > 1),
        ];
        for (check, _, wrong) in faults.into_iter().filter(|(_, looked_at, _)| *looked_at) {
            result.look(check, 1);
            if wrong {
                result.find(check, order, &detail);
            }
        }
    }
}

/// What is sold is what completed orders bought; what is reserved is what orders hold that wait for a person.
fn stock(evidence: &Evidence, keys: &BTreeMap<&str, Count>, result: &mut Reconciliation) {
    let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
    let mut reserved: BTreeMap<&str, i64> = BTreeMap::new();
    for saga in &evidence.sagas {
        let net = |name: &str| net_of_step(saga, name, keys);
        let account = match saga.status {
            SagaStatus::Completed => &mut sold,
            SagaStatus::Compensated => continue,
            SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Stuck if net(COMMIT) > 0 => &mut sold,
            SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Stuck if net(RESERVE) > 0 => &mut reserved,
            SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Stuck => continue,
        };
        for line in saga.input["lines"].as_array().into_iter().flatten() {
            let (sku, quantity) = (line["sku"].as_str(), line["quantity"].as_i64());
            *account.entry(sku.unwrap_or_default()).or_default() += quantity.unwrap_or_default();
        }
    }
    for product in &evidence.stock {
        let sku = product.sku.as_str();
        let (sold, reserved) = (sold.get(sku).copied().unwrap_or(0), reserved.get(sku).copied().unwrap_or(0));
        let expected = Stock { sold, reserved, free: product.initial - sold - reserved, ..product.clone() };
        result.look(Check::Stock, 1);
        if expected != *product {
            result.find(
                Check::Stock,
                sku,
                format!("{}, but the orders account for {}", parts(product), parts(&expected)),
            );
        }
    }
}

fn parts(stock: &Stock) -> String {
    format!("{} free, {} reserved, {} sold", stock.free, stock.reserved, stock.sold)
}

fn net_of_step(saga: &Saga, name: &str, keys: &BTreeMap<&str, Count>) -> i64 {
    saga.steps.iter().find(|step| step.name == name).map_or(0, |step| net_of(step, keys))
}

fn net_of(step: &Step, keys: &BTreeMap<&str, Count>) -> i64 {
    step.idempotency_key.as_deref().and_then(|key| keys.get(key)).map_or(0, |count| count.net())
}

/// The shop knows an order that it answered with or did something for. Of a click whose answer was lost it may know
/// nothing: what was asked for then speaks for the saga.
fn known_orders(evidence: &Evidence, result: &mut Reconciliation) {
    let answered = evidence.checkouts.iter().flat_map(|checkout| &checkout.orders);
    let done = evidence.ledger.iter().map(|entry| &entry.order_id);
    let orders: BTreeSet<&str> = answered.chain(done).map(String::as_str).collect();
    let sagas: BTreeSet<&str> = evidence.sagas.iter().map(|saga| saga.key.as_str()).collect();
    let unanswered = evidence.checkouts.iter().filter(|checkout| checkout.unanswered > 0);
    let unanswered: BTreeSet<String> = unanswered.map(Checkout::purchase).collect();
    result.look(Check::OrdersKnown, orders.len());
    result.look(Check::SagasKnown, evidence.sagas.len());
    for order in orders.difference(&sagas) {
        result.find(Check::OrdersKnown, *order, "there is no saga with this key");
    }
    for saga in evidence.sagas.iter().filter(|saga| !orders.contains(saga.key.as_str())) {
        if !unanswered.contains(&purchase_of(saga)) {
            result.find(Check::SagasKnown, &saga.key, "no answer and no ledger names it");
        }
    }
}

/// A lost answer names no order, so the orders of a checkout are also looked for among the sagas' inputs.
fn one_order_each(evidence: &Evidence, result: &mut Reconciliation) {
    let mut started: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for saga in &evidence.sagas {
        started.entry(purchase_of(saga)).or_default().insert(&saga.key);
    }
    result.look(Check::OneOrderEach, evidence.checkouts.len());
    for checkout in &evidence.checkouts {
        let mut orders = started.remove(&checkout.purchase()).unwrap_or_default();
        orders.extend(checkout.orders.iter().map(String::as_str));
        if orders.len() == 1 {
            continue;
        }
        let names: Vec<&str> = orders.into_iter().collect();
        let made = if names.is_empty() { "no order".to_owned() } else { format!("the orders {}", names.join(", ")) };
        let clicks = if checkout.clicks == 1 { "1 click".to_owned() } else { format!("{} clicks", checkout.clicks) };
        result.find(Check::OneOrderEach, &checkout.customer_id, format!("{clicks} made {made}"));
    }
}

fn purchase_of(saga: &Saga) -> String {
    purchase(saga.input["customer_id"].as_str().unwrap_or_default(), &saga.input["lines"])
}

/// A purchase as text: no two checkouts share it.
fn purchase(customer_id: &str, lines: &Value) -> String {
    let lines = lines.as_array().into_iter().flatten();
    lines.fold(customer_id.to_owned(), |text, line| format!("{text}, {} of {}", line["quantity"], line["sku"]))
}

fn dead_letters(evidence: &Evidence, keys: &BTreeMap<&str, Count>, result: &mut Reconciliation) {
    let sagas: BTreeMap<&str, &Saga> = evidence.sagas.iter().map(|saga| (saga.id.as_str(), saga)).collect();
    result.look(Check::DeadLetters, evidence.letters.len());
    for letter in &evidence.letters {
        let steps = sagas.get(letter.saga.as_str()).map(|saga| saga.steps.as_slice()).unwrap_or_default();
        let Some(step) = steps.iter().find(|step| letter.step.as_ref() == Some(&step.name)) else {
            result.find(Check::DeadLetters, &letter.id, "it names no step of a saga that there is");
            continue;
        };
        let net = net_of(step, keys);
        let so = match letter.claim {
            Claim::Done => net == 1,
            Claim::Undone => net == 0,
            Claim::Unknown => true,
        };
        if !so {
            let claim = if letter.claim == Claim::Done { "done" } else { "undone" };
            let detail = format!("{} is claimed {claim}, and its effect is there {net} times", step.name);
            result.find(Check::DeadLetters, &letter.id, detail);
        }
    }
    let explained: BTreeSet<&str> = evidence.letters.iter().map(|letter| letter.saga.as_str()).collect();
    for saga in evidence.sagas.iter().filter(|saga| saga.status == SagaStatus::Stuck) {
        if !explained.contains(saga.id.as_str()) {
            result.find(Check::DeadLetters, &saga.key, "its saga is stuck without an open dead letter");
        }
    }
}
