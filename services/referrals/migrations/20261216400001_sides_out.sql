-- migrate:up
-- Whether a live referral's other side was told that one of its sides is suspended or has left.
ALTER TABLE referrals ADD COLUMN side_out boolean NOT NULL DEFAULT false;
CREATE INDEX referrals_with_a_side_out ON referrals (id) WHERE side_out;

-- migrate:down
ALTER TABLE referrals DROP COLUMN side_out;
