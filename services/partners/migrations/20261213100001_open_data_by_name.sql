-- migrate:up
-- For pages of the public directory ordered by name, without reading services that are not public.
CREATE INDEX services_public_by_name ON services (name_key, id) WHERE public AND active;

-- migrate:down
DROP INDEX services_public_by_name;
