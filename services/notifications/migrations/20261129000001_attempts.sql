-- migrate:up
-- Each attempt to deliver a webhook, for its owner to look at; forgotten after a month. What was answered beside the status is not kept: it may hold anything.
CREATE TABLE attempts (
    delivery_id  text        NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    number       int         NOT NULL, -- = deliveries.attempts after it
    webhook_id   text        NOT NULL,
    attempt_time timestamptz NOT NULL, -- = webhook-timestamp
    signature    text        NOT NULL, -- = webhook-signature; of what its owner was sent, by a secret that its owner has
    code         int         NOT NULL,
    error        text        NOT NULL, -- empty: it arrived
    duration_ms  int         NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
CREATE INDEX attempts_webhook ON attempts (webhook_id, attempt_time) INCLUDE (error);
ALTER TABLE attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY attempts_own ON attempts USING (enlace_is_system() OR webhook_id IN (SELECT id FROM webhooks));

-- While a secret is exchanged both sign. The time stays when the former secret is gone.
ALTER TABLE webhooks ADD COLUMN former_secret bytea, -- sealed
    ADD COLUMN former_secret_expire_time timestamptz;

-- migrate:down
ALTER TABLE webhooks DROP COLUMN former_secret, DROP COLUMN former_secret_expire_time;
DROP TABLE attempts;
