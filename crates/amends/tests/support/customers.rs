//! Customers who order at the shop whether or not the server is there, and operators who get in their way.

#![cfg(test)]

use super::agreement::Accepted;
use super::child;
use super::setting::{PATIENCE, Setting};
use amends_client::{Client, DeadLetterQuery, Error, Saga};
use fastrand::Rng;
use serde_json::{Value, json};
use shop::{CATALOGUE, Service};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How soon a customer who was not answered tries again.
const BETWEEN_CLICKS: Duration = Duration::from_millis(100);

/// What customers and operators do.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How many orders are placed, unless the load is closed before.
    pub orders: usize,
    /// How often an order is placed.
    pub between_orders: Duration,
    /// The chance that an operator holds the saga for a moment.
    pub held: f64,
    /// The chance that an operator who sees a dead letter lets it be tried again.
    pub retried: f64,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits { orders: usize::MAX, between_orders: Duration::from_millis(16), held: 0.0, retried: 0.0 }
    }
}

/// Customers that place orders, each until it is accepted.
pub struct Load {
    placing: JoinHandle<Vec<Accepted>>,
    retrying: JoinHandle<()>,
    accepted: watch::Receiver<usize>,
    open: watch::Sender<bool>,
    orders: usize,
    log: PathBuf,
}

impl Load {
    pub fn start(setting: &Setting, habits: Habits, random: &mut Rng) -> Load {
        let (count, accepted) = watch::channel(0);
        let (open, mut is_open) = watch::channel(true);
        let retrying = tokio::spawn(retry(setting.client.clone(), habits.retried, random.fork(), is_open.clone()));
        let (http, client) = (setting.shop.http.clone(), setting.client.clone().acting_as("night shift"));
        let url = format!("{}/checkout", setting.shop.url(Service::Order));
        let mut random = random.fork();
        let placing = tokio::spawn(async move {
            let mut customers = JoinSet::new();
            let mut ticks = interval(habits.between_orders);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0..habits.orders {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = is_open.wait_for(|open| !open) => break,
                }
                let (lines, held) = (basket(&mut random), random.f64() < habits.held);
                let (http, url, count, client) = (http.clone(), url.clone(), count.clone(), client.clone());
                customers.spawn(async move {
                    let accepted = check_out(&http, &url, format!("customer-{number}"), lines).await;
                    count.send_modify(|count| *count += 1);
                    if held {
                        hold_for_a_moment(&client, &accepted.saga_id).await;
                    }
                    accepted
                });
            }
            customers.join_all().await
        });
        Load { placing, retrying, accepted, open, orders: habits.orders, log: setting.path("server.log") }
    }

    /// Waits until so many more orders were accepted, or all of them.
    pub async fn wait_for(&self, more: usize) {
        let mut accepted = self.accepted.clone();
        let target = accepted.borrow().saturating_add(more).min(self.orders);
        let reached = timeout(PATIENCE, accepted.wait_for(|count| *count >= target)).await;
        let log = || child::read(&self.log);
        reached.unwrap_or_else(|_| panic!("orders are not accepted; the server's log:\n{}", log())).unwrap();
    }

    /// Places no further orders.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Waits until all orders that are placed are accepted, and nobody holds any of them.
    pub async fn end(self) -> Vec<Accepted> {
        let accepted = timeout(PATIENCE, self.placing).await.expect("all orders are accepted").unwrap();
        self.open.send_replace(false);
        self.retrying.await.unwrap();
        accepted
    }
}

/// What a customer buys.
fn basket(random: &mut Rng) -> Value {
    let product = CATALOGUE[random.usize(..CATALOGUE.len())];
    json!([{ "sku": product.sku, "quantity": random.u32(1..5), "price_cents": product.price_cents }])
}

/// Presses the button until the order is accepted.
async fn check_out(http: &reqwest::Client, url: &str, customer: String, lines: Value) -> Accepted {
    let body = json!({ "customer_id": customer, "lines": lines });
    let mut clicks = clicks();
    loop {
        clicks.tick().await;
        let answer = http.post(url).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 202 {
            let told: Value = answer.json().await.unwrap();
            let [order_id, saga_id] = ["order_id", "saga_id"].map(|name| told[name].as_str().unwrap().to_owned());
            return Accepted { customer, lines, order_id, saga_id };
        }
        assert_eq!(status, 503, "{:?}", answer.text().await);
    }
}

/// Holds a saga and lets it go on. It may have been held although nobody was told, so it is let go in any case.
async fn hold_for_a_moment(client: &Client, saga: &str) {
    let mut clicks = clicks();
    while !is_answered(client.pause(saga, "the warehouse is being counted").await) {
        clicks.tick().await;
    }
    clicks.tick().await;
    while !is_answered(client.resume(saga, "the warehouse is counted").await) {
        clicks.tick().await;
    }
}

/// Looks through the dead letters until the load is closed, and lets some of them be tried again.
async fn retry(client: Client, chance: f64, mut random: Rng, mut is_open: watch::Receiver<bool>) {
    if chance == 0.0 {
        return;
    }
    let mut looks = clicks();
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = is_open.wait_for(|open| !open) => return,
        }
        // Whoever is not answered looks again: a retry that was carried out has closed the letter.
        let Ok(letters) = client.dead_letters(&DeadLetterQuery::default()).await else { continue };
        for letter in letters.items.into_iter().filter(|_| random.f64() < chance) {
            let _seen_at_the_next_look = client.retry_dead_letter(&letter.id, "the credential is right again").await;
        }
    }
}

/// Whether there is nothing more to ask: it was done, or it cannot be done to this saga.
fn is_answered(answer: Result<Saga, Error>) -> bool {
    match answer {
        Ok(_) => true,
        Err(Error::Refused(problem)) => problem.status < 500,
        Err(Error::Unreachable { .. } | Error::BadAddress(_) | Error::BadAuthority(_) | Error::BadToken) => false,
    }
}

fn clicks() -> Interval {
    let mut clicks = interval(BETWEEN_CLICKS);
    clicks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clicks
}
