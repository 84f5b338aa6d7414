//! What a service did: one row for each effect, written in the effect's own transaction.
//!
//! Nothing here forbids a second row for a key. That there is none is what the ledger is read to find out.

use crate::answer::Answer;
use crate::serving::Shop;
use amends_idempotency::rusqlite::{self, Connection, Row, params};
use amends_idempotency::{Transaction, TransactionError};
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS ledger (
    sequence INTEGER PRIMARY KEY,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    key TEXT NOT NULL,
    action_key TEXT NOT NULL,
    order_id TEXT NOT NULL,
    effect TEXT NOT NULL,
    direction TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_order ON ledger (order_id);
CREATE INDEX IF NOT EXISTS ledger_action ON ledger (action_key);
";

/// The pen of one request: it knows under which key its effects are written down.
#[derive(Clone)]
pub struct Pen {
    key: String,
    action_key: Option<String>,
}

impl Pen {
    /// The pen of the request that `transaction` belongs to.
    pub fn of(transaction: &Transaction) -> Pen {
        Pen {
            key: transaction.key().unwrap_or_default().to_owned(),
            action_key: transaction.action_key().map(str::to_owned),
        }
    }

    /// Writes down that something was done.
    pub fn done(&self, database: &Connection, order_id: &str, effect: &str) -> rusqlite::Result<()> {
        self.write(database, order_id, effect, "action")
    }

    /// Writes down that something was undone.
    pub fn undone(&self, database: &Connection, order_id: &str, effect: &str) -> rusqlite::Result<()> {
        self.write(database, order_id, effect, "compensation")
    }

    fn write(&self, database: &Connection, order_id: &str, effect: &str, direction: &str) -> rusqlite::Result<()> {
        let action_key = self.action_key.as_ref().unwrap_or(&self.key);
        database
            .prepare_cached(
                "INSERT INTO ledger (key, action_key, order_id, effect, direction) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![self.key, action_key, order_id, effect, direction])?;
        Ok(())
    }
}

/// Which part of the ledger is wanted.
#[derive(Deserialize)]
pub struct Wanted {
    /// Only what was done for this order.
    order_id: Option<String>,
}

/// `GET /ledger`: every effect, and for each action's key how often it was done and undone.
pub async fn show(State(shop): State<Shop>, Query(wanted): Query<Wanted>) -> Result<Answer, TransactionError> {
    let ledger = shop.store.read(move |database| {
        let order_id = wanted.order_id;
        let (entries, counts) = (entries(database, order_id.as_deref())?, counts(database, order_id.as_deref())?);
        let total = |name: &str| counts.values().filter_map(|count| count[name].as_u64()).sum::<u64>();
        let totals = json!({ "keys": counts.len(), "done": total("done"), "undone": total("undone") });
        Ok(json!({ "entries": entries, "counts": counts, "totals": totals }))
    });
    Ok(Answer::Done(ledger.await?))
}

fn entries(database: &Connection, order_id: Option<&str>) -> rusqlite::Result<Vec<Value>> {
    let mut select =
        database.prepare_cached("SELECT * FROM ledger WHERE ?1 IS NULL OR order_id = ?1 ORDER BY sequence")?;
    select.query_map([order_id], entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "sequence": row.get::<_, i64>("sequence")?,
        "at": row.get::<_, String>("at")?,
        "key": row.get::<_, String>("key")?,
        "action_key": row.get::<_, String>("action_key")?,
        "order_id": row.get::<_, String>("order_id")?,
        "effect": row.get::<_, String>("effect")?,
        "direction": row.get::<_, String>("direction")?,
    }))
}

fn counts(database: &Connection, order_id: Option<&str>) -> rusqlite::Result<Map<String, Value>> {
    let mut select = database.prepare_cached(
        "SELECT action_key, count(*) FILTER (WHERE direction = 'action') AS done,
                count(*) FILTER (WHERE direction = 'compensation') AS undone
         FROM ledger WHERE ?1 IS NULL OR order_id = ?1 GROUP BY action_key",
    )?;
    let count = |row: &Row<'_>| {
        let count = json!({ "done": row.get::<_, i64>("done")?, "undone": row.get::<_, i64>("undone")? });
        Ok((row.get::<_, String>("action_key")?, count))
    };
    select.query_map([order_id], count)?.collect()
}
