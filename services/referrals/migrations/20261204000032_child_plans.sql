-- migrate:up
-- A child's plan is ended by two people: what the first one said waits here.
ALTER TABLE plans ADD COLUMN close_proposed_reason_code text NOT NULL DEFAULT '', ADD COLUMN close_proposed_by_worker_id text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE plans DROP COLUMN close_proposed_by_worker_id, DROP COLUMN close_proposed_reason_code;
