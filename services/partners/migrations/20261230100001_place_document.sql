-- migrate:up
-- The searched words and languages of a service's open places. They were read from the places at each start.
ALTER TABLE services ADD COLUMN place_document tsvector NOT NULL DEFAULT '',
    ADD COLUMN place_languages text[] NOT NULL DEFAULT '{}';

-- migrate:down
ALTER TABLE services DROP COLUMN place_languages, DROP COLUMN place_document;
