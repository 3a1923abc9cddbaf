-- migrate:up
-- Accounts that also need an app's code. `secret`: sealed; `last_step`: the time step of the last used code, since each code is valid once.
CREATE TABLE second_factors (
    worker_id       text        PRIMARY KEY REFERENCES workers,
    secret          bytea       NOT NULL,
    confirm_time    timestamptz,
    last_step       bigint      NOT NULL DEFAULT 0,
    recovery_hashes bytea[]     NOT NULL DEFAULT '{}'
);
-- Sign-ins with a right password that wait for a code.
CREATE TABLE challenges (
    secret_hash bytea       PRIMARY KEY,
    worker_id   text        NOT NULL REFERENCES workers,
    create_time timestamptz NOT NULL
);
CREATE INDEX challenges_by_age ON challenges (create_time);

-- migrate:down
DROP TABLE challenges, second_factors;
