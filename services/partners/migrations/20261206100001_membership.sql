-- migrate:up
-- Who applies, what the coordination has seen of a member, and until when its agreement holds.
-- evidence: [{"kind", "reference", "seen_date", "expire_date", "worker_id", "time"}], of each kind the newest; the dates of one are in the column, too.
ALTER TABLE organizations
    ADD COLUMN evidence                       jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN agreement_expire_date          date,
    ADD COLUMN warned_days                    integer,
    ADD COLUMN approval_proposed_by_worker_id text  NOT NULL DEFAULT '',
    ADD COLUMN rejection_reason               text;
CREATE INDEX organizations_by_agreement ON organizations (agreement_expire_date) WHERE status = 'APPROVED';
CREATE INDEX organizations_not_admitted ON organizations (status, update_time) WHERE status IN ('APPLIED', 'REJECTED');

-- Whom to speak to about an application, and why it was made: sealed, and taken away as soon as nobody needs it.
CREATE TABLE applications (
    organization_id text        PRIMARY KEY REFERENCES organizations,
    sealed          bytea       NOT NULL,
    create_time     timestamptz NOT NULL
);

-- migrate:down
DROP TABLE applications;
ALTER TABLE organizations
    DROP COLUMN rejection_reason, DROP COLUMN approval_proposed_by_worker_id, DROP COLUMN warned_days, DROP COLUMN agreement_expire_date,
    DROP COLUMN evidence;
