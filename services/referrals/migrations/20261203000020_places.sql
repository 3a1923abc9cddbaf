-- migrate:up
-- The position of an event in the order in which events became visible; a stream continues from a
-- position (services/referrals/referrals/store/watch.py). Null: not given yet. Existing events get
-- 0 and are in no stream.
ALTER TABLE referral_events ADD COLUMN place bigint DEFAULT 0;
ALTER TABLE referral_events ALTER COLUMN place DROP DEFAULT;
CREATE UNIQUE INDEX referral_events_place ON referral_events (place) WHERE place > 0;
CREATE INDEX referral_events_without_place ON referral_events (version, referral_id) WHERE place IS NULL;
COMMENT ON TABLE referral_events IS 'append only, but for: place';
-- The last position that was given.
CREATE TABLE places (last bigint NOT NULL);
INSERT INTO places VALUES (0);

-- migrate:down
DROP TABLE places;
COMMENT ON TABLE referral_events IS 'append only';
DROP INDEX referral_events_without_place, referral_events_place;
ALTER TABLE referral_events DROP COLUMN place;
