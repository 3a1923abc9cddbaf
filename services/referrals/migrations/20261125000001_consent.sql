-- migrate:up
-- Receipts that were recorded before are not signed as these are: they open nothing (nothing is released yet; the demo network is made anew).
ALTER TABLE receipts
    DROP COLUMN child_assent,
    ADD COLUMN assent_code text NOT NULL DEFAULT '',
    ADD COLUMN reason_code text NOT NULL DEFAULT '',
    ADD COLUMN confirm_time timestamptz,
    ADD COLUMN confirmed_by_worker_id text NOT NULL DEFAULT '';
-- Who sent on an override: he is not the second person.
ALTER TABLE referrals ADD COLUMN override_worker_id text NOT NULL DEFAULT '';
-- Not known is not none. What stands there as 0 was never asked apart; it stays what it was said to be.
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
