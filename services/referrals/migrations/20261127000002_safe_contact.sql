-- migrate:up
-- Whoever may call her hears it at once, so it stands beside the channel and not only in the sealed plan. Of a plan from before it is not known: no, until it is said again.
ALTER TABLE people ADD COLUMN message_may_be_left boolean NOT NULL DEFAULT false;

-- migrate:down
ALTER TABLE people DROP COLUMN message_may_be_left;
