-- migrate:up
-- Attempts to deliver webhooks, shown to the owner of the endpoint and deleted after a month. Of the response only the status is stored.
CREATE TABLE attempts (
    delivery_id  text        NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    number       int         NOT NULL, -- = deliveries.attempts after this attempt
    webhook_id   text        NOT NULL,
    attempt_time timestamptz NOT NULL, -- = webhook-timestamp
    signature    text        NOT NULL, -- = webhook-signature, made with the secret that the owner has
    code         int         NOT NULL,
    error        text        NOT NULL, -- empty: the message arrived
    duration_ms  int         NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
CREATE INDEX attempts_webhook ON attempts (webhook_id, attempt_time) INCLUDE (error);
ALTER TABLE attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY attempts_own ON attempts USING (enlace_is_system() OR webhook_id IN (SELECT id FROM webhooks));

-- During a rotation both secrets sign. The time stays after the former secret is deleted.
ALTER TABLE webhooks ADD COLUMN former_secret bytea, -- sealed
    ADD COLUMN former_secret_expire_time timestamptz;

-- migrate:down
ALTER TABLE webhooks DROP COLUMN former_secret, DROP COLUMN former_secret_expire_time;
DROP TABLE attempts;
