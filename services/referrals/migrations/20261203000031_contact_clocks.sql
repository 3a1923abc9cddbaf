-- migrate:up
-- A contact that is open has a clock; that it fires is a version, and no step. `clock_next_time`: when the next level is reached; null: nothing more to tell.
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

-- migrate:down
ALTER TABLE referrals DROP COLUMN assault_time;
ALTER TABLE contacts
    DROP COLUMN clock_next_time, DROP COLUMN clock_policy_version, DROP COLUMN clock_fired_percent, DROP COLUMN clock_pause_time, DROP COLUMN clock_stop_time,
    DROP COLUMN clock_due_time, DROP COLUMN clock_start_time, DROP COLUMN assault_time, DROP COLUMN step_version;
