-- migrate:up
-- How a service's figure of room was when the step of time began in which it last changed: what others see of a shelter until that step ends.
ALTER TABLE services ADD COLUMN figure_before jsonb, ADD COLUMN figure_step timestamptz;
-- What a shelter offers beside its beds is no service for members on probation, unless anybody may find it.
UPDATE services SET shelter = true FROM organizations AS o
    WHERE o.id = services.organization_id AND o.type = 'SHELTER' AND NOT services.shelter AND NOT services.public;

-- migrate:down
ALTER TABLE services DROP COLUMN figure_step, DROP COLUMN figure_before;
