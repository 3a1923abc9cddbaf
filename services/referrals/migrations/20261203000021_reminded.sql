-- migrate:up
-- The time at which a coordinator last reminded the side whose turn it was.
ALTER TABLE referrals ADD COLUMN remind_time timestamptz;

-- migrate:down
ALTER TABLE referrals DROP COLUMN remind_time;
