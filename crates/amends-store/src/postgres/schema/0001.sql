-- The first schema on PostgreSQL.
--
-- Times are milliseconds since the Unix epoch. The store knows nothing of what an event means, and no rule about sagas
-- is written here. A NUL, which text cannot hold here, is escaped (see `text.rs`).
--
-- What decides the shape: a step that goes well adds one row to `event` and changes nothing else. What a saga is at its
-- birth, while it is unfinished and at its end are three tables, so that no row is updated that an index for people
-- points to: what people read lies in rows that are written once.

-- One start of one orchestrator. Commits lock this row to share it; whoever takes over locks it for itself, and then
-- sets it dead for good.
CREATE TABLE amends.incarnation (
    id uuid PRIMARY KEY,
    live boolean NOT NULL,
    -- Of what its program keeps here. While a newer one is alive, what cannot be read may be for that one.
    format bigint NOT NULL DEFAULT 0,
    -- Until when its lease was to run, once it has none any more.
    lease_until timestamptz,
    -- A dead one's sagas are handed out in batches; when none is left there is nothing more to look for.
    released boolean NOT NULL
);

-- Until when an incarnation is taken to be alive. It is not in the row above, because commits share that one's lock all
-- the time, and a renewal would have to wait for a moment when none does.
CREATE TABLE amends.lease (
    incarnation uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- What reached one incarnation and is another's to do, and what came of it.
CREATE TABLE amends.inbox (
    id uuid PRIMARY KEY,
    incarnation uuid NOT NULL,
    saga uuid NOT NULL,
    left_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body bytea NOT NULL,
    answer bytea
);
CREATE INDEX inbox_open ON amends.inbox (incarnation) WHERE answer IS NULL;

-- The rate of compensations that all orchestrators have together: the next one's place on a line of time, in microseconds
-- since the Unix epoch.
CREATE TABLE amends.budget (
    is_the_one boolean PRIMARY KEY CHECK (is_the_one),
    next_us bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO amends.budget VALUES (true, 0);

CREATE TABLE amends.definition (
    version text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    source text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE amends.current_definition (
    name text COLLATE "C" PRIMARY KEY,
    version text COLLATE "C" NOT NULL
);

-- A saga's birth; nothing of it ever changes. Ids sort by time, so the newest are at the end of every index.
CREATE TABLE amends.saga (
    id uuid PRIMARY KEY,
    definition text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (key, definition)
);
CREATE INDEX saga_by_definition ON amends.saga (definition, id);

-- What is to be worked on, and how it stands: the row goes when the saga is finished. One with neither owner nor time is
-- parked.
CREATE TABLE amends.unfinished (
    saga uuid PRIMARY KEY,
    status text COLLATE "C" NOT NULL,
    paused boolean NOT NULL,
    reason text,
    owner uuid,
    wake_at bigint,
    CHECK (owner IS NULL OR wake_at IS NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX unfinished_due ON amends.unfinished (wake_at, saga) WHERE wake_at IS NOT NULL;
-- What people look for first is rare: the running ones are found along the ids.
CREATE INDEX unfinished_by_status ON amends.unfinished (status, saga) WHERE status <> 'running';

-- How a saga ended.
CREATE TABLE amends.finished (
    saga uuid PRIMARY KEY,
    status text COLLATE "C" NOT NULL,
    paused boolean NOT NULL,
    reason text,
    at bigint NOT NULL
);
CREATE INDEX finished_by_status ON amends.finished (status, saga) WHERE status <> 'completed';

-- What each commit added to the history of its saga: a row for all of it, with the numbers of its first and last event.
-- Partitions go by the saga's id, and so by the time of its birth: all of a saga lies in one of them, and one is dropped
-- whole when everything in it is forgotten. `partitions.rs` makes and drops them; the default one takes what finds no other.
CREATE TABLE amends.event (
    saga uuid NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    at bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (saga, first)
) PARTITION BY RANGE (saga);
CREATE TABLE amends.event_default PARTITION OF amends.event DEFAULT;

-- The queue of compensations.
CREATE TABLE amends.message (
    saga uuid NOT NULL,
    step text COLLATE "C" NOT NULL,
    participant text COLLATE "C" NOT NULL,
    visible_at bigint NOT NULL,
    receives bigint NOT NULL,
    receiver uuid, -- the incarnation that has received it and not dealt with it
    PRIMARY KEY (saga, step)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX message_ready ON amends.message (participant, visible_at, saga, step);

CREATE TABLE amends.dead_letter (
    place bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    saga uuid NOT NULL,
    step text COLLATE "C",
    direction text COLLATE "C" NOT NULL,
    claim text COLLATE "C" NOT NULL,
    error text NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    participant text COLLATE "C",
    opened_at bigint NOT NULL,
    closed_at bigint,
    resolution text,
    CHECK ((closed_at IS NULL) = (resolution IS NULL))
);
CREATE INDEX dead_letter_by_saga ON amends.dead_letter (saga, place);
CREATE INDEX dead_letter_open ON amends.dead_letter (place) WHERE closed_at IS NULL;
-- Groups are counted in it without a look at the table.
CREATE INDEX dead_letter_alike ON amends.dead_letter (fingerprint, place) INCLUDE (opened_at) WHERE closed_at IS NULL;

-- Who did what. A new entry's rank is one more than the greatest that its statement sees: an entry that was committed before another
-- was written has a lower rank than that one, and no commit waits for another's number, as it would for one without gaps. Those
-- that were written at once may have the same rank, and are told apart by the connections that wrote them.
CREATE TABLE amends.audit (
    rank bigint NOT NULL,
    writer bigint NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    saga uuid,
    subject text, -- what it concerns, where that is no saga
    step text COLLATE "C",
    reason text NOT NULL,
    -- Its place in the chain, once it is sealed.
    number bigint,
    hash bytea CHECK (octet_length(hash) = 32),
    PRIMARY KEY (rank, writer),
    CHECK ((number IS NULL) = (hash IS NULL))
);
CREATE INDEX audit_by_saga ON amends.audit (saga, rank, writer) WHERE saga IS NOT NULL;
-- What is to be sealed is found by not being sealed: a transaction that takes long may leave an entry far behind the last that was.
CREATE INDEX audit_unsealed ON amends.audit (rank, writer) WHERE number IS NULL;
CREATE UNIQUE INDEX audit_sealed ON amends.audit (number) WHERE number IS NOT NULL;
-- An entry is written, sealed, and nothing else ever. Whoever owns the tables can take this away; it is against mistakes, and what
-- shows the rest is the chain.
CREATE FUNCTION amends.refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'an entry of the audit log is sealed once, and neither changed nor deleted'; END$$;
CREATE TRIGGER audit_is_sealed_once BEFORE UPDATE ON amends.audit FOR EACH ROW
    WHEN (OLD.number IS NOT NULL
        OR (NEW.rank, NEW.writer, NEW.at, NEW.actor, NEW.action, NEW.saga, NEW.subject, NEW.step, NEW.reason) IS DISTINCT FROM
            (OLD.rank, OLD.writer, OLD.at, OLD.actor, OLD.action, OLD.saga, OLD.subject, OLD.step, OLD.reason))
    EXECUTE FUNCTION amends.refuse_change_of_audit();
CREATE TRIGGER audit_is_kept BEFORE DELETE ON amends.audit FOR EACH ROW
    EXECUTE FUNCTION amends.refuse_change_of_audit();
CREATE TRIGGER audit_is_kept_whole BEFORE TRUNCATE ON amends.audit FOR EACH STATEMENT
    EXECUTE FUNCTION amends.refuse_change_of_audit();

-- The last number given in a list that must have no gaps. A sequence would leave one wherever a transaction fails. Whoever seals the
-- audit log locks its row, and commits do not.
CREATE TABLE amends.numbering (
    list text COLLATE "C" PRIMARY KEY,
    last bigint NOT NULL
);
INSERT INTO amends.numbering VALUES ('dead-letter', 0), ('audit', 0);

-- Double clicks: which saga a rendered text made, and until when it counts as the same work.
CREATE TABLE amends.dedupe (
    definition text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    saga uuid NOT NULL,
    claimed_at bigint NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (definition, digest)
);
-- While its claim holds a saga is not forgotten, and afterwards the claim goes with it.
CREATE INDEX dedupe_by_saga ON amends.dedupe (saga);

-- What happened, by the minute (minutes since the Unix epoch). Each connection that writes has rows of its own, so that
-- no commit waits for another's; people add them up and never count sagas.
CREATE TABLE amends.count (
    minute bigint NOT NULL,
    definition text COLLATE "C" NOT NULL,
    counter text COLLATE "C" NOT NULL,
    writer uuid NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (minute, definition, counter, writer)
) WITH (fillfactor = 50);

-- Who may call the API, as far as the servers themselves say so. A token is never stored, only its digest (SHA-256).
CREATE TABLE amends.token (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text COLLATE "C" NOT NULL,
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint
);

-- The queues that services use. A message that is ready or in flight is not dead; one that was dealt with is gone.
CREATE TABLE amends.queue_message (
    queue text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL, -- its sender's own
    body text NOT NULL,
    sent_at bigint NOT NULL,
    visible_at bigint NOT NULL,
    receives bigint NOT NULL,
    receiving uuid, -- what its last receiving is called, unless that is over
    dead_at bigint,
    redrive text COLLATE "C", -- the last one that it was part of
    PRIMARY KEY (queue, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX queue_message_ready ON amends.queue_message (queue, visible_at, id) WHERE dead_at IS NULL;
CREATE INDEX queue_message_dead ON amends.queue_message (queue, dead_at, id) WHERE dead_at IS NOT NULL;

-- Dead messages that were made ready again, at a rate.
CREATE TABLE amends.redrive (
    id text COLLATE "C" PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    per_second bigint NOT NULL,
    total bigint NOT NULL,
    moved bigint -- how far it was when it was cancelled
);
CREATE INDEX redrive_by_queue ON amends.redrive (queue, at);
