//! Whether clients, server and services agree about every order, once all is quiet.

#![cfg(test)]

use super::shop::{Effect, Ledger, Shop};
use amends_client::{
    Claim, Client, DeadLetter, DeadLetterQuery, Event, Saga, SagaQuery, SagaStatus, Statistics, StepStatus,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The steps that move stock, as the shop's definition calls them.
const RESERVE: &str = "reserve-inventory";
const COMMIT: &str = "commit-reservation";
/// How long the shop's definition takes two checkouts of the same customer for one, in milliseconds.
const DOUBLE_CLICK_MS: i64 = 2_000;

/// A checkout that the shop answered: what was asked for, and what it was told.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub customer: String,
    pub lines: Value,
    pub order_id: String,
    pub saga_id: String,
}

/// Everything that was found out once all was quiet.
pub struct Evidence {
    pub accepted: Vec<Accepted>,
    pub sagas: Vec<Saga>,
    /// The histories of the sagas, in the same order.
    pub histories: Vec<Vec<Event>>,
    pub letters: Vec<DeadLetter>,
    pub statistics: Statistics,
    ledger: Ledger,
    stock: BTreeMap<String, [i64; 3]>,
}

impl Evidence {
    /// Asks the server and the services.
    pub async fn gather(client: &Client, shop: &Shop, accepted: Vec<Accepted>) -> Evidence {
        let mut ids = Vec::new();
        let mut query = SagaQuery { limit: Some(500), ..SagaQuery::default() };
        loop {
            let page = client.sagas(&query).await.unwrap();
            ids.extend(page.items.into_iter().map(|saga| saga.id));
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        let sagas = stream::iter(&ids).map(|id| client.saga(id)).buffered(8).try_collect().await.unwrap();
        let histories: Vec<_> = stream::iter(&ids).map(|id| client.events(id)).buffered(8).try_collect().await.unwrap();
        assert!(histories.iter().all(|page| page.next.is_none()), "a history is longer than a page");
        let letters = DeadLetterQuery { limit: Some(500), ..DeadLetterQuery::default() };
        Evidence {
            accepted,
            sagas,
            histories: histories.into_iter().map(|page| page.items).collect(),
            letters: client.dead_letters(&letters).await.unwrap().items,
            statistics: client.statistics().await.unwrap(),
            ledger: shop.ledger().await,
            stock: shop.stock().await,
        }
    }

    /// Everything that does not agree. `initial` is how much of each product there was.
    pub fn disagreements(&self, initial: i64) -> Vec<String> {
        let mut found = Vec::new();
        self.what_was_accepted_exists(&mut found);
        self.one_saga_each(&mut found);
        self.nothing_happened_twice(&mut found);
        self.each_ended_as_it_says(&mut found);
        self.stock_agrees(initial, &mut found);
        self.histories_are_whole(&mut found);
        let Statistics { started, completed, compensated, dead_letters, orphans, .. } = self.statistics;
        let count = |status| self.sagas.iter().filter(|saga| saga.status == status).count() as u64;
        let counted = [self.sagas.len(), self.letters.len()].map(|count| count as u64);
        let counted = (counted[0], count(SagaStatus::Completed), count(SagaStatus::Compensated), counted[1], 0);
        if (started, completed, compensated, dead_letters, orphans) != counted {
            found.push(format!("the statistics are {:?}, and counted are {counted:?}", self.statistics));
        }
        found
    }

    /// What a client was told is there, with its input (invariant 1), and what the services did was asked for by a
    /// saga that there is (invariant 3, as far as it shows from outside).
    fn what_was_accepted_exists(&self, found: &mut Vec<String>) {
        let by_id: BTreeMap<&str, &Saga> = self.sagas.iter().map(|saga| (saga.id.as_str(), saga)).collect();
        for Accepted { customer, lines, order_id, saga_id } in &self.accepted {
            let Some(saga) = by_id.get(saga_id.as_str()) else {
                found.push(format!("saga {saga_id} of order {order_id} was accepted and is not there"));
                continue;
            };
            let cents = |line: &Value| line["quantity"].as_u64().unwrap() * line["price_cents"].as_u64().unwrap();
            let total: u64 = lines.as_array().unwrap().iter().map(cents).sum();
            let input = json!({ "order_id": order_id, "customer_id": customer, "lines": lines, "total_cents": total });
            if (&saga.key, &saga.input) != (order_id, &input) {
                found.push(format!("saga {saga_id} is {} with {}, and not {input}", saga.key, saga.input));
            }
        }
        let keys: BTreeSet<&str> = self.sagas.iter().map(|saga| saga.key.as_str()).collect();
        for entry in self.ledger.entries.iter().filter(|entry| !keys.contains(entry.order_id.as_str())) {
            found.push(format!("something was done for the order {}, of which no saga knows", entry.order_id));
        }
    }

    /// One saga for each key, and one for a checkout that was repeated until it was answered.
    fn one_saga_each(&self, found: &mut Vec<String>) {
        let mut keys = BTreeSet::new();
        let mut clicks: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for saga in &self.sagas {
            if !keys.insert(&saga.key) {
                found.push(format!("there are two sagas with the key {}", saga.key));
            }
            let customer = saga.input["customer_id"].as_str().unwrap().to_owned();
            clicks.entry(customer).or_default().push(saga.created_at.parse().unwrap());
        }
        for (customer, mut at) in clicks {
            at.sort();
            let gaps = at.windows(2).map(|two| two[1].as_millisecond() - two[0].as_millisecond());
            for gap in gaps.filter(|gap| *gap < DOUBLE_CLICK_MS) {
                found.push(format!("{customer}'s checkout became two orders within {gap} ms"));
            }
        }
    }

    /// Invariant 2, and every effect belongs to a step.
    fn nothing_happened_twice(&self, found: &mut Vec<String>) {
        let steps = self.sagas.iter().flat_map(|saga| &saga.steps);
        let known: BTreeSet<&str> = steps.filter_map(|step| step.idempotency_key.as_deref()).collect();
        for (key, effect) in &self.ledger.effects {
            if effect.done > 1 || effect.undone > effect.done {
                found.push(format!("{key}: {effect:?}"));
            }
            if !known.contains(key.as_str()) {
                found.push(format!("the effect under {key} belongs to no step"));
            }
        }
    }

    /// Invariants 4, 5 and 6.
    fn each_ended_as_it_says(&self, found: &mut Vec<String>) {
        for saga in &self.sagas {
            for step in &saga.steps {
                let effect = self.effect(saga, &step.name);
                let fits = match saga.status {
                    SagaStatus::Completed => step.status == StepStatus::Done && effect == Effect::DONE,
                    SagaStatus::Compensated => effect.net() == 0,
                    SagaStatus::Stuck => step.status != StepStatus::Dead || self.letter_fits(saga, &step.name, effect),
                    SagaStatus::Running | SagaStatus::Compensating => false,
                };
                if !fits {
                    let Saga { key, status, .. } = saga;
                    found.push(format!("{key} is {status}, its step {} is {}: {effect:?}", step.name, step.status));
                }
            }
        }
        let stuck: BTreeSet<&str> = self.with_status(SagaStatus::Stuck).map(|saga| saga.id.as_str()).collect();
        let letters: BTreeSet<&str> = self.letters.iter().map(|letter| letter.saga.as_str()).collect();
        if stuck != letters {
            found.push(format!("stuck are {stuck:?}, and dead letters are open for {letters:?}"));
        }
    }

    /// Whether there is exactly one open letter about the step, and what it claims is so.
    fn letter_fits(&self, saga: &Saga, step: &str, effect: Effect) -> bool {
        let about = |letter: &&DeadLetter| letter.saga == saga.id && letter.step.as_deref() == Some(step);
        let claims: Vec<Claim> = self.letters.iter().filter(about).map(|letter| letter.claim).collect();
        match claims[..] {
            [Claim::Done] => effect.net() == 1,
            [Claim::Undone] => effect.net() == 0,
            [Claim::Unknown] => true,
            [] | [_, _, ..] => false,
        }
    }

    /// What is sold is what completed orders bought; reserved is only what stuck orders hold.
    fn stock_agrees(&self, initial: i64, found: &mut Vec<String>) {
        let mut expected: BTreeMap<String, [i64; 3]> =
            self.stock.keys().map(|sku| (sku.clone(), [initial, 0, 0])).collect();
        for saga in &self.sagas {
            let sold = self.effect(saga, COMMIT).net();
            let reserved = if saga.status == SagaStatus::Stuck { self.effect(saga, RESERVE).net() - sold } else { 0 };
            for line in saga.input["lines"].as_array().unwrap() {
                let quantity = line["quantity"].as_i64().unwrap();
                let [free, held, gone] = expected.get_mut(line["sku"].as_str().unwrap()).unwrap();
                *free -= quantity * (reserved + sold);
                *held += quantity * reserved;
                *gone += quantity * sold;
            }
        }
        if self.stock != expected {
            found.push(format!("the stock is {:?}, and the orders account for {expected:?}", self.stock));
        }
    }

    /// Invariants 8 and 9, as far as they show from outside.
    fn histories_are_whole(&self, found: &mut Vec<String>) {
        for (saga, history) in self.sagas.iter().zip(&self.histories) {
            let gapless = history.iter().map(|event| event.sequence).eq(1..=history.len() as u64);
            let ends = history.iter().filter(|event| matches!(event.kind.as_str(), "completed" | "compensated"));
            let ends_last = ends.clone().all(|event| event.sequence == history.len() as u64);
            if !gapless || !ends_last || ends.count() != usize::from(saga.status.is_finished()) {
                let kinds: Vec<_> = history.iter().map(|event| (event.sequence, event.kind.as_str())).collect();
                found.push(format!("the history of {}, which is {}, is {kinds:?}", saga.key, saga.status));
            }
        }
    }

    pub fn with_status(&self, status: SagaStatus) -> impl Iterator<Item = &Saga> {
        self.sagas.iter().filter(move |saga| saga.status == status)
    }

    /// How many calls were in flight when a server went away, by what the histories say.
    pub fn interrupted(&self) -> usize {
        let events = self.histories.iter().flatten();
        events.filter(|event| event.detail["trouble"] == "interrupted").count()
    }

    /// How many dead letters were tried again.
    pub fn retried(&self) -> usize {
        self.histories.iter().flatten().filter(|event| event.kind == "dead-letter-settled").count()
    }

    fn effect(&self, saga: &Saga, step: &str) -> Effect {
        let step = saga.steps.iter().find(|found| found.name == step).expect("a step of the shop's definition");
        self.ledger.effect(step.idempotency_key.as_deref().expect("every step of the shop's definition calls"))
    }
}
