-- migrate:up
-- Each row of the trail carries a mark, made with the service's own key, and evidence of the caller's
-- token. Existing rows have neither, and the previous version keeps inserting rows without them.
ALTER TABLE audit
    ADD COLUMN token_hash text CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    ADD COLUMN token_end timestamptz,
    ADD COLUMN mark bytea;
COMMENT ON TABLE audit IS 'append only: time, actor_kind, actor_id, organization_id, action, object_id, purpose_code, detail_codes, allowed, reason, token_hash, token_end, mark';

-- migrate:down
COMMENT ON TABLE audit IS 'append only: time, actor_kind, actor_id, organization_id, action, object_id, purpose_code, detail_codes, allowed, reason';
ALTER TABLE audit DROP COLUMN token_hash, DROP COLUMN token_end, DROP COLUMN mark;
