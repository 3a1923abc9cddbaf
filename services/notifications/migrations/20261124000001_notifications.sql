-- migrate:up
-- Messages, their recipients and their deliveries. The tables hold ids, codes, times, addresses of webhooks, and sealed columns.

-- Members, copied from the facts of the partners service. The copy can be rebuilt from these facts.
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
    -- Written by the sender: one delivery at a time per endpoint, with a separate lane for slow and failing endpoints.
    busy_until      timestamptz NOT NULL DEFAULT '-infinity',
    slow            boolean     NOT NULL DEFAULT false,
    failing_since   timestamptz
);
CREATE INDEX webhooks_organization ON webhooks (organization_id, create_time);

CREATE TABLE messages (
    id                       text        PRIMARY KEY, -- derived from the cause, so that a repeated fact adds no second message
    audience                 text        NOT NULL CHECK (audience IN ('desk', 'worker', 'coordination')),
    organization_id          text        NOT NULL, -- empty for audience coordination
    worker_id                text        NOT NULL, -- for audience worker
    besides_worker_id        text        NOT NULL, -- for audience desk: the worker who gets a message of her own
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
    body              text, -- webhooks: the body that is sent, the same at each attempt
    status            text        NOT NULL,
    attempts          int         NOT NULL DEFAULT 0, -- in all
    tries             int         NOT NULL DEFAULT 0, -- since the delivery was last requested
    first_try_time    timestamptz, -- since the delivery was last requested
    next_attempt_time timestamptz, -- null: no further attempt
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

-- The development outbox: e-mails that are stored instead of sent.
CREATE TABLE development_mails (
    id          text        PRIMARY KEY,
    recipient   bytea       NOT NULL, -- sealed
    subject     text        NOT NULL,
    body        text        NOT NULL,
    create_time timestamptz NOT NULL
);

-- Row-level security separates organisations even if a statement has no condition for that.
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
