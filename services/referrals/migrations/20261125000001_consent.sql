-- migrate:up
-- Receipts recorded earlier have other signatures, so they open nothing. No version has been
-- released yet, and the demo network is created again.
ALTER TABLE receipts
    DROP COLUMN child_assent,
    ADD COLUMN assent_code text NOT NULL DEFAULT '',
    ADD COLUMN reason_code text NOT NULL DEFAULT '',
    ADD COLUMN confirm_time timestamptz,
    ADD COLUMN confirmed_by_worker_id text NOT NULL DEFAULT '';
-- The worker who sent the referral on an override; she can't be the second person who confirms it.
ALTER TABLE referrals ADD COLUMN override_worker_id text NOT NULL DEFAULT '';
-- Null means not known, unlike 0. Existing zeros may mean either, and stay 0.
ALTER TABLE people ALTER COLUMN dependants DROP NOT NULL, ALTER COLUMN dependants DROP DEFAULT;
ALTER TABLE referrals ALTER COLUMN dependants DROP NOT NULL;
CREATE INDEX receipts_recipient ON receipts (person_id, recipient_organization_id) WHERE withdraw_time IS NOT NULL;

-- migrate:down
DROP INDEX receipts_recipient;
UPDATE referrals SET dependants = 0 WHERE dependants IS NULL;
UPDATE people SET dependants = 0 WHERE dependants IS NULL;
ALTER TABLE referrals ALTER COLUMN dependants SET NOT NULL;
ALTER TABLE people ALTER COLUMN dependants SET DEFAULT 0, ALTER COLUMN dependants SET NOT NULL;
ALTER TABLE referrals DROP COLUMN override_worker_id;
ALTER TABLE receipts
    DROP COLUMN confirmed_by_worker_id, DROP COLUMN confirm_time, DROP COLUMN reason_code, DROP COLUMN assent_code,
    ADD COLUMN child_assent boolean NOT NULL DEFAULT false;
