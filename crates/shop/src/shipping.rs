//! Shipments.

use crate::answer::Answer;
use crate::ledger::Pen;
use crate::serving::Shop;
use amends_idempotency::rusqlite::Connection;
use amends_idempotency::{Transaction, TransactionError};
use axum::extract::Path;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS shipments (
    shipment_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    reservation_id TEXT,
    status TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS shipments_order ON shipments (order_id);
";

pub fn routes() -> Router<Shop> {
    Router::new().route("/shipments", post(create)).route("/shipments/{order_id}/cancel", post(cancel))
}

#[derive(Deserialize)]
struct Create {
    order_id: String,
    reservation_id: Option<String>,
}

async fn create(transaction: Transaction, Json(shipment): Json<Create>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let create = move |database: &Connection| {
        let shipment_id = Uuid::now_v7().to_string();
        database.execute(
            "INSERT INTO shipments (shipment_id, order_id, reservation_id, status) VALUES (?1, ?2, ?3, 'created')",
            [Some(&shipment_id), Some(&shipment.order_id), shipment.reservation_id.as_ref()],
        )?;
        pen.done(database, &shipment.order_id, "ship")?;
        Ok(Answer::Created(json!({ "shipment_id": shipment_id, "order_id": shipment.order_id })))
    };
    transaction.with(create).await
}

async fn cancel(transaction: Transaction, Path(order_id): Path<String>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let cancel = move |database: &Connection| {
        let cancelled = database.execute(
            "UPDATE shipments SET status = 'cancelled' WHERE order_id = ?1 AND status = 'created'",
            [&order_id],
        )?;
        if cancelled > 0 {
            pen.undone(database, &order_id, "cancel-shipment")?;
        }
        Ok(Answer::Done(json!({ "order_id": order_id, "cancelled": cancelled })))
    };
    transaction.with(cancel).await
}
