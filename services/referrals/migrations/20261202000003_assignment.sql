-- migrate:up
-- Whose worker a worker is; empty of those heard of before there was this: nothing is held against them.
ALTER TABLE members ADD COLUMN organization_id text NOT NULL DEFAULT '';
CREATE INDEX referrals_responsible ON referrals (responsible_worker_id) WHERE responsible_worker_id <> '';

-- migrate:down
DROP INDEX referrals_responsible;
ALTER TABLE members DROP COLUMN organization_id;
