-- migrate:up
-- The edition of the taxonomy and its synonyms from which a service's document was computed. Housekeeping recomputes outdated documents.
ALTER TABLE services ADD COLUMN edition text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE services DROP COLUMN edition;
