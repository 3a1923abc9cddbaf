-- migrate:up
-- Invitations to open an account. Only the hash of the token is stored. Expired invitations are deleted.
CREATE TABLE invitations (
    id                   text        PRIMARY KEY,
    version              bigint      NOT NULL,
    organization_id      text        NOT NULL REFERENCES organizations,
    status               text        NOT NULL,
    email                text        NOT NULL,
    email_key            text        NOT NULL,
    roles                text[]      NOT NULL,
    language             text        NOT NULL,
    first_manager        boolean     NOT NULL,
    invited_by_worker_id text        NOT NULL,
    token_hash           bytea       NOT NULL UNIQUE,
    expire_time          timestamptz NOT NULL,
    create_time          timestamptz NOT NULL,
    update_time          timestamptz NOT NULL
);
CREATE INDEX invitations_of_organization ON invitations (organization_id, expire_time);
CREATE INDEX invitations_by_end ON invitations (expire_time);

-- migrate:down
DROP TABLE invitations;
