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
    saga BLOB,
    subject TEXT, -- what it concerns, where that is no saga
    step TEXT,
    reason TEXT NOT NULL,
    -- Its place in the chain, once it is sealed.
    number INTEGER,
    hash BLOB CHECK (length(hash) = 32),
    CHECK ((number IS NULL) = (hash IS NULL))
) STRICT;
CREATE INDEX audit_by_saga ON audit (saga) WHERE saga IS NOT NULL;
CREATE INDEX audit_unsealed ON audit (number) WHERE number IS NULL;
CREATE UNIQUE INDEX audit_sealed ON audit (number) WHERE number IS NOT NULL;
-- An entry is written, sealed, and nothing else ever. Whoever owns the file can take these away; they are against mistakes, and what
-- shows the rest is the chain.
CREATE TRIGGER audit_is_sealed_once BEFORE UPDATE ON audit
WHEN OLD.number IS NOT NULL OR (NEW.id, NEW.at, NEW.actor, NEW.action, NEW.saga, NEW.subject, NEW.step, NEW.reason)
    IS NOT (OLD.id, OLD.at, OLD.actor, OLD.action, OLD.saga, OLD.subject, OLD.step, OLD.reason)
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit log is sealed once and never changed');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is never deleted from');
END;

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

-- The queues that services use. A message that is ready or in flight is not dead; one that was dealt with is gone.
CREATE TABLE queue_message (
    queue TEXT NOT NULL,
    id TEXT NOT NULL, -- its sender's own
    body TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    receives INTEGER NOT NULL,
    receiving BLOB, -- what its last receiving is called, unless that is over
    dead_at INTEGER,
    redrive TEXT, -- the last one that it was part of
    PRIMARY KEY (queue, id)
) STRICT;
CREATE INDEX queue_message_ready ON queue_message (queue, visible_at, id) WHERE dead_at IS NULL;
CREATE INDEX queue_message_dead ON queue_message (queue, dead_at, id) WHERE dead_at IS NOT NULL;

-- Dead messages that were made ready again, at a rate.
CREATE TABLE redrive (
    id TEXT PRIMARY KEY,
    queue TEXT NOT NULL,
    at INTEGER NOT NULL,
    per_second INTEGER NOT NULL,
    total INTEGER NOT NULL,
    moved INTEGER -- how far it was when it was cancelled
) STRICT, WITHOUT ROWID;
CREATE INDEX redrive_by_queue ON redrive (queue, at);
