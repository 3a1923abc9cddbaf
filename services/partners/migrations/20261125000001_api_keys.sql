-- migrate:up
-- A key ends with its manager's account. Keys from before this migration have no manager, and stay valid.
ALTER TABLE api_keys
    ADD COLUMN worker_id              text    NOT NULL DEFAULT '',
    ADD COLUMN unconfirmed            boolean NOT NULL DEFAULT false,
    ADD COLUMN confirmed_by_worker_id text    NOT NULL DEFAULT '';
CREATE INDEX api_keys_of_worker ON api_keys (worker_id) WHERE worker_id <> '';

-- migrate:down
DROP INDEX api_keys_of_worker;
ALTER TABLE api_keys DROP COLUMN confirmed_by_worker_id, DROP COLUMN unconfirmed, DROP COLUMN worker_id;
