-- migrate:up
-- Why a member's access ends and which coordinators asked for it; the steps for which one coordinator has asked and a second has not, by their names.
-- The version before this one writes neither: what it suspends has no reason, and comes back by two.
ALTER TABLE organizations ADD COLUMN suspension jsonb;
ALTER TABLE organizations ADD COLUMN suspension_expire_time timestamptz;
ALTER TABLE organizations ADD COLUMN asked_first jsonb NOT NULL DEFAULT '{}';
CREATE INDEX organizations_by_suspension_end ON organizations (suspension_expire_time) WHERE suspension_expire_time IS NOT NULL;

-- migrate:down
ALTER TABLE organizations DROP COLUMN suspension;
ALTER TABLE organizations DROP COLUMN suspension_expire_time;
ALTER TABLE organizations DROP COLUMN asked_first;
