-- migrate:up
-- An open contact has a deadline. Firing it makes a new version, but is not a step.
-- `clock_next_time` is when the next level is reached; null if none is left.
ALTER TABLE contacts
    ADD COLUMN step_version bigint NOT NULL DEFAULT 0,
    ADD COLUMN assault_time timestamptz,
    ADD COLUMN clock_start_time timestamptz,
    ADD COLUMN clock_due_time timestamptz,
    ADD COLUMN clock_stop_time timestamptz,
    ADD COLUMN clock_pause_time timestamptz,
    ADD COLUMN clock_fired_percent integer NOT NULL DEFAULT 0,
    ADD COLUMN clock_policy_version integer NOT NULL DEFAULT 1,
    ADD COLUMN clock_next_time timestamptz;
UPDATE contacts SET step_version = version;
CREATE INDEX contacts_clock ON contacts (clock_next_time) WHERE clock_next_time IS NOT NULL;
ALTER TABLE referrals ADD COLUMN assault_time timestamptz;
-- Open contacts and drafts get a deadline that begins now, with the span for a contact without
-- answers, or a draft without an urgency.
UPDATE contacts SET clock_start_time = now(), clock_due_time = now() + interval '1 hour', clock_next_time = now() + interval '30 minutes'
    WHERE outcome_code = 'open';
WITH begun AS (
    INSERT INTO clocks (referral_id, number, kind, start_time, due_time, fired_percent, next_time)
        SELECT id, coalesce((SELECT max(number) + 1 FROM clocks WHERE referral_id = id), 0), 'draft', now(), now() + interval '2 days', 0, now() + interval '1 day'
        FROM referrals WHERE state = 'draft' RETURNING referral_id, due_time
)
UPDATE referrals SET next_due_time = begun.due_time FROM begun WHERE begun.referral_id = referrals.id;

-- migrate:down
ALTER TABLE referrals DROP COLUMN assault_time;
ALTER TABLE contacts
    DROP COLUMN clock_next_time, DROP COLUMN clock_policy_version, DROP COLUMN clock_fired_percent, DROP COLUMN clock_pause_time, DROP COLUMN clock_stop_time,
    DROP COLUMN clock_due_time, DROP COLUMN clock_start_time, DROP COLUMN assault_time, DROP COLUMN step_version;
