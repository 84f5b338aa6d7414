//! Events for those who count.

use crate::answer::Answer;
use crate::ledger::Pen;
use crate::serving::Shop;
use amends_idempotency::rusqlite::{Connection, params};
use amends_idempotency::{Transaction, TransactionError};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS events (
    event_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    event TEXT NOT NULL,
    total_cents INTEGER NOT NULL
);
";

pub fn routes() -> Router<Shop> {
    Router::new().route("/events", post(record))
}

#[derive(Deserialize)]
struct Event {
    order_id: String,
    event: String,
    total_cents: u32,
}

async fn record(transaction: Transaction, Json(event): Json<Event>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let record = move |database: &Connection| {
        let event_id = Uuid::now_v7().to_string();
        database.execute(
            "INSERT INTO events (event_id, order_id, event, total_cents) VALUES (?1, ?2, ?3, ?4)",
            params![event_id, event.order_id, event.event, event.total_cents],
        )?;
        pen.done(database, &event.order_id, "record")?;
        Ok(Answer::Created(json!({ "event_id": event_id, "order_id": event.order_id })))
    };
    transaction.with(record).await
}
