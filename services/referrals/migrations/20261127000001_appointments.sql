-- migrate:up
-- The time of the open appointment; the history has the results of earlier appointments.
ALTER TABLE referrals ADD COLUMN appointment_time timestamptz;

-- migrate:down
ALTER TABLE referrals DROP COLUMN appointment_time;
