-- migrate:up
-- Accounts that ask for a code of an app, too. `secret`: sealed; `last_step`: the time of the last code that was taken, which is good once.
CREATE TABLE second_factors (
    worker_id       text        PRIMARY KEY REFERENCES workers,
    secret          bytea       NOT NULL,
    confirm_time    timestamptz,
    last_step       bigint      NOT NULL DEFAULT 0,
    recovery_hashes bytea[]     NOT NULL DEFAULT '{}'
);
-- Sign-ins whose password was right, and whose code is waited for.
CREATE TABLE challenges (
    secret_hash bytea       PRIMARY KEY,
    worker_id   text        NOT NULL REFERENCES workers,
    create_time timestamptz NOT NULL
);
CREATE INDEX challenges_by_age ON challenges (create_time);

-- migrate:down
DROP TABLE challenges, second_factors;
