-- migrate:up
-- Links by which somebody who forgot her password chooses another: one of an account at most. Of its secret only the hash is here.
CREATE TABLE password_resets (
    id          text        PRIMARY KEY,
    version     bigint      NOT NULL,
    worker_id   text        NOT NULL UNIQUE REFERENCES workers,
    token_hash  bytea       NOT NULL UNIQUE,
    expire_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX password_resets_by_end ON password_resets (expire_time);
-- Who asked for one, until somebody looks whether there is such an account. `email`: sealed.
CREATE TABLE password_reset_requests (
    id          text        PRIMARY KEY,
    email       bytea       NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX password_reset_requests_by_age ON password_reset_requests (create_time);

-- migrate:down
DROP TABLE password_reset_requests, password_resets;
