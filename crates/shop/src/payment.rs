//! Charges and refunds.

use crate::answer::{Answer, Refusal};
use crate::ledger::Pen;
use crate::serving::Shop;
use amends_idempotency::rusqlite::{self, Connection, Row, params};
use amends_idempotency::{Transaction, TransactionError};
use axum::extract::{Query, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS charges (
    charge_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    refunded_cents INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS charges_order ON charges (order_id);
";

/// Where a charge is made, whichever way it is asked for.
pub const CHARGES: &str = "/charges";
/// Where it is undone.
pub const REFUNDS: &str = "/refunds";

pub fn routes() -> Router<Shop> {
    Router::new().route(CHARGES, post(charge).get(charges)).route(REFUNDS, post(refund))
}

#[derive(Deserialize)]
struct Charge {
    order_id: String,
    amount_cents: u32,
}

async fn charge(transaction: Transaction, Json(charge): Json<Charge>) -> Result<Answer, TransactionError> {
    if charge.amount_cents == 0 {
        return Ok(Refusal::invalid("a charge is at least one cent"));
    }
    let pen = Pen::of(&transaction);
    let charge = move |database: &Connection| {
        let charge_id = Uuid::now_v7().to_string();
        database.execute(
            "INSERT INTO charges (charge_id, order_id, amount_cents) VALUES (?1, ?2, ?3)",
            params![charge_id, charge.order_id, charge.amount_cents],
        )?;
        pen.done(database, &charge.order_id, "charge")?;
        let (order_id, amount_cents) = (charge.order_id, charge.amount_cents);
        Ok(Answer::Created(json!({ "charge_id": charge_id, "order_id": order_id, "amount_cents": amount_cents })))
    };
    transaction.with(charge).await
}

#[derive(Deserialize)]
struct Refund {
    order_id: String,
}

/// Refunds in full what was charged for an order.
async fn refund(transaction: Transaction, Json(refund): Json<Refund>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let refund = move |database: &Connection| {
        let refunded = database.execute(
            "UPDATE charges SET refunded_cents = amount_cents WHERE order_id = ?1 AND refunded_cents < amount_cents",
            [&refund.order_id],
        )?;
        if refunded > 0 {
            pen.undone(database, &refund.order_id, "refund")?;
        }
        Ok(Answer::Done(json!({ "order_id": refund.order_id, "refunded": refunded })))
    };
    transaction.with(refund).await
}

#[derive(Deserialize)]
struct Wanted {
    order_id: Option<String>,
}

/// `GET /charges?order_id=`: whether and what an order was charged. Without an order: all of them.
async fn charges(State(shop): State<Shop>, Query(wanted): Query<Wanted>) -> Result<Answer, TransactionError> {
    let charges = shop.store.read(move |database| {
        let mut select =
            database.prepare_cached("SELECT * FROM charges WHERE ?1 IS NULL OR order_id = ?1 ORDER BY charge_id")?;
        select.query_map([wanted.order_id], row)?.collect::<rusqlite::Result<Vec<Value>>>()
    });
    let charges = charges.await?;
    let total = |name: &str| charges.iter().filter_map(|charge| charge[name].as_i64()).sum::<i64>();
    let (charged, refunded) = (total("amount_cents"), total("refunded_cents"));
    let totals = json!({ "charged_cents": charged, "refunded_cents": refunded, "kept_cents": charged - refunded });
    Ok(Answer::Done(json!({ "charges": charges, "totals": totals })))
}

fn row(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "charge_id": row.get::<_, String>("charge_id")?,
        "order_id": row.get::<_, String>("order_id")?,
        "amount_cents": row.get::<_, i64>("amount_cents")?,
        "refunded_cents": row.get::<_, i64>("refunded_cents")?,
    }))
}
