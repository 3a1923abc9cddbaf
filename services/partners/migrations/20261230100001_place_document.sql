-- migrate:up
-- The searched words and languages of a service's open places. Until now, each process read them from the places when it started.
ALTER TABLE services ADD COLUMN place_document tsvector NOT NULL DEFAULT '',
    ADD COLUMN place_languages text[] NOT NULL DEFAULT '{}';

-- migrate:down
ALTER TABLE services DROP COLUMN place_languages, DROP COLUMN place_document;
