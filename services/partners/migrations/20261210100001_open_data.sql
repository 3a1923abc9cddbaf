-- migrate:up
-- When what anybody may read of a service last changed: update_time tells of what fewer may see, too (its room, who works there).
ALTER TABLE services ADD COLUMN public_time timestamptz;
UPDATE services SET public_time = update_time;
ALTER TABLE services ALTER COLUMN public_time SET DEFAULT '-infinity', ALTER COLUMN public_time SET NOT NULL;
CREATE INDEX services_public ON services (id) WHERE public AND active;

-- What another directory calls something of ours: the same file once more finds it again. `source_id` is its id there, or name and area where it has none.
CREATE TABLE imported_ids (
    organization_id text NOT NULL REFERENCES organizations,
    kind            text NOT NULL, -- service, location
    source_id       text NOT NULL,
    id              text NOT NULL,
    PRIMARY KEY (organization_id, kind, source_id)
);
CREATE INDEX imported_ids_of ON imported_ids (id);

-- migrate:down
DROP TABLE imported_ids;
DROP INDEX services_public;
ALTER TABLE services DROP COLUMN public_time;
