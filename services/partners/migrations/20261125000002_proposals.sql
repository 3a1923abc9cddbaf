-- migrate:up
-- The worker who registered a member cannot approve it, and a change to the network fields needs a proposer and a confirmer.
ALTER TABLE organizations
    ADD COLUMN registered_by_worker_id text NOT NULL DEFAULT '',
    ADD COLUMN proposed_type           text,
    ADD COLUMN proposed_country        text,
    ADD COLUMN proposed_hotline_number text,
    ADD COLUMN proposed_by_worker_id   text,
    ADD COLUMN propose_time            timestamptz;

-- migrate:down
ALTER TABLE organizations
    DROP COLUMN propose_time, DROP COLUMN proposed_by_worker_id, DROP COLUMN proposed_hotline_number, DROP COLUMN proposed_country,
    DROP COLUMN proposed_type, DROP COLUMN registered_by_worker_id;
