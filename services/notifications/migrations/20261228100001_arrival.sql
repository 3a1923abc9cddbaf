-- migrate:up
-- A message is dated by its fact, which may arrive late: only what had arrived can have been seen.
ALTER TABLE messages ADD COLUMN arrival_time timestamptz NOT NULL DEFAULT now();

-- migrate:down
ALTER TABLE messages DROP COLUMN arrival_time;
