//! Messages to customers. There is nothing to undo about one that was read.

use crate::answer::Answer;
use crate::ledger::Pen;
use crate::serving::Shop;
use amends_idempotency::rusqlite::Connection;
use amends_idempotency::{Transaction, TransactionError};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS notifications (
    notification_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    template TEXT NOT NULL
);
";

pub fn routes() -> Router<Shop> {
    Router::new().route("/notifications", post(notify))
}

#[derive(Deserialize)]
struct Notification {
    order_id: String,
    customer_id: String,
    template: String,
}

async fn notify(transaction: Transaction, Json(message): Json<Notification>) -> Result<Answer, TransactionError> {
    let pen = Pen::of(&transaction);
    let notify = move |database: &Connection| {
        let notification_id = Uuid::now_v7().to_string();
        database.execute(
            "INSERT INTO notifications (notification_id, order_id, customer_id, template) VALUES (?1, ?2, ?3, ?4)",
            [&notification_id, &message.order_id, &message.customer_id, &message.template],
        )?;
        pen.done(database, &message.order_id, "notify")?;
        Ok(Answer::Created(json!({ "notification_id": notification_id, "order_id": message.order_id })))
    };
    transaction.with(notify).await
}
