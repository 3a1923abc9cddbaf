-- migrate:up
-- Which sides of a live referral are suspended or have left, as far as the other side was told.
ALTER TABLE referrals ADD COLUMN sides_out text[] NOT NULL DEFAULT '{}';
CREATE INDEX referrals_with_a_side_out ON referrals (id) WHERE sides_out <> '{}';

-- migrate:down
ALTER TABLE referrals DROP COLUMN sides_out;
