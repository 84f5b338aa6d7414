//! The stock. Every unit is free, reserved or sold; a finished order leaves none reserved.

use crate::answer::{Answer, Refusal};
use crate::ledger::Pen;
use crate::serving::Shop;
use amends_idempotency::rusqlite::{self, Connection, OptionalExtension, Row, params};
use amends_idempotency::{Transaction, TransactionError};
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// What the shop sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// The stock keeping unit.
    pub sku: &'static str,
    /// The price of one, in cents.
    pub price_cents: u64,
}

/// What is in stock when a database is new, with [`INITIAL_STOCK`] of each.
pub const CATALOGUE: [Product; 8] = [
    Product { sku: "anchor", price_cents: 18_900 },
    Product { sku: "barometer", price_cents: 12_450 },
    Product { sku: "compass", price_cents: 4_990 },
    Product { sku: "dinghy", price_cents: 89_000 },
    Product { sku: "lantern", price_cents: 2_450 },
    Product { sku: "rope", price_cents: 1_200 },
    Product { sku: "sextant", price_cents: 34_900 },
    Product { sku: "spyglass", price_cents: 7_800 },
];

/// How many units of each product a new database has.
pub const INITIAL_STOCK: i64 = 1_000_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stock (
    sku TEXT PRIMARY KEY,
    free INTEGER NOT NULL CHECK (free >= 0),
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    sold INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0)
);
CREATE TABLE IF NOT EXISTS reservations (
    reservation_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS reservations_order ON reservations (order_id);
CREATE TABLE IF NOT EXISTS reservation_lines (
    reservation_id TEXT NOT NULL REFERENCES reservations,
    sku TEXT NOT NULL,
    quantity INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS reservation_lines_reservation ON reservation_lines (reservation_id);
";

pub fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    for product in CATALOGUE {
        connection.execute(
            "INSERT INTO stock (sku, free) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![product.sku, INITIAL_STOCK],
        )?;
    }
    Ok(())
}

pub fn routes() -> Router<Shop> {
    Router::new()
        .route("/reservations", post(reserve))
        .route("/reservations/{order_id}/release", post(release))
        .route("/reservations/{order_id}/commit", post(commit))
        .route("/stock", get(stock))
        .route("/stock/{sku}", put(restock))
}

#[derive(Deserialize)]
struct Reserve {
    order_id: String,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
}

/// Reserves all lines or none: what an earlier line took is rolled back with the refusal.
async fn reserve(transaction: Transaction, Json(wanted): Json<Reserve>) -> Result<Answer, TransactionError> {
    if wanted.lines.is_empty() || wanted.lines.iter().any(|line| line.quantity == 0) {
        return Ok(Refusal::invalid("a reservation needs lines, each of at least one unit"));
    }
    let pen = Pen::of(&transaction);
    let reserve = move |database: &Connection| {
        let reservation_id = Uuid::now_v7().to_string();
        database.execute(
            "INSERT INTO reservations (reservation_id, order_id, status) VALUES (?1, ?2, 'reserved')",
            [&reservation_id, &wanted.order_id],
        )?;
        for line in &wanted.lines {
            let taken = database.execute(
                "UPDATE stock SET free = free - ?2, reserved = reserved + ?2 WHERE sku = ?1 AND free >= ?2",
                params![line.sku, line.quantity],
            )?;
            if taken == 0 {
                let detail = format!("There are not {} of `{}`.", line.quantity, line.sku);
                return Ok(Refusal::conflict("out-of-stock", detail));
            }
            database.execute(
                "INSERT INTO reservation_lines (reservation_id, sku, quantity) VALUES (?1, ?2, ?3)",
                params![reservation_id, line.sku, line.quantity],
            )?;
        }
        pen.done(database, &wanted.order_id, "reserve")?;
        Ok(Answer::Created(json!({ "reservation_id": reservation_id, "order_id": wanted.order_id })))
    };
    transaction.with(reserve).await
}

/// Makes an order's reserved units free again.
async fn release(transaction: Transaction, Path(order_id): Path<String>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let release = move |database: &Connection| {
        let released = settle(database, &order_id, Settlement::Released)?;
        match (released, status(database, &order_id)?) {
            (0, Some(status)) if status == "sold" => {
                return Ok(Refusal::conflict("already-sold", "What is sold cannot be released."));
            }
            (0, Some(_) | None) => {}
            (1.., _) => pen.undone(database, &order_id, "release")?,
        }
        Ok(Answer::Done(json!({ "order_id": order_id, "released": released })))
    };
    transaction.with(release).await
}

/// Turns an order's reserved units into sold ones.
async fn commit(transaction: Transaction, Path(order_id): Path<String>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let commit = move |database: &Connection| {
        let sold = settle(database, &order_id, Settlement::Sold)?;
        match (sold, status(database, &order_id)?) {
            (0, Some(status)) if status == "sold" => {}
            (0, Some(_) | None) => return Ok(Refusal::not_found("The order has no reservation to commit.")),
            (1.., _) => pen.done(database, &order_id, "sell")?,
        }
        Ok(Answer::Done(json!({ "order_id": order_id, "sold": sold })))
    };
    transaction.with(commit).await
}

/// What becomes of reserved units.
#[derive(Clone, Copy)]
enum Settlement {
    Released,
    Sold,
}

/// Settles what is still reserved for the order; how many reservations that was.
fn settle(database: &Connection, order_id: &str, settlement: Settlement) -> rusqlite::Result<usize> {
    let (column, status) = match settlement {
        Settlement::Released => ("free", "released"),
        Settlement::Sold => ("sold", "sold"),
    };
    let lines = format!(
        "UPDATE stock SET reserved = reserved - taken.quantity, {column} = {column} + taken.quantity
         FROM (SELECT sku, sum(quantity) AS quantity FROM reservation_lines JOIN reservations USING (reservation_id)
               WHERE order_id = ?1 AND status = 'reserved' GROUP BY sku) AS taken
         WHERE stock.sku = taken.sku"
    );
    database.prepare_cached(&lines)?.execute([order_id])?;
    database
        .prepare_cached("UPDATE reservations SET status = ?2 WHERE order_id = ?1 AND status = 'reserved'")?
        .execute([order_id, status])
}

/// The status of the order's latest reservation.
fn status(database: &Connection, order_id: &str) -> rusqlite::Result<Option<String>> {
    database
        .query_row(
            "SELECT status FROM reservations WHERE order_id = ?1 ORDER BY reservation_id DESC LIMIT 1",
            [order_id],
            |row| row.get(0),
        )
        .optional()
}

/// `GET /stock`. At rest nothing is reserved: a unit that is neither free nor sold is one that a saga lost.
async fn stock(State(shop): State<Shop>) -> Result<Answer, TransactionError> {
    let stock = shop.store.read(|database| {
        let mut select = database.prepare_cached("SELECT sku, free, reserved, sold FROM stock ORDER BY sku")?;
        select.query_map([], product)?.collect::<rusqlite::Result<Vec<Value>>>()
    });
    let stock = stock.await?;
    let total = |name: &str| stock.iter().filter_map(|product| product[name].as_i64()).sum::<i64>();
    let totals = json!({ "free": total("free"), "reserved": total("reserved"), "sold": total("sold") });
    Ok(Answer::Done(json!({ "stock": stock, "totals": totals })))
}

fn product(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "sku": row.get::<_, String>("sku")?,
        "free": row.get::<_, i64>("free")?,
        "reserved": row.get::<_, i64>("reserved")?,
        "sold": row.get::<_, i64>("sold")?,
    }))
}

#[derive(Deserialize)]
struct Restock {
    free: u32,
}

/// Sets how many units of a product are free; a new product is added.
async fn restock(
    transaction: Transaction,
    Path(sku): Path<String>,
    Json(restock): Json<Restock>,
) -> Result<Answer, TransactionError> {
    let restock = move |database: &Connection| {
        database.execute(
            "INSERT INTO stock (sku, free) VALUES (?1, ?2) ON CONFLICT (sku) DO UPDATE SET free = excluded.free",
            params![sku, restock.free],
        )?;
        let product = database.query_row("SELECT * FROM stock WHERE sku = ?1", [&sku], product)?;
        Ok(Answer::Done(product))
    };
    transaction.with(restock).await
}
