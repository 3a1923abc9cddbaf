-- migrate:up
-- The searched words of a service's open places. They were read from the places at each start.
ALTER TABLE services ADD COLUMN place_document tsvector NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE services DROP COLUMN place_document;
