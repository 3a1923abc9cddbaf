-- migrate:up
-- After a referral came back, next_due_time is about its open need; this is when the receiver must
-- have deleted its data.
ALTER TABLE referrals ADD COLUMN deletion_due_time timestamptz;

-- migrate:down
ALTER TABLE referrals DROP COLUMN deletion_due_time;
