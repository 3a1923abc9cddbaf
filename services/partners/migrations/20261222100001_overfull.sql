-- migrate:up
-- How many people more than the stated free places a service has taken in; its figure stays at zero for them.
ALTER TABLE services ADD COLUMN overfull integer NOT NULL DEFAULT 0;

-- migrate:down
ALTER TABLE services DROP COLUMN overfull;
