-- migrate:up
-- A letter is an e-mail to somebody who has no desk: sealed as it was heard, and taken away when it was sent or is too old.
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
