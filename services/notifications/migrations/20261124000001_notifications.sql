-- migrate:up
-- Who is told what, and whether it arrived. Nothing here says what happened to whom: ids, codes, times, and two sealed columns.

-- What is known of members, heard from the partners service. A copy: it can be dropped and heard again.
CREATE TABLE organizations (
    id     text PRIMARY KEY,
    status text NOT NULL
);
CREATE TABLE workers (
    id              text   PRIMARY KEY,
    organization_id text   NOT NULL,
    roles           text[] NOT NULL,
    status          text   NOT NULL
);
CREATE INDEX workers_coordinators ON workers (organization_id) WHERE 'COORDINATOR' = ANY (roles);
CREATE TABLE api_keys (
    id   text    PRIMARY KEY,
    live boolean NOT NULL
);

CREATE TABLE desks (
    organization_id text        PRIMARY KEY,
    language        text        NOT NULL,
    email           bytea,      -- sealed; null: inbox only
    update_time     timestamptz NOT NULL
);

CREATE TABLE webhooks (
    id              text        PRIMARY KEY,
    organization_id text        NOT NULL,
    url             text        NOT NULL,
    secret          bytea       NOT NULL, -- sealed
    kinds           text[]      NOT NULL, -- empty: all
    enabled         boolean     NOT NULL,
    disabled_reason text        NOT NULL,
    version         bigint      NOT NULL,
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL,
    -- The sender's own: one delivery at a time per endpoint, troublesome ones in a lane of their own.
    busy_until      timestamptz NOT NULL DEFAULT '-infinity',
    slow            boolean     NOT NULL DEFAULT false,
    failing_since   timestamptz
);
CREATE INDEX webhooks_organization ON webhooks (organization_id, create_time);

CREATE TABLE messages (
    id                       text        PRIMARY KEY, -- derived from its cause: heard twice, it is one
    audience                 text        NOT NULL CHECK (audience IN ('desk', 'worker', 'coordination')),
    organization_id          text        NOT NULL, -- empty for the coordination
    worker_id                text        NOT NULL, -- for audience worker
    besides_worker_id        text        NOT NULL, -- for audience desk: who has the same message in person
    kind                     text        NOT NULL,
    referral_id              text        NOT NULL,
    urgency                  text        NOT NULL,
    sender_organization_id   text        NOT NULL,
    receiver_organization_id text        NOT NULL,
    create_time              timestamptz NOT NULL,
    read_time                timestamptz,
    unreached                boolean     NOT NULL DEFAULT false
);
CREATE INDEX messages_desk ON messages (organization_id, create_time DESC, id DESC) WHERE audience = 'desk';
CREATE INDEX messages_worker ON messages (worker_id, create_time DESC, id DESC) WHERE audience = 'worker';
CREATE INDEX messages_coordination ON messages (create_time DESC, id DESC) WHERE audience = 'coordination';
CREATE INDEX messages_unread_desk ON messages (organization_id) WHERE audience = 'desk' AND read_time IS NULL;
CREATE INDEX messages_referral ON messages (referral_id);

CREATE TABLE deliveries (
    id                text        PRIMARY KEY, -- = webhook-id, and the local part of the Message-ID
    message_id        text        REFERENCES messages, -- null: a test
    channel           text        NOT NULL CHECK (channel IN ('email', 'webhook')),
    organization_id   text        NOT NULL,
    webhook_id        text, -- no foreign key: the history outlives the endpoint
    kind              text        NOT NULL,
    body              text, -- webhooks: as sent, the same at each attempt
    status            text        NOT NULL,
    attempts          int         NOT NULL DEFAULT 0, -- ever
    tries             int         NOT NULL DEFAULT 0, -- since it was last asked for
    first_try_time    timestamptz, -- since it was last asked for
    next_attempt_time timestamptz, -- null: nothing more is due
    last_code         int         NOT NULL DEFAULT 0,
    last_error        text        NOT NULL DEFAULT '',
    last_duration_ms  int         NOT NULL DEFAULT 0,
    create_time       timestamptz NOT NULL,
    delivery_time     timestamptz
);
CREATE INDEX deliveries_due_webhook ON deliveries (webhook_id, next_attempt_time) WHERE next_attempt_time IS NOT NULL AND channel = 'webhook';
CREATE INDEX deliveries_due_email ON deliveries (next_attempt_time) WHERE next_attempt_time IS NOT NULL AND channel = 'email';
CREATE INDEX deliveries_message ON deliveries (message_id);
CREATE INDEX deliveries_webhook ON deliveries (webhook_id, create_time DESC, id DESC);

-- The development outbox: e-mails that were not sent but kept to be looked at.
CREATE TABLE development_mails (
    id          text        PRIMARY KEY,
    recipient   bytea       NOT NULL, -- sealed
    subject     text        NOT NULL,
    body        text        NOT NULL,
    create_time timestamptz NOT NULL
);

-- The database itself keeps organisations apart, should a statement forget to.
CREATE FUNCTION enlace_is_system() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT current_setting('enlace.view', true) = 'system' $$;
CREATE FUNCTION enlace_is_coordinator() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT current_setting('enlace.view', true) = 'coordinator' $$;
CREATE FUNCTION enlace_organization() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT nullif(current_setting('enlace.organization', true), '') $$;

ALTER TABLE desks ENABLE ROW LEVEL SECURITY;
CREATE POLICY desks_own ON desks USING (enlace_is_system() OR enlace_is_coordinator() OR organization_id = enlace_organization());

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
CREATE POLICY webhooks_own ON webhooks USING (enlace_is_system() OR organization_id = enlace_organization());

ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY messages_own ON messages USING (
    enlace_is_system() OR enlace_organization() IN (organization_id, sender_organization_id, receiver_organization_id)
    OR (audience = 'coordination' AND enlace_is_coordinator())
);

ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY deliveries_own ON deliveries USING (
    enlace_is_system() OR organization_id = enlace_organization() OR EXISTS (SELECT FROM messages WHERE messages.id = deliveries.message_id)
);

-- migrate:down
DROP TABLE development_mails, deliveries, messages, webhooks, desks, api_keys, workers, organizations;
DROP FUNCTION enlace_is_system, enlace_is_coordinator, enlace_organization;
