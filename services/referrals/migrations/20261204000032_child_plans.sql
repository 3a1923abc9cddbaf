-- migrate:up
-- Two people must agree to end a child's plan; the first person's proposal is stored here.
ALTER TABLE plans ADD COLUMN close_proposed_reason_code text NOT NULL DEFAULT '', ADD COLUMN close_proposed_by_worker_id text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE plans DROP COLUMN close_proposed_by_worker_id, DROP COLUMN close_proposed_reason_code;
