-- migrate:up
-- Who registered a member does not approve it; what one proposes of the network's fields another confirms.
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
