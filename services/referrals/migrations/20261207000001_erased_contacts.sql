-- migrate:up
-- A contact of somebody who was erased: nothing more is written of her.
ALTER TABLE contacts ADD COLUMN erased boolean NOT NULL DEFAULT false;

-- migrate:down
ALTER TABLE contacts DROP COLUMN erased;
