-- migrate:up
-- Whether she was handed over live, and to whom: a member or a public emergency number (ids and
-- codes only).
ALTER TABLE contacts
    ADD COLUMN connected_live text NOT NULL DEFAULT '',
    ADD COLUMN handed_over_organization_id text NOT NULL DEFAULT '',
    ADD COLUMN emergency_number_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE contacts DROP COLUMN emergency_number_code, DROP COLUMN handed_over_organization_id, DROP COLUMN connected_live;
