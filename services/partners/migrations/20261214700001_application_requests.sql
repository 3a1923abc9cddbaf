-- migrate:up
-- Applications whose link has not been opened yet. `sealed`: the request; only the hash of the link's secret is stored.
CREATE TABLE application_requests (
    id          text        PRIMARY KEY,
    token_hash  bytea       NOT NULL UNIQUE,
    reference   text        NOT NULL,
    sealed      bytea       NOT NULL,
    expire_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL
);
CREATE INDEX application_requests_by_end ON application_requests (expire_time);

-- migrate:down
DROP TABLE application_requests;
