-- migrate:up
-- A fact that was never published is found through outbox_new, so it needs no entry in the index of
-- rounds.
CREATE INDEX outbox_published ON outbox (last_round) WHERE last_round IS NOT NULL;
DROP INDEX outbox_last_round;

-- migrate:down
CREATE INDEX outbox_last_round ON outbox (last_round);
DROP INDEX outbox_published;
