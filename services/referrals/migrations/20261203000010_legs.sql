-- migrate:up
-- A hand-over shows the country of each of its organisations. The country of a known organisation
-- arrives with its next fact.
ALTER TABLE members ADD COLUMN country text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE members DROP COLUMN country;
