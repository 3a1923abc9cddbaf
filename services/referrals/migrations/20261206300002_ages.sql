-- migrate:up
-- The ages that a service accepts, as far as it has stated them; known from the service's next
-- fact.
ALTER TABLE directory_services ADD COLUMN minimum_age integer, ADD COLUMN maximum_age integer;
-- Why a referral's urgency is below the urgency that follows from the contact's answers.
ALTER TABLE referrals ADD COLUMN urgency_reason_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE referrals DROP COLUMN urgency_reason_code;
ALTER TABLE directory_services DROP COLUMN maximum_age, DROP COLUMN minimum_age;
