-- migrate:up
-- The enquiry from which a draft came, whose taken offer is released if the draft is discarded.
CREATE INDEX enquiries_referral ON enquiries (referral_id) WHERE referral_id <> '';

-- migrate:down
DROP INDEX enquiries_referral;
