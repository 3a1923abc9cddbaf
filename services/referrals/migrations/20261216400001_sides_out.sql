-- migrate:up
-- The sides of a live referral that are suspended or have left, as last reported to the other side.
ALTER TABLE referrals ADD COLUMN sides_out text[] NOT NULL DEFAULT '{}';
CREATE INDEX referrals_with_a_side_out ON referrals (id) WHERE sides_out <> '{}';

-- migrate:down
ALTER TABLE referrals DROP COLUMN sides_out;
