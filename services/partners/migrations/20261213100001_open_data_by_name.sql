-- migrate:up
-- Pages of the public directory go by name, and no step on the way looks at what fewer may see.
CREATE INDEX services_public_by_name ON services (name_key, id) WHERE public AND active;

-- migrate:down
DROP INDEX services_public_by_name;
