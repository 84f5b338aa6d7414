-- The first schema.
--
-- Ids are 16 bytes and times are milliseconds since the Unix epoch. The store knows nothing of what an event means,
-- and no rule about sagas is written here.
--
-- What decides the shape is how many pages a commit touches, for each is written whole to the log. A step that goes
-- well adds events and changes nothing else: neither the saga's row nor any index on it.

CREATE TABLE definition (
    version TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE current_definition (
    name TEXT PRIMARY KEY,
    version TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A saga's birth and its row. How many events it has is not in it: that is the highest number among its events, and
-- a copy here would have to be written by every commit. At most one of owner, wake_at and finished_at is set; a saga
-- with none of them is parked.
-- Ids sort by time, so with the id as the table's own order the sagas that are worked on lie side by side.
-- The business key leads its index so that a search for a key alone finds it too.
CREATE TABLE saga (
    id BLOB PRIMARY KEY,
    definition TEXT NOT NULL,
    version TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    paused INTEGER NOT NULL,
    reason TEXT,
    owner BLOB,
    wake_at INTEGER,
    finished_at INTEGER,
    UNIQUE (key, definition),
    CHECK ((owner IS NOT NULL) + (wake_at IS NOT NULL) + (finished_at IS NOT NULL) <= 1)
) STRICT, WITHOUT ROWID;

-- Each of these answers one question and holds only the sagas for which it can be asked; a transition that changes
-- neither owner nor status touches none of them.
-- Who is due? Which are looked after by nobody?
CREATE INDEX saga_due ON saga (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX saga_parked ON saga (paused)
    WHERE owner IS NULL AND wake_at IS NULL AND finished_at IS NULL;
-- What people list: by status wherever that is rarely true (completed ones are found along the ids), by definition.
-- Whose sagas must be freed is asked when an incarnation begins or ends, and found among the unfinished ones (half a
-- second for a million that sleep): an index on the owner would be written at the birth and the end of every saga.
CREATE INDEX saga_unfinished ON saga (status) WHERE finished_at IS NULL;
CREATE INDEX saga_compensated ON saga (status) WHERE status = 'compensated';
CREATE INDEX saga_by_definition ON saga (definition);

-- A row is the events of one commit, with the numbers of the first and the last of them. Rows are in the order in
-- which they came, whichever saga they belong to: those of one transaction lie side by side on a few pages. In the
-- order of sagas each would dirty a page of its own: with 64 callers and 3,200 sagas at work that wrote half as much
-- again, with 32,000 nearly twice as much. The index finds the history of one saga, and its end. (Measured with
-- `examples/commits.rs`.)
CREATE TABLE events (
    place INTEGER PRIMARY KEY,
    saga BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (saga, last),
    CHECK (first <= last)
) STRICT;

-- The queue of compensations.
CREATE TABLE message (
    saga BLOB NOT NULL,
    step TEXT NOT NULL,
    participant TEXT NOT NULL,
    visible_at INTEGER NOT NULL,
    receives INTEGER NOT NULL,
    receiver BLOB, -- the incarnation that has received it and not dealt with it
    PRIMARY KEY (saga, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_ready ON message (participant, visible_at);

-- No place is given twice, whatever was forgotten: pages of the list go by it.
CREATE TABLE dead_letter (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    saga BLOB NOT NULL,
    step TEXT,
    direction TEXT NOT NULL,
    claim TEXT NOT NULL,
    error TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    participant TEXT,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    resolution TEXT,
    CHECK ((closed_at IS NULL) = (resolution IS NULL))
) STRICT;
CREATE INDEX dead_letter_by_saga ON dead_letter (saga);
CREATE INDEX dead_letter_open ON dead_letter (place) WHERE closed_at IS NULL;
-- Groups are counted in it without a look at the table; SQLite takes it for enough only where it has every column named.
CREATE INDEX dead_letter_alike ON dead_letter (fingerprint, place, opened_at, closed_at) WHERE closed_at IS NULL;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    saga BLOB NOT NULL,
    step TEXT,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_saga ON audit (saga);

-- Double clicks: which saga a rendered text made, and until when it counts as the same work.
CREATE TABLE dedupe (
    definition TEXT NOT NULL,
    digest TEXT NOT NULL,
    saga BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (definition, digest)
) STRICT, WITHOUT ROWID;
-- While its claim holds a saga is not forgotten, and afterwards the claim goes with it.
CREATE INDEX dedupe_by_saga ON dedupe (saga);

-- What happened, by the minute (minutes since the Unix epoch): people read these and never count sagas.
CREATE TABLE count (
    minute INTEGER NOT NULL,
    definition TEXT NOT NULL,
    counter TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (minute, definition, counter)
) STRICT, WITHOUT ROWID;

-- Who may call the API, as far as the server itself says so. A token is never stored, only its digest (SHA-256).
CREATE TABLE token (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
