-- migrate:up
-- After a referral came back, next_due_time is about its open need, and this is when the receiver has to have deleted what it holds.
ALTER TABLE referrals ADD COLUMN deletion_due_time timestamptz;

-- migrate:down
ALTER TABLE referrals DROP COLUMN deletion_due_time;
