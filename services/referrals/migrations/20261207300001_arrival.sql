-- migrate:up
-- How a person whom nobody may contact arrives: belongs to the event of sending, and is sealed with
-- her key like its note.
ALTER TABLE referral_events ADD COLUMN arrival_sealed bytea;

-- migrate:down
ALTER TABLE referral_events DROP COLUMN arrival_sealed;
