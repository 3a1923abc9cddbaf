-- migrate:up
-- The version of the last step, on which a reader's decision is based. A fired deadline makes a new
-- version, too, but makes no decision stale.
ALTER TABLE referrals ADD COLUMN step_version bigint NOT NULL DEFAULT 0;
UPDATE referrals SET step_version = s.version
    FROM (SELECT referral_id, max(version) AS version FROM referral_events WHERE clock = '' GROUP BY referral_id) s WHERE s.referral_id = id;

-- migrate:down
ALTER TABLE referrals DROP COLUMN step_version;
