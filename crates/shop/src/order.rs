//! Orders, and the shop's front door.

use crate::answer::{Answer, Refusal};
use crate::ledger::Pen;
use crate::serving::Shop;
use amends_client::{Error, StartOptions};
use amends_idempotency::rusqlite::{self, Connection, OptionalExtension, Row, params};
use amends_idempotency::{Transaction, TransactionError};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,
    lines TEXT NOT NULL,
    total_cents INTEGER NOT NULL,
    status TEXT NOT NULL
);
";

/// The saga's side.
pub fn routes() -> Router<Shop> {
    Router::new()
        .route("/orders", post(create).get(counts))
        .route("/orders/{order_id}", get(show))
        .route("/orders/{order_id}/cancel", post(cancel))
        .route("/orders/{order_id}/confirm", post(confirm))
}

/// The customer's side. It writes nothing itself: one order for a double click is what the saga's definition sees to.
pub fn front_door() -> Router<Shop> {
    Router::new().route("/checkout", post(checkout))
}

/// What the saga is started with, and what it asks this service to keep.
#[derive(Serialize, Deserialize)]
struct Order {
    order_id: String,
    customer_id: String,
    lines: Vec<Line>,
    total_cents: u32,
}

#[derive(Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
    price_cents: u32,
}

#[derive(Deserialize)]
struct Checkout {
    customer_id: String,
    lines: Vec<Line>,
}

/// Starts the saga that fulfils the order.
async fn checkout(State(shop): State<Shop>, Json(checkout): Json<Checkout>) -> Answer {
    let Some(total_cents) = total_cents(&checkout.lines) else {
        return Refusal::invalid(
            "an order needs lines, each of at least one unit, and a total from 1 to 4294967295 cents",
        );
    };
    let Some(amends) = &shop.amends else {
        return unavailable("This service was started without the address of an Amends server.");
    };
    let order_id = Uuid::now_v7().to_string();
    let order = Order { order_id, customer_id: checkout.customer_id, lines: checkout.lines, total_cents };
    match amends.start(&shop.definition, &order, StartOptions::default()).await {
        // The saga's key is its order: another one than this where a double click met the first click's.
        Ok(started) => Answer::Accepted(json!({
            "order_id": started.saga.key,
            "saga_id": started.saga.id,
            "created": started.created,
        })),
        Err(Error::Refused(problem)) => Refusal {
            status: StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY),
            kind: "checkout-refused",
            detail: problem.to_string(),
        }
        .into(),
        Err(error @ (Error::Unreachable { .. } | Error::BadAddress(_) | Error::BadAuthority(_) | Error::BadToken)) => {
            unavailable(&error.to_string())
        }
    }
}

fn unavailable(detail: &str) -> Answer {
    let detail = detail.to_owned();
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, kind: "checkout-unavailable", detail }.into()
}

/// None where there is nothing to pay for or more than can be paid.
fn total_cents(lines: &[Line]) -> Option<u32> {
    if lines.iter().any(|line| line.quantity == 0) {
        return None;
    }
    let sum = |total: u32, line: &Line| total.checked_add(line.quantity.checked_mul(line.price_cents)?);
    lines.iter().try_fold(0, sum).filter(|total| *total > 0)
}

async fn create(transaction: Transaction, Json(order): Json<Order>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let create = move |database: &Connection| {
        let lines = json!(order.lines).to_string();
        let added = database.execute(
            "INSERT INTO orders (order_id, customer_id, lines, total_cents, status) VALUES (?1, ?2, ?3, ?4, 'placed')
             ON CONFLICT DO NOTHING",
            params![order.order_id, order.customer_id, lines, order.total_cents],
        )?;
        if added == 0 {
            return Ok(Refusal::conflict("order-exists", "There is an order with this id already."));
        }
        pen.done(database, &order.order_id, "create")?;
        Ok(Answer::Created(json!({ "order_id": order.order_id, "status": "placed" })))
    };
    transaction.with(create).await
}

async fn cancel(transaction: Transaction, Path(order_id): Path<String>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let cancel = move |database: &Connection| match status(database, &order_id)?.as_deref() {
        Some("confirmed") => Ok(Refusal::conflict("already-confirmed", "A confirmed order cannot be cancelled.")),
        Some("placed") => {
            set_status(database, &order_id, "cancelled")?;
            pen.undone(database, &order_id, "cancel")?;
            Ok(Answer::Done(json!({ "order_id": order_id, "status": "cancelled" })))
        }
        status => Ok(Answer::Done(json!({ "order_id": order_id, "status": status }))),
    };
    transaction.with(cancel).await
}

async fn confirm(transaction: Transaction, Path(order_id): Path<String>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let confirm = move |database: &Connection| match status(database, &order_id)?.as_deref() {
        Some("placed") => {
            set_status(database, &order_id, "confirmed")?;
            pen.done(database, &order_id, "confirm")?;
            Ok(Answer::Done(json!({ "order_id": order_id, "status": "confirmed" })))
        }
        Some("confirmed") => Ok(Answer::Done(json!({ "order_id": order_id, "status": "confirmed" }))),
        Some(_) => Ok(Refusal::conflict("already-cancelled", "A cancelled order cannot be confirmed.")),
        None => Ok(Refusal::not_found("There is no such order.")),
    };
    transaction.with(confirm).await
}

/// `GET /orders/{order_id}`.
async fn show(State(shop): State<Shop>, Path(order_id): Path<String>) -> Result<Answer, TransactionError> {
    let order = shop.store.read(move |database| {
        database.query_row("SELECT * FROM orders WHERE order_id = ?1", [order_id], row).optional()
    });
    Ok(order.await?.map_or_else(|| Refusal::not_found("There is no such order."), Answer::Done))
}

/// `GET /orders`: how many orders there are of each status.
async fn counts(State(shop): State<Shop>) -> Result<Answer, TransactionError> {
    let counts = shop.store.read(|database| {
        database.query_row(
            "SELECT count(*) FILTER (WHERE status = 'placed'), count(*) FILTER (WHERE status = 'confirmed'),
                    count(*) FILTER (WHERE status = 'cancelled') FROM orders",
            [],
            |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]),
        )
    });
    let [placed, confirmed, cancelled] = counts.await?;
    Ok(Answer::Done(json!({ "placed": placed, "confirmed": confirmed, "cancelled": cancelled })))
}

fn status(database: &Connection, order_id: &str) -> rusqlite::Result<Option<String>> {
    database.query_row("SELECT status FROM orders WHERE order_id = ?1", [order_id], |row| row.get(0)).optional()
}

fn set_status(database: &Connection, order_id: &str, status: &str) -> rusqlite::Result<usize> {
    database.execute("UPDATE orders SET status = ?2 WHERE order_id = ?1", [order_id, status])
}

fn row(row: &Row<'_>) -> rusqlite::Result<Value> {
    let lines: Value = serde_json::from_str(&row.get::<_, String>("lines")?).unwrap_or_default();
    Ok(json!({
        "order_id": row.get::<_, String>("order_id")?,
        "customer_id": row.get::<_, String>("customer_id")?,
        "lines": lines,
        "total_cents": row.get::<_, i64>("total_cents")?,
        "status": row.get::<_, String>("status")?,
    }))
}
