-- migrate:up
-- The accounts at providers that each account was ever bound to. Two accounts that were bound to the
-- same one stay one person's, even if the provider is ended or the person is invited again.
CREATE TABLE account_subjects (
    worker_id    text  NOT NULL REFERENCES workers,
    issuer       text  NOT NULL,
    subject_hash bytea NOT NULL,
    PRIMARY KEY (worker_id, issuer, subject_hash)
);
CREATE INDEX account_subjects_by_subject ON account_subjects (issuer, subject_hash);
INSERT INTO account_subjects SELECT DISTINCT worker_id, issuer, subject_hash FROM provider_accounts;
DROP INDEX provider_accounts_by_subject;

-- migrate:down
CREATE INDEX provider_accounts_by_subject ON provider_accounts (issuer, subject_hash);
DROP TABLE account_subjects;
