-- migrate:up
-- Whether a service is a shelter, which to members on probation does not exist; known from the next fact of the service. A shelter says its room each day.
ALTER TABLE directory_services ADD COLUMN shelter boolean;

-- migrate:down
ALTER TABLE directory_services DROP COLUMN shelter;
