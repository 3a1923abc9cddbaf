-- migrate:up
-- How many people a service has taken in beyond its stated free places; its figure stays at zero meanwhile.
ALTER TABLE services ADD COLUMN overfull integer NOT NULL DEFAULT 0;

-- migrate:down
ALTER TABLE services DROP COLUMN overfull;
