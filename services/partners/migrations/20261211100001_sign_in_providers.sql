-- migrate:up
-- By which provider of its own the workers of an organisation sign in. Both secrets are sealed. What is proposed is good for nothing.
CREATE TABLE sign_in_providers (
    id                     text        PRIMARY KEY,
    organization_id        text        NOT NULL UNIQUE REFERENCES organizations,
    version                bigint      NOT NULL,
    issuer                 text,
    client_id              text,
    secret                 bytea,
    confirm_time           timestamptz,
    proposed_issuer        text,
    proposed_client_id     text,
    proposed_secret        bytea,
    proposed_by_worker_id  text,
    propose_time           timestamptz
);
-- Whose account at the issuer is whose here, since the first time; of what the issuer calls her only the hash is here.
CREATE TABLE provider_accounts (
    organization_id text  NOT NULL REFERENCES organizations,
    issuer          text  NOT NULL,
    subject_hash    bytea NOT NULL,
    worker_id       text  NOT NULL REFERENCES workers,
    PRIMARY KEY (organization_id, issuer, subject_hash),
    UNIQUE (worker_id, issuer)
);
-- Who was sent to a provider and has not come back. `secret_hash` is what went with her, its secret stays in her browser.
CREATE TABLE provider_questions (
    secret_hash  bytea       PRIMARY KEY,
    provider_id  text        NOT NULL REFERENCES sign_in_providers,
    confirm_time timestamptz NOT NULL,
    create_time  timestamptz NOT NULL
);
CREATE INDEX provider_questions_by_age ON provider_questions (create_time);

-- migrate:down
DROP TABLE provider_questions, provider_accounts, sign_in_providers;
