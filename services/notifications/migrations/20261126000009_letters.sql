-- migrate:up
-- A letter is an e-mail to a person instead of a desk. It stays sealed as it was received, and is deleted once it was sent or has expired.
CREATE TABLE letters (
    delivery_id   text        PRIMARY KEY REFERENCES deliveries,
    invitation_id text        NOT NULL,
    sealed        bytea       NOT NULL,
    expire_time   timestamptz NOT NULL
);
CREATE INDEX letters_of_invitation ON letters (invitation_id);
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY letters_system ON letters USING (enlace_is_system());

-- migrate:down
DROP TABLE letters;
