-- migrate:up
-- Each process now looks up words and facts in its own memory, and reads services in the order of their names when it starts. Without the former search
-- indexes, each change of a service writes less.
DROP INDEX services_search;
DROP INDEX services_by_name;
CREATE INDEX services_by_name ON services (name_key, id);

-- migrate:down
DROP INDEX services_by_name;
CREATE INDEX services_by_name ON services (name_key, id) WHERE listed;
CREATE INDEX services_search ON services USING gin (document, facets) WHERE listed;
