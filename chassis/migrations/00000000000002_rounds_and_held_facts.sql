-- migrate:up
-- The previous version can keep running meanwhile: this migration only adds tables, indexes, and
-- columns with defaults.

-- In each round, the whole outbox is published once. If the broker has lost everything, the next
-- round begins: this changes one row of `relay`, and not all rows of the outbox.
ALTER TABLE outbox ADD COLUMN first_round integer, ADD COLUMN last_round integer;
UPDATE outbox SET first_round = 1, last_round = 1 WHERE published_at IS NOT NULL;
CREATE INDEX outbox_new ON outbox (subject, version) WHERE first_round IS NULL;
CREATE INDEX outbox_last_round ON outbox (last_round);
DROP INDEX outbox_unpublished;

-- An epoch is the time between two restores of a store. `store` is the identity of the database when
-- it was last checked.
ALTER TABLE relay
    ADD COLUMN round       integer NOT NULL DEFAULT 1,
    ADD COLUMN epoch       bigint  NOT NULL DEFAULT 0,
    ADD COLUMN epoch_round integer NOT NULL DEFAULT 0,
    ADD COLUMN store       text    NOT NULL DEFAULT '',
    -- by partition, the offset after the last record that this cluster acknowledged
    ADD COLUMN offsets     jsonb   NOT NULL DEFAULT '{}';
INSERT INTO relay (cluster_id) VALUES ('') ON CONFLICT DO NOTHING;

-- `overtaken` is the version that was reached in the previous epoch.
ALTER TABLE inbox ADD COLUMN epoch bigint NOT NULL DEFAULT 0, ADD COLUMN overtaken bigint NOT NULL DEFAULT 0;

-- A fact without a reason waits for an earlier fact; one with a reason was refused, and is retried.
ALTER TABLE inbox_parked
    ADD COLUMN epoch         bigint      NOT NULL DEFAULT 0,
    ADD COLUMN base          bigint      NOT NULL DEFAULT 0,
    ADD COLUMN reason        text        NOT NULL DEFAULT '',
    ADD COLUMN attempts      integer     NOT NULL DEFAULT 0,
    ADD COLUMN next_try_time timestamptz NOT NULL DEFAULT '-infinity';

CREATE TABLE dead_letters (
    consumer      text        NOT NULL,
    -- a hash of the record: a record that is read again is the same dead letter
    id            text        NOT NULL,
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
    -- the epoch of this service's store in which the consumer last requested all facts
    epoch    bigint NOT NULL
);

-- migrate:down
DROP TABLE consumers, dead_letters;
ALTER TABLE inbox_parked DROP COLUMN epoch, DROP COLUMN base, DROP COLUMN reason, DROP COLUMN attempts, DROP COLUMN next_try_time;
ALTER TABLE inbox DROP COLUMN epoch, DROP COLUMN overtaken;
ALTER TABLE relay DROP COLUMN round, DROP COLUMN epoch, DROP COLUMN epoch_round, DROP COLUMN store, DROP COLUMN offsets;
DROP INDEX outbox_new, outbox_last_round;
ALTER TABLE outbox DROP COLUMN first_round, DROP COLUMN last_round;
CREATE INDEX outbox_unpublished ON outbox (subject, version) WHERE published_at IS NULL;
