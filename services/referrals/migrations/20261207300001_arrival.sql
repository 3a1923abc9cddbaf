-- migrate:up
-- How she arrives where nobody may contact her: of the event by which the referral was sent, sealed with her key like its note.
ALTER TABLE referral_events ADD COLUMN arrival_sealed bytea;

-- migrate:down
ALTER TABLE referral_events DROP COLUMN arrival_sealed;
