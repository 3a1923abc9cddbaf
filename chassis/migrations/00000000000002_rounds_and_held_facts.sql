-- migrate:up
-- Only what the version before can run beside: columns with defaults, and a table.

-- A round is a telling of the whole outbox: a broker that forgot everything begins the next one by one row, not by an update of all of history.
ALTER TABLE outbox ADD COLUMN first_round integer, ADD COLUMN last_round integer;
UPDATE outbox SET first_round = 1, last_round = 1 WHERE published_at IS NOT NULL;
CREATE INDEX outbox_new ON outbox (subject, version) WHERE first_round IS NULL;
CREATE INDEX outbox_last_round ON outbox (last_round);
DROP INDEX outbox_unpublished;

-- An epoch is the life of a store between two restores. `store` is what the database was when it was last looked at.
ALTER TABLE relay
    ADD COLUMN round       integer NOT NULL DEFAULT 1,
    ADD COLUMN epoch       bigint  NOT NULL DEFAULT 0,
    ADD COLUMN epoch_round integer NOT NULL DEFAULT 0,
    ADD COLUMN store       text    NOT NULL DEFAULT '',
    ADD COLUMN offsets     jsonb   NOT NULL DEFAULT '{}'; -- partition → the offset after the last record that was told to this cluster
INSERT INTO relay (cluster_id) VALUES ('') ON CONFLICT DO NOTHING;

-- `overtaken` is the version that was reached in the epoch before.
ALTER TABLE inbox ADD COLUMN epoch bigint NOT NULL DEFAULT 0, ADD COLUMN overtaken bigint NOT NULL DEFAULT 0;

-- A fact without a reason waits for one before it; one with a reason was refused and is tried again.
ALTER TABLE inbox_parked
    ADD COLUMN epoch         bigint      NOT NULL DEFAULT 0,
    ADD COLUMN base          bigint      NOT NULL DEFAULT 0,
    ADD COLUMN reason        text        NOT NULL DEFAULT '',
    ADD COLUMN attempts      integer     NOT NULL DEFAULT 0,
    ADD COLUMN next_try_time timestamptz NOT NULL DEFAULT '-infinity';

CREATE TABLE dead_letters (
    consumer      text        NOT NULL,
    id            text        NOT NULL, -- of the record's bytes: the same record read again is the same dead letter
    topic         text        NOT NULL,
    partition     integer     NOT NULL,
    record_offset bigint      NOT NULL,
    reason        text        NOT NULL,
    sealed        bytea       NOT NULL,
    time          timestamptz NOT NULL,
    redrive       boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (consumer, id)
);

CREATE TABLE consumers (
    consumer text PRIMARY KEY,
    epoch    bigint NOT NULL -- of the own store, when this consumer last asked for everything
);

-- migrate:down
DROP TABLE consumers, dead_letters;
ALTER TABLE inbox_parked DROP COLUMN epoch, DROP COLUMN base, DROP COLUMN reason, DROP COLUMN attempts, DROP COLUMN next_try_time;
ALTER TABLE inbox DROP COLUMN epoch, DROP COLUMN overtaken;
ALTER TABLE relay DROP COLUMN round, DROP COLUMN epoch, DROP COLUMN epoch_round, DROP COLUMN store, DROP COLUMN offsets;
DROP INDEX outbox_new, outbox_last_round;
ALTER TABLE outbox DROP COLUMN first_round, DROP COLUMN last_round;
CREATE INDEX outbox_unpublished ON outbox (subject, version) WHERE published_at IS NULL;
