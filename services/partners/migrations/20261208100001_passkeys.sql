-- migrate:up
-- Passkeys of accounts. `credential` is the public key with its metadata; no private key is stored.
CREATE TABLE passkeys (
    id            text        PRIMARY KEY,
    worker_id     text        NOT NULL REFERENCES workers,
    credential_id bytea       NOT NULL UNIQUE,
    credential    bytea       NOT NULL,
    sign_count    bigint      NOT NULL,
    label         text        NOT NULL,
    create_time   timestamptz NOT NULL,
    last_use_time timestamptz
);
CREATE INDEX passkeys_of_a_worker ON passkeys (worker_id, create_time, id);
-- The purpose of a challenge: SIGN_IN, the password was right; PASSKEY_SIGN_IN, the user is not known yet; PASSKEY, a passkey is to be created.
ALTER TABLE challenges ADD COLUMN purpose text NOT NULL DEFAULT 'SIGN_IN', ALTER COLUMN worker_id DROP NOT NULL;

-- migrate:down
DELETE FROM challenges WHERE worker_id IS NULL;
ALTER TABLE challenges DROP COLUMN purpose, ALTER COLUMN worker_id SET NOT NULL;
DROP TABLE passkeys;
