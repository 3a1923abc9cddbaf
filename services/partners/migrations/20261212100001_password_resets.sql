-- migrate:up
-- Links for setting a new password, at most one for each account. Only the hash of the secret is stored.
CREATE TABLE password_resets (
    id          text        PRIMARY KEY,
    version     bigint      NOT NULL,
    worker_id   text        NOT NULL UNIQUE REFERENCES workers,
    token_hash  bytea       NOT NULL UNIQUE,
    expire_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX password_resets_by_end ON password_resets (expire_time);
-- Requests for a link, until it is checked whether the account exists. `email`: sealed.
CREATE TABLE password_reset_requests (
    id          text        PRIMARY KEY,
    email       bytea       NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX password_reset_requests_by_age ON password_reset_requests (create_time);

-- migrate:down
DROP TABLE password_reset_requests, password_resets;
