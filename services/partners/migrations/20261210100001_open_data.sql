-- migrate:up
-- The time of the last change of a service's public data; update_time also reveals changes that are not public, such as its room.
ALTER TABLE services ADD COLUMN public_time timestamptz;
UPDATE services SET public_time = update_time;
ALTER TABLE services ALTER COLUMN public_time SET DEFAULT '-infinity', ALTER COLUMN public_time SET NOT NULL;
CREATE INDEX services_public ON services (id) WHERE public AND active;

-- The ids of our services and places in other directories, so that a repeated import finds them. `source_id`: the id there, or name and area if there is no id.
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
