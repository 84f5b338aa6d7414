//! Keeping small what grows with time and not with sagas: the counts by the minute, and the incarnations that have ended.

#[cfg(test)]
mod tests;

use super::commit_of;
use super::connect::Link;
use super::errors::Failure;
use super::reads;
use crate::columns;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Whoever reads meanwhile sees either all of the old rows or all of the new ones. Those of a time that long past are nobody's
/// to write any more; if somebody does, they are added the next time.
const ADD_UP: &str = "
    WITH old AS (
        DELETE FROM amends.count WHERE minute < $1 AND (writer <> $3 OR minute % $2 <> 0)
        RETURNING minute - minute % $2 AS minute, definition, counter, value
    )
    INSERT INTO amends.count (minute, definition, counter, writer, value)
    SELECT minute, definition, counter, $3, sum(value) FROM old GROUP BY minute, definition, counter
    ORDER BY minute, definition, counter
    ON CONFLICT (minute, definition, counter, writer) DO UPDATE SET value = count.value + excluded.value";

/// An incarnation that is not there is as dead as one that is said to be; a process that was asleep for so long finds its
/// lease missing.
const FORGET_INCARNATIONS: &str = "
    DELETE FROM amends.incarnation
    WHERE NOT live AND released AND lease_until < clock_timestamp() - interval '35 days'";

pub(super) async fn condense(link: &Link) -> Result<(), Failure> {
    let now = reads::time(link).await?;
    link.begin().await?;
    for (before, minutes) in columns::old_minutes(now) {
        let values = [(&before as _, Type::INT8), (&minutes as _, Type::INT8), (&Uuid::nil() as _, Type::UUID)];
        link.query_text(ADD_UP, &values).await?;
    }
    link.query_text(FORGET_INCARNATIONS, &[]).await?;
    commit_of(link).await
}
