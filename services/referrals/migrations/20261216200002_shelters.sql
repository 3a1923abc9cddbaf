-- migrate:up
-- Whether a service is a shelter; known from the service's next fact, which for a shelter comes
-- within a day (its free beds). Shelters of other members are hidden from members on probation.
ALTER TABLE directory_services ADD COLUMN shelter boolean;

-- migrate:down
ALTER TABLE directory_services DROP COLUMN shelter;
