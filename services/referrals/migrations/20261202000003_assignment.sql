-- migrate:up
-- The organisation of a worker. It is empty for workers known before this migration, who are not
-- refused for that.
ALTER TABLE members ADD COLUMN organization_id text NOT NULL DEFAULT '';
CREATE INDEX referrals_responsible ON referrals (responsible_worker_id) WHERE responsible_worker_id <> '';

-- migrate:down
DROP INDEX referrals_responsible;
ALTER TABLE members DROP COLUMN organization_id;
