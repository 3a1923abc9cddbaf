-- migrate:up
-- For each shown referral that came back, a query looks for the referral that follows it.
CREATE INDEX referrals_based_on ON referrals (based_on_id) WHERE based_on_id <> '';

-- migrate:down
DROP INDEX referrals_based_on;
