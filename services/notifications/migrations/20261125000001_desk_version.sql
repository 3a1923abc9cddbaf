-- migrate:up
ALTER TABLE desks ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- migrate:down
ALTER TABLE desks DROP COLUMN version;
