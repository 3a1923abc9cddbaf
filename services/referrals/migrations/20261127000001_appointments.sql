-- migrate:up
-- Of the one appointment that is open; what came of those before is in the history.
ALTER TABLE referrals ADD COLUMN appointment_time timestamptz;

-- migrate:down
ALTER TABLE referrals DROP COLUMN appointment_time;
