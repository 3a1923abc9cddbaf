-- migrate:up
-- Organisations' own sign-in providers. Both secrets are sealed. Nobody can sign in through a proposed provider.
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
-- The account of each worker at an issuer, since her first sign-in through it. Only the hash of the issuer's subject is stored.
CREATE TABLE provider_accounts (
    organization_id text  NOT NULL REFERENCES organizations,
    issuer          text  NOT NULL,
    subject_hash    bytea NOT NULL,
    worker_id       text  NOT NULL REFERENCES workers,
    PRIMARY KEY (organization_id, issuer, subject_hash),
    UNIQUE (worker_id, issuer)
);
-- Sign-ins that wait for the answer of a provider. `secret_hash`: sent along to the provider; the secret stays in the browser.
CREATE TABLE provider_questions (
    secret_hash  bytea       PRIMARY KEY,
    provider_id  text        NOT NULL REFERENCES sign_in_providers,
    confirm_time timestamptz NOT NULL,
    create_time  timestamptz NOT NULL
);
CREATE INDEX provider_questions_by_age ON provider_questions (create_time);

-- migrate:down
DROP TABLE provider_questions, provider_accounts, sign_in_providers;
