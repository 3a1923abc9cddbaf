-- migrate:up
-- From which edition of the taxonomy and its synonyms a service's document was made; the housekeeping makes outdated ones anew.
ALTER TABLE services ADD COLUMN edition text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE services DROP COLUMN edition;
