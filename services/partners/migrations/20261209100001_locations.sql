-- migrate:up
-- Places of services (HSDS location, service_at_location), hours, areas, and the history of entries.

ALTER TABLE services
    ADD COLUMN takes_pregnant       boolean,
    ADD COLUMN takes_with_addiction boolean,
    ADD COLUMN takes_without_papers boolean,
    ADD COLUMN maximum_age_of_boys  integer,
    ADD COLUMN schedules            jsonb   NOT NULL DEFAULT '[]',
    ADD COLUMN area_codes           text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN accessibility        text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN public               boolean NOT NULL DEFAULT false,
    ADD COLUMN tiers                jsonb   NOT NULL DEFAULT '{}',
    -- The opening hours computed from the schedules of the service and its places; NULL if none is stated. The sweeper extends them before `open_until`.
    ADD COLUMN open_hours           tstzmultirange,
    ADD COLUMN open_until           timestamptz,
    ADD CONSTRAINT public_is_not_hidden CHECK (NOT (public AND (confidential OR shelter)));
CREATE INDEX services_open_until ON services (open_until) WHERE open_until IS NOT NULL;

CREATE TABLE locations (
    id              text        PRIMARY KEY,
    version         bigint      NOT NULL,
    organization_id text        NOT NULL REFERENCES organizations,
    name            text        NOT NULL,
    country         text        NOT NULL,
    department      text        NOT NULL,
    area_code       text        NOT NULL,
    address         text        NOT NULL,
    latitude        double precision,
    longitude       double precision,
    transportation  text        NOT NULL,
    accessibility   text[]      NOT NULL,
    confidential    boolean     NOT NULL,
    secret          bytea, -- the address of a confidential place and the directions to it, sealed
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL,
    CONSTRAINT nothing_leads_there CHECK (
        NOT confidential OR (address = '' AND transportation = '' AND area_code = '' AND latitude IS NULL AND longitude IS NULL)
    )
);
CREATE INDEX locations_by_point ON locations (latitude, longitude) WHERE NOT confidential AND latitude IS NOT NULL;
CREATE INDEX locations_of_organization ON locations (organization_id, create_time, id);

CREATE TABLE service_at_locations (
    id          text   PRIMARY KEY,
    service_id  text   NOT NULL REFERENCES services,
    location_id text   NOT NULL REFERENCES locations,
    phones      jsonb  NOT NULL,
    contacts    jsonb  NOT NULL,
    schedules   jsonb  NOT NULL,
    languages   text[] NOT NULL,
    UNIQUE (service_id, location_id)
);
CREATE INDEX service_at_locations_of_location ON service_at_locations (location_id);

-- Grants for one worker of a referral's sender to open the address of the service that accepted it.
CREATE TABLE address_grants (
    referral_id     text        PRIMARY KEY,
    service_id      text        NOT NULL,
    organization_id text        NOT NULL,
    grant_time      timestamptz NOT NULL,
    end_time        timestamptz,
    open_time       timestamptz,
    worker_id       text        NOT NULL DEFAULT ''
);

CREATE TABLE field_changes (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_id      text        NOT NULL,
    organization_id text        NOT NULL,
    field           text        NOT NULL,
    change_time     timestamptz NOT NULL,
    worker_id       text        NOT NULL,
    old_value       jsonb,
    new_value       jsonb
);
CREATE INDEX field_changes_of_subject ON field_changes (subject_id, id DESC);

-- migrate:down
DROP TABLE field_changes, address_grants, service_at_locations, locations;
ALTER TABLE services
    DROP COLUMN takes_pregnant, DROP COLUMN takes_with_addiction, DROP COLUMN takes_without_papers, DROP COLUMN maximum_age_of_boys,
    DROP COLUMN schedules, DROP COLUMN area_codes, DROP COLUMN accessibility, DROP COLUMN public, DROP COLUMN tiers, DROP COLUMN open_hours,
    DROP COLUMN open_until;
