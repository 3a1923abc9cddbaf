-- migrate:up
-- How often a password or a PIN was tried, by keyed hashes of the account, the address and the device: whoever reads this table learns none of them.
CREATE TABLE guesses (
    mark        bytea       PRIMARY KEY,
    whole_time  timestamptz NOT NULL, -- when the budget is whole again
    wrong       integer     NOT NULL DEFAULT 0,
    known       boolean     NOT NULL DEFAULT false, -- of a device: somebody was right from it
    forget_time timestamptz NOT NULL
);
CREATE INDEX guesses_by_age ON guesses (forget_time);

-- migrate:down
DROP TABLE guesses;
