-- migrate:up
-- The fields that were corrected after the referral was sent: only their names, never their values.
ALTER TABLE referral_events ADD COLUMN changed_field_codes text[] NOT NULL DEFAULT '{}';

-- migrate:down
ALTER TABLE referral_events DROP COLUMN changed_field_codes;
