-- migrate:up
-- Versions of the network's deadlines; the first version is in the code
-- (services/referrals/network/domain/deadline.py). `spans` lists urgency (empty for any), kind,
-- seconds and working days.
CREATE TABLE deadline_policies (
    version                integer PRIMARY KEY,
    spans                  jsonb NOT NULL,
    published_by_worker_id text NOT NULL,
    publish_time           timestamptz NOT NULL
);
COMMENT ON TABLE deadline_policies IS 'append only';
ALTER TABLE clocks ADD COLUMN policy_version integer NOT NULL DEFAULT 1;

-- migrate:down
ALTER TABLE clocks DROP COLUMN policy_version;
DROP TABLE deadline_policies;
