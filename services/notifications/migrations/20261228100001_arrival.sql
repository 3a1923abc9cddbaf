-- migrate:up
-- A message is dated by its fact, which may arrive late; a reader can have seen only messages that had arrived.
ALTER TABLE messages ADD COLUMN arrival_time timestamptz NOT NULL DEFAULT now();

-- migrate:down
ALTER TABLE messages DROP COLUMN arrival_time;
