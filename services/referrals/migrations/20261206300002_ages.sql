-- migrate:up
-- From and up to what age a service takes people, as far as it has stated them; known from the next fact of the service.
ALTER TABLE directory_services ADD COLUMN minimum_age integer, ADD COLUMN maximum_age integer;
-- Why a referral is less urgent than the answers of its contact make it.
ALTER TABLE referrals ADD COLUMN urgency_reason_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE referrals DROP COLUMN urgency_reason_code;
ALTER TABLE directory_services DROP COLUMN maximum_age, DROP COLUMN minimum_age;
