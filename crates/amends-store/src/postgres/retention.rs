//! Forgetting sagas that ended long ago. Their events go with the partitions that they are in, see [`super::partitions`].

use super::commit_of;
use super::connect::{Link, Value};
use super::errors::Failure;
use crate::Forget;
use crate::columns;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Walks along the ids, which go by the time of birth: an index on the end would be written by every saga, for what is asked
/// once an hour. Those that another one is forgetting are left to it.
const FORGETTABLE: &str = "
    SELECT saga FROM amends.finished
    WHERE saga > $1 AND saga < $2 AND at < $3
        AND NOT EXISTS (SELECT 1 FROM amends.dead_letter
            WHERE dead_letter.saga = finished.saga AND dead_letter.closed_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM amends.dedupe WHERE dedupe.saga = finished.saga AND dedupe.until > $4)
    ORDER BY saga LIMIT $5 FOR UPDATE OF finished SKIP LOCKED";

/// All that is kept of sagas, their births last. Claims come first: another saga's birth may be taking one over, and has to be
/// waited for with nothing in hand that it could wait for in turn.
const FORGET: [&str; 6] = [
    "DELETE FROM amends.dedupe WHERE saga = ANY($1)",
    "DELETE FROM amends.dead_letter WHERE saga = ANY($1)",
    "DELETE FROM amends.message WHERE saga = ANY($1)",
    "DELETE FROM amends.event_default WHERE saga = ANY($1)",
    "DELETE FROM amends.finished WHERE saga = ANY($1)",
    "DELETE FROM amends.saga WHERE id = ANY($1)",
];

pub(super) async fn forget(link: &Link, request: &Forget) -> Result<Vec<Uuid>, Failure> {
    let Forget { finished_before, after, limit, now } = *request;
    let values: [(Value<'_>, Type); 5] = [
        (&after, Type::UUID),
        (&columns::first_id(finished_before), Type::UUID),
        (&columns::time(finished_before), Type::INT8),
        (&columns::time(now), Type::INT8),
        (&columns::limit(limit), Type::INT8),
    ];
    link.begin().await?;
    let found = link.query_text(FORGETTABLE, &values).await?;
    let sagas = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>()?;
    if !sagas.is_empty() {
        for text in FORGET {
            link.query_text(text, &[(&sagas, Type::UUID_ARRAY)]).await?;
        }
    }
    commit_of(link).await?;
    Ok(sagas)
}
