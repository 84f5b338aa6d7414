//! The statements that every commit needs, over arrays: one statement for a whole batch.

use std::borrow::Cow;
use tokio_postgres::types::Type;

/// A statement and the types of its values.
pub(super) struct Sql {
    pub(super) name: &'static str,
    /// Queries that it begins with, each with its name; none where it is empty.
    pub(super) with: &'static str,
    pub(super) text: &'static str,
    pub(super) types: &'static [Type],
    /// What holds of its rows, which go by its name, where nothing was left out.
    pub(super) is_whole: Option<&'static str>,
}

/// A statement that leaves nothing out, and is one query.
pub(super) const PLAIN: Sql = Sql { name: "", with: "", text: "", types: &[], is_whole: None };

/// Those that are prepared on each connection.
pub(super) const HOT: &[&Sql] = &[
    &FENCE,
    &PUT_BIRTHS,
    &PUT_EVENTS,
    &PUT_UNFINISHED,
    &PUT_FINISHED,
    &CHANGE_UNFINISHED,
    &DELETE_UNFINISHED,
    &PUT_COUNTS,
    &PUT_MESSAGES,
    &DELETE_MESSAGES,
];

impl Sql {
    /// The statement by itself.
    pub(super) fn whole_text(&self) -> Cow<'static, str> {
        match self.with {
            "" => self.text.into(),
            with => format!("WITH {with} {}", self.text).into(),
        }
    }
}

/// One statement that does what several would, for all of their values in order, and types of these. It fails where one of
/// them would leave something out: it divides by zero then. No two may write the same row, and what one writes no other sees.
pub(super) fn united(statements: &[&Sql]) -> (String, Vec<Type>) {
    let (mut queries, mut conditions, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for sql in statements {
        let place = |text: &str| shifted(text, types.len());
        if !sql.with.is_empty() {
            queries.push(place(sql.with));
        }
        queries.push(format!("{} AS ({})", sql.name, place(sql.text)));
        conditions.extend(sql.is_whole.map(place));
        types.extend_from_slice(sql.types);
    }
    (format!("WITH {} SELECT 1 / ({})::int", queries.join(", "), conditions.join(" AND ")), types)
}

/// A text whose parameters have higher numbers.
fn shifted(text: &str, by: usize) -> String {
    let mut parts = text.split('$');
    let mut shifted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|next: char| !next.is_ascii_digit()).unwrap_or(part.len());
        let number: usize = part[..end].parse().expect("a dollar sign begins a parameter");
        shifted.push_str(&format!("${}{}", number + by, &part[end..]));
    }
    shifted
}

/// Begins every transaction of an incarnation: while this one's lock is held nobody can declare it dead.
pub(super) const FENCE: Sql = Sql {
    name: "fence",
    text: "SELECT 1 FROM amends.incarnation WHERE id = $1 AND live FOR SHARE",
    types: &[Type::UUID],
    is_whole: Some("EXISTS (SELECT FROM fence)"),
    ..PLAIN
};

/// Births in the order of their keys, so that two batches never wait for each other: the sagas, their first events and their
/// double clicks' claims. Those whose id or key is taken are left out. Of the others it tells whether they have their claim: one
/// whose time has passed is overwritten, and one that holds is not.
pub(super) const PUT_BIRTHS: Sql = Sql {
    name: "put_births",
    with: "
        birth AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[])
                AS birth (id, definition, version, key, fingerprint, created_at, digest, until, count, at, body)
        ), born AS (
            INSERT INTO amends.saga (id, definition, version, key, fingerprint, created_at)
            SELECT id, definition, version, key, fingerprint, created_at FROM birth
            ON CONFLICT DO NOTHING RETURNING id
        ), begun AS (
            INSERT INTO amends.event (saga, first, last, at, body)
            SELECT born.id, 1, birth.count, birth.at, birth.body FROM birth JOIN born USING (id)
        ), claimed AS (
            INSERT INTO amends.dedupe (definition, digest, saga, claimed_at, until)
            SELECT birth.definition, birth.digest, born.id, birth.created_at, birth.until
            FROM birth JOIN born USING (id) WHERE birth.digest IS NOT NULL
            ON CONFLICT (definition, digest) DO UPDATE
            SET saga = excluded.saga, claimed_at = excluded.claimed_at, until = excluded.until
            WHERE dedupe.until <= excluded.claimed_at
            RETURNING saga
        )",
    text: "SELECT born.id, birth.digest IS NULL OR claimed.saga IS NOT NULL AS has_claim
        FROM born JOIN birth USING (id) LEFT JOIN claimed ON claimed.saga = born.id",
    types: &[
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
    ],
    is_whole: Some("(SELECT count(*) FROM put_births WHERE has_claim) = cardinality($1)"),
};

/// Events that follow the last one of a saga that is the incarnation's; all others are left out. Only a lost commit that still
/// hangs on the server can be in their way; then the transaction is done again.
pub(super) const PUT_EVENTS: Sql = Sql {
    name: "put_events",
    text: "
        INSERT INTO amends.event (saga, first, last, at, body)
        SELECT next.saga, next.after + 1, next.after + next.count, next.at, next.body
        FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])
            AS next (saga, after, count, at, body)
        JOIN amends.unfinished ON unfinished.saga = next.saga AND unfinished.owner = $6
        WHERE next.after = coalesce(
            (SELECT event.last FROM amends.event WHERE event.saga = next.saga ORDER BY event.first DESC LIMIT 1), 0)
        RETURNING saga",
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::BYTEA_ARRAY, Type::UUID],
    is_whole: Some("(SELECT count(*) FROM put_events) = cardinality($1)"),
    ..PLAIN
};

/// Which of these follow the last event of a saga that is the incarnation's: for commits that add no events. The rows are locked,
/// so that the same commit, offered again, waits for the end of this one.
pub(super) const JUDGE: Sql = Sql {
    name: "judge",
    text: "
        SELECT next.saga FROM unnest($1::uuid[], $2::bigint[]) AS next (saga, after)
        JOIN amends.unfinished ON unfinished.saga = next.saga AND unfinished.owner = $3
        WHERE next.after = coalesce(
            (SELECT event.last FROM amends.event WHERE event.saga = next.saga ORDER BY event.first DESC LIMIT 1), 0)
        FOR UPDATE OF unfinished",
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY, Type::UUID],
    is_whole: Some("(SELECT count(*) FROM judge) = cardinality($1)"),
    ..PLAIN
};

pub(super) const PUT_UNFINISHED: Sql = Sql {
    name: "put_unfinished",
    text: "
        INSERT INTO amends.unfinished (saga, status, paused, reason, owner, wake_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::text[], $5::uuid[], $6::bigint[])",
    types: &[
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::BOOL_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
    ],
    ..PLAIN
};

pub(super) const PUT_FINISHED: Sql = Sql {
    name: "put_finished",
    text: "
        INSERT INTO amends.finished (saga, status, paused, reason, at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::text[], $5::bigint[])",
    types: &[Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::BOOL_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY],
    ..PLAIN
};

/// A row that is what it should be already, as it is after nearly every commit, is not written.
pub(super) const CHANGE_UNFINISHED: Sql = Sql {
    name: "change_unfinished",
    text: "
        UPDATE amends.unfinished
        SET status = now.status, paused = now.paused, reason = now.reason, owner = now.owner, wake_at = now.wake_at
        FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::text[], $5::uuid[], $6::bigint[])
            AS now (saga, status, paused, reason, owner, wake_at)
        WHERE unfinished.saga = now.saga
            AND (unfinished.status, unfinished.paused, unfinished.reason, unfinished.owner, unfinished.wake_at)
                IS DISTINCT FROM (now.status, now.paused, now.reason, now.owner, now.wake_at)",
    types: PUT_UNFINISHED.types,
    ..PLAIN
};

pub(super) const DELETE_UNFINISHED: Sql = Sql {
    name: "delete_unfinished",
    text: "DELETE FROM amends.unfinished WHERE saga = ANY($1::uuid[])",
    types: &[Type::UUID_ARRAY],
    ..PLAIN
};

pub(super) const PUT_COUNTS: Sql = Sql {
    name: "put_counts",
    text: "
        INSERT INTO amends.count (minute, definition, counter, writer, value)
        SELECT minute, definition, counter, $5, value
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS new (minute, definition, counter, value)
        ON CONFLICT (minute, definition, counter, writer) DO UPDATE SET value = count.value + excluded.value",
    types: &[Type::INT8_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY, Type::UUID],
    ..PLAIN
};

/// Messages in the queues that services use. One that is there already stays as it is.
pub(super) const PUT_QUEUE_MESSAGES: Sql = Sql {
    name: "put_queue_messages",
    text: "
        INSERT INTO amends.queue_message (queue, id, body, sent_at, visible_at, receives)
        SELECT queue, id, body, at, at, 0
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS new (queue, id, body, at)
        ON CONFLICT DO NOTHING",
    types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY],
    ..PLAIN
};

pub(super) const PUT_MESSAGES: Sql = Sql {
    name: "put_messages",
    text: "
        INSERT INTO amends.message (saga, step, participant, visible_at, receives)
        SELECT saga, step, participant, visible_at, 0
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) AS new (saga, step, participant, visible_at)
        ON CONFLICT (saga, step) DO UPDATE SET participant = excluded.participant, visible_at = excluded.visible_at,
            receives = 0, receiver = NULL",
    types: &[Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY],
    ..PLAIN
};

pub(super) const DELETE_MESSAGES: Sql = Sql {
    name: "delete_messages",
    text: "
        DELETE FROM amends.message USING unnest($1::uuid[], $2::text[]) AS done (saga, step)
        WHERE message.saga = done.saga AND message.step = done.step",
    types: &[Type::UUID_ARRAY, Type::TEXT_ARRAY],
    ..PLAIN
};

pub(super) const MOVE_MESSAGES: Sql = Sql {
    name: "move_messages",
    text: "
        UPDATE amends.message SET visible_at = moved.visible_at, receiver = NULL
        FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS moved (saga, step, visible_at)
        WHERE message.saga = moved.saga AND message.step = moved.step",
    types: &[Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY],
    ..PLAIN
};

pub(super) const HOLD_MESSAGES: Sql = Sql {
    name: "hold_messages",
    text: "UPDATE amends.message SET visible_at = $2, receiver = NULL WHERE saga = ANY($1::uuid[])",
    types: &[Type::UUID_ARRAY, Type::INT8],
    ..PLAIN
};

/// Numbers are taken and used in one statement, so that those of a transaction that fails are given again.
pub(super) const OPEN_DEAD_LETTERS: Sql = Sql {
    name: "open_dead_letters",
    with: "given_letters AS (
            UPDATE amends.numbering SET last = last + cardinality($1) WHERE list = 'dead-letter' RETURNING last
        )",
    text: "
        INSERT INTO amends.dead_letter
            (place, id, saga, step, direction, claim, error, fingerprint, participant, opened_at)
        SELECT given_letters.last - cardinality($1) + new.number, new.id, new.saga, new.step, new.direction, new.claim,
            new.error, new.fingerprint, new.participant, new.at
        FROM given_letters,
            unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::bigint[])
            WITH ORDINALITY AS new (id, saga, step, direction, claim, error, fingerprint, participant, at, number)",
    types: &[
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
    ],
    ..PLAIN
};

pub(super) const CLOSE_DEAD_LETTERS: Sql = Sql {
    name: "close_dead_letters",
    text: "
        UPDATE amends.dead_letter SET closed_at = done.at, resolution = done.resolution
        FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[]) AS done (id, saga, at, resolution)
        WHERE dead_letter.id = done.id AND dead_letter.saga = done.saga AND dead_letter.closed_at IS NULL",
    types: &[Type::TEXT_ARRAY, Type::UUID_ARRAY, Type::INT8_ARRAY, Type::TEXT_ARRAY],
    ..PLAIN
};

pub(super) const CLOSE_SAGA_DEAD_LETTERS: Sql = Sql {
    name: "close_saga_dead_letters",
    text: "
        UPDATE amends.dead_letter SET closed_at = done.at, resolution = done.resolution
        FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS done (saga, at, resolution)
        WHERE dead_letter.saga = done.saga AND dead_letter.step IS NULL AND dead_letter.closed_at IS NULL",
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY, Type::TEXT_ARRAY],
    ..PLAIN
};

/// Whether this dead letter is there, open or settled.
pub(super) const FIND_LETTER: Sql =
    Sql { name: "find_letter", text: "SELECT 1 FROM amends.dead_letter WHERE id = $1", types: &[Type::TEXT], ..PLAIN };

/// An order's entry; two orders that are the same in all of it cannot both have been carried out.
pub(super) const FIND_AUDITED: Sql = Sql {
    name: "find_audited",
    text: "
        SELECT 1 FROM amends.audit
        WHERE saga = $1 AND at = $2 AND actor = $3 AND action = $4 AND step IS NOT DISTINCT FROM $5 AND reason = $6",
    types: &[Type::UUID, Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT],
    ..PLAIN
};

/// Adds to the audit log what concerns sagas and what does not. No lock is taken: see the schema for what their ranks are.
pub(super) const PUT_AUDIT: Sql = Sql {
    name: "put_audit",
    text: "
        INSERT INTO amends.audit (rank, writer, at, actor, action, saga, subject, step, reason)
        SELECT coalesce((SELECT rank FROM amends.audit ORDER BY rank DESC, writer DESC LIMIT 1), 0) + new.number, $8,
            new.at, new.actor, new.action, new.saga, new.subject, new.step, new.reason
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[])
            WITH ORDINALITY AS new (at, actor, action, saga, subject, step, reason, number)",
    types: &[
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8,
    ],
    ..PLAIN
};

/// Undoes births whose double click's claim was taken.
pub(super) const DELETE_SAGAS: &[Sql] = &[
    Sql {
        name: "delete_events",
        text: "DELETE FROM amends.event WHERE saga = ANY($1::uuid[])",
        types: &[Type::UUID_ARRAY],
        ..PLAIN
    },
    Sql {
        name: "delete_sagas",
        text: "DELETE FROM amends.saga WHERE id = ANY($1::uuid[])",
        types: &[Type::UUID_ARRAY],
        ..PLAIN
    },
];

pub(super) const FIND_WRITTEN: Sql = Sql {
    name: "find_written",
    text: "SELECT last, at, body FROM amends.event WHERE saga = $1 AND first = $2",
    types: &[Type::UUID, Type::INT8],
    ..PLAIN
};

/// What stands in the way of a birth: a saga with its key, one with its id, a double click's claim.
pub(super) const FIND_REFUSED: Sql = Sql {
    name: "find_refused",
    text: "
        SELECT same_key.id, same_key.fingerprint, EXISTS (SELECT 1 FROM amends.saga WHERE saga.id = $3), dedupe.saga
        FROM (SELECT 1) AS one
        LEFT JOIN amends.saga AS same_key ON same_key.definition = $1 AND same_key.key = $2
        LEFT JOIN amends.dedupe ON dedupe.definition = $1 AND dedupe.digest = $4",
    types: &[Type::TEXT, Type::TEXT, Type::UUID, Type::TEXT],
    ..PLAIN
};

/// Takes the sagas whose time has come, oldest first, and tells the time of each. What another one is taking is left to it.
pub(super) const DUE: Sql = Sql {
    name: "due",
    text: "
        WITH due AS (
            SELECT saga, wake_at FROM amends.unfinished WHERE wake_at <= $1
            ORDER BY wake_at, saga LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        UPDATE amends.unfinished SET owner = $3, wake_at = NULL FROM due WHERE unfinished.saga = due.saga
        RETURNING unfinished.saga, due.wake_at",
    types: &[Type::INT8, Type::INT8, Type::UUID],
    ..PLAIN
};

pub(super) const NEXT_DUE: Sql = Sql {
    name: "next_due",
    text: "SELECT wake_at FROM amends.unfinished WHERE wake_at IS NOT NULL ORDER BY wake_at, saga LIMIT 1",
    types: &[],
    ..PLAIN
};

/// Takes a saga that nobody owns.
pub(super) const OWN: Sql = Sql {
    name: "own",
    text: "UPDATE amends.unfinished SET owner = $2, wake_at = NULL WHERE saga = $1 AND owner IS NULL",
    types: &[Type::UUID, Type::UUID],
    ..PLAIN
};

/// Receives messages whose time has come, oldest first, and tells the time of each. What another one is receiving is left
/// to it, and so is what belongs to another one's saga.
pub(super) const READY: Sql = Sql {
    name: "ready",
    text: "
        WITH ready AS (
            SELECT message.saga, message.step, message.visible_at
            FROM amends.message LEFT JOIN amends.unfinished ON unfinished.saga = message.saga
            WHERE message.participant = $1 AND message.visible_at <= $2
                AND (unfinished.owner IS NULL OR unfinished.owner = $3)
            ORDER BY message.visible_at, message.saga, message.step LIMIT $4 FOR UPDATE OF message SKIP LOCKED
        )
        UPDATE amends.message SET visible_at = $5, receives = receives + 1, receiver = $3
        FROM ready WHERE message.saga = ready.saga AND message.step = ready.step
        RETURNING message.saga, message.step, message.receives, ready.visible_at",
    types: &[Type::TEXT, Type::INT8, Type::UUID, Type::INT8, Type::INT8],
    ..PLAIN
};

pub(super) const NEXT_MESSAGE: Sql = Sql {
    name: "next_message",
    text: "
        SELECT message.visible_at FROM amends.message LEFT JOIN amends.unfinished ON unfinished.saga = message.saga
        WHERE message.participant = $1 AND (unfinished.owner IS NULL OR unfinished.owner = $2)
        ORDER BY message.visible_at LIMIT 1",
    types: &[Type::TEXT, Type::UUID],
    ..PLAIN
};
