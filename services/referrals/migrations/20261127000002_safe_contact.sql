-- migrate:up
-- Everybody who may call her needs this at once, so it is stored beside the channel and not only in
-- the sealed plan. For existing plans it is not known, and counts as no until it is stated again.
ALTER TABLE people ADD COLUMN message_may_be_left boolean NOT NULL DEFAULT false;

-- migrate:down
ALTER TABLE people DROP COLUMN message_may_be_left;
