-- migrate:up
-- The tables that every service has: facts to publish, received facts, answered requests, and the
-- audit trail.

CREATE TABLE outbox (
    subject      text        NOT NULL,
    version      bigint      NOT NULL CHECK (version > 0),
    type         text        NOT NULL,
    payload      bytea       NOT NULL,
    time         timestamptz NOT NULL,
    published_at timestamptz,
    -- Unique: of two writers of the same version, one fails. Rows are never deleted: the outbox is
    -- the event log.
    PRIMARY KEY (subject, version)
);
CREATE INDEX outbox_unpublished ON outbox (subject, version) WHERE published_at IS NULL;

CREATE TABLE relay (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster_id text NOT NULL
);

CREATE TABLE inbox (
    consumer text   NOT NULL,
    subject  text   NOT NULL,
    version  bigint NOT NULL,
    PRIMARY KEY (consumer, subject)
);

CREATE TABLE inbox_parked (
    consumer  text        NOT NULL,
    subject   text        NOT NULL,
    version   bigint      NOT NULL,
    topic     text        NOT NULL,
    type      text        NOT NULL,
    payload   bytea       NOT NULL,
    time      timestamptz NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, subject, version)
);

CREATE TABLE requests (
    caller_id   text        NOT NULL,
    request_id  text        NOT NULL,
    method      text        NOT NULL,
    fingerprint bytea       NOT NULL,
    response    bytea,       -- sealed: it may contain a secret that is shown once
    time        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller_id, request_id)
);
CREATE INDEX requests_time ON requests (time);

CREATE TABLE audit (
    sequence        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time            timestamptz NOT NULL,
    actor_kind      text        NOT NULL,
    actor_id        text        NOT NULL,
    organization_id text        NOT NULL,
    action          text        NOT NULL,
    object_id       text        NOT NULL,
    purpose_code    text        NOT NULL DEFAULT '',
    detail_codes    text[]      NOT NULL DEFAULT '{}',
    allowed         boolean     NOT NULL,
    reason          text        NOT NULL DEFAULT ''
);
CREATE INDEX audit_object ON audit (object_id, sequence DESC);

-- The service's own role can add rows to the trail, but can neither change nor delete any.
DO $$ BEGIN EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON audit FROM %I', replace(current_user, '_owner', '')); EXCEPTION WHEN undefined_object THEN NULL; END $$;

-- migrate:down
DROP TABLE audit, requests, inbox_parked, inbox, relay, outbox;
