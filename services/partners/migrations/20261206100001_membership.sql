-- migrate:up
-- Applications, the evidence about members, and the ends of agreements.
-- evidence: [{"kind", "reference", "seen_date", "expire_date", "worker_id", "time"}], the newest of each kind; the last day of the agreement is also in its own column.
ALTER TABLE organizations
    ADD COLUMN evidence                       jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN agreement_expire_date          date,
    ADD COLUMN warned_days                    integer,
    ADD COLUMN approval_proposed_by_worker_id text  NOT NULL DEFAULT '',
    ADD COLUMN rejection_reason               text;
CREATE INDEX organizations_by_agreement ON organizations (agreement_expire_date) WHERE status = 'APPROVED';
CREATE INDEX organizations_not_admitted ON organizations (status, update_time) WHERE status IN ('APPLIED', 'REJECTED');

-- The contact person and the reason of an application, sealed, and deleted as soon as nobody needs them.
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
