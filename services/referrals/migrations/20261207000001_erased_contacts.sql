-- migrate:up
-- True if the contact's person was erased; nothing more may be written about her.
ALTER TABLE contacts ADD COLUMN erased boolean NOT NULL DEFAULT false;

-- migrate:down
ALTER TABLE contacts DROP COLUMN erased;
