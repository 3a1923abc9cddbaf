-- migrate:up
-- `suspension`: why a member's access ends, and which coordinators requested it; `asked_first`: the steps, by name, that wait for a second coordinator.
-- The previous version writes neither: a member that it suspends has no reason, and two coordinators must reinstate it.
ALTER TABLE organizations ADD COLUMN suspension jsonb;
ALTER TABLE organizations ADD COLUMN suspension_expire_time timestamptz;
ALTER TABLE organizations ADD COLUMN asked_first jsonb NOT NULL DEFAULT '{}';
CREATE INDEX organizations_by_suspension_end ON organizations (suspension_expire_time) WHERE suspension_expire_time IS NOT NULL;

-- migrate:down
ALTER TABLE organizations DROP COLUMN suspension;
ALTER TABLE organizations DROP COLUMN suspension_expire_time;
ALTER TABLE organizations DROP COLUMN asked_first;
