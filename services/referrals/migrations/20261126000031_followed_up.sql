-- migrate:up
-- Whether another referral follows one that came back is asked of every such row that is shown.
CREATE INDEX referrals_based_on ON referrals (based_on_id) WHERE based_on_id <> '';

-- migrate:down
DROP INDEX referrals_based_on;
