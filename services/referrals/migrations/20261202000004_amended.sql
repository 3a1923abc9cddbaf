-- migrate:up
-- What was corrected after it was sent: names of fields, never what they held.
ALTER TABLE referral_events ADD COLUMN changed_field_codes text[] NOT NULL DEFAULT '{}';

-- migrate:down
ALTER TABLE referral_events DROP COLUMN changed_field_codes;
