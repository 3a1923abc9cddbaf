-- migrate:up
-- Guesses at passwords and PINs, counted by keyed hashes of the account, the address and the device,
-- so that the table reveals none of these.
CREATE TABLE guesses (
    mark        bytea       PRIMARY KEY,
    whole_time  timestamptz NOT NULL, -- when the budget is full again
    wrong       integer     NOT NULL DEFAULT 0,
    known       boolean     NOT NULL DEFAULT false, -- for devices: it gave the right secret once
    forget_time timestamptz NOT NULL
);
CREATE INDEX guesses_by_age ON guesses (forget_time);

-- migrate:down
DROP TABLE guesses;
