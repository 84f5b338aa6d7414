//! The customers: what they buy is drawn from a seed, how they press the button is not always once.

#[cfg(test)]
mod tests;

use super::reconcile::Checkout;
use super::services::{Accepted, Services};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::interval;

/// One purchase in so many is clicked twice.
const DOUBLE_CLICKS: u32 = 12;
/// How many purchases a customer makes on average.
const PURCHASES_EACH: u64 = 4;

/// What a customer buys. No two purchases of a run have the same customer and lines: the shop could not tell the
/// second one from a double click.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Purchase {
    /// Who.
    pub(super) customer_id: String,
    /// What.
    pub(super) lines: Vec<Line>,
    /// How often the button is pressed, at once.
    #[serde(skip)]
    pub(super) clicks: usize,
}

/// One product of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Line {
    sku: &'static str,
    quantity: u32,
    price_cents: u64,
}

/// A purchase whose clicks have been answered, or never will be.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its place among the purchases.
    pub(super) purchase: usize,
    /// What each click was answered; `None` where no answer came, or none that names an order.
    pub(super) answers: Vec<Option<Accepted>>,
}

impl Placed {
    /// The sagas that the answers name.
    pub(super) fn sagas(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().flatten().map(|accepted| accepted.saga_id.as_str())
    }
}

impl Purchase {
    /// The purchase as it is checked, before any answer is known.
    pub(super) fn into_checkout(self) -> Checkout {
        let Purchase { customer_id, lines, clicks } = self;
        Checkout { customer_id, lines: json!(lines), clicks, orders: BTreeSet::new(), unanswered: 0 }
    }

    /// The body of its request.
    fn body(&self) -> Value {
        json!(self)
    }
}

/// Draws what is bought. The same seed gives the same purchases.
pub(super) fn purchases(count: usize, seed: u64) -> Vec<Purchase> {
    let mut random = fastrand::Rng::with_seed(seed);
    let customers = (count as u64 / PURCHASES_EACH).max(3);
    let mut drawn = HashSet::new();
    let mut purchases = Vec::with_capacity(count);
    while purchases.len() < count {
        let customer_id = format!("customer-{:04}", random.u64(1..=customers));
        let lines = lines(&mut random);
        if drawn.insert((customer_id.clone(), lines.clone())) {
            let clicks = if random.u32(0..DOUBLE_CLICKS) == 0 { 2 } else { 1 };
            purchases.push(Purchase { customer_id, lines, clicks });
        }
    }
    purchases
}

/// Makes the purchases, so many a second, and sends what comes of each. It ends when the last is answered.
pub(super) async fn place(
    services: Services,
    purchases: Vec<Purchase>,
    rate: NonZeroU32,
    answers: UnboundedSender<Placed>,
) {
    let mut ticks = interval(Duration::from_secs(1) / rate.get());
    let mut customers = JoinSet::new();
    for (purchase, what) in purchases.into_iter().enumerate() {
        ticks.tick().await;
        let (services, answers) = (services.clone(), answers.clone());
        customers.spawn(async move {
            let body = what.body();
            let clicks = (0..what.clicks).map(|_| services.checkout(&body));
            // Nobody listens any more where the demo is ending.
            let _ = answers.send(Placed { purchase, answers: join_all(clicks).await });
        });
    }
    customers.join_all().await;
}

/// One to three products, each once.
fn lines(random: &mut fastrand::Rng) -> Vec<Line> {
    let count = random.usize(1..=3);
    let products = random.choose_multiple(shop::CATALOGUE, count).into_iter();
    products
        .map(|product| Line { sku: product.sku, quantity: random.u32(1..=4), price_cents: product.price_cents })
        .collect()
}
