-- migrate:up
-- A service's room figure at the beginning of the time step in which it last changed; other members see this figure of a shelter until that step ends.
ALTER TABLE services ADD COLUMN figure_before jsonb, ADD COLUMN figure_step timestamptz;
-- Members on probation do not find the other services of a shelter, unless these are public.
UPDATE services SET shelter = true FROM organizations AS o
    WHERE o.id = services.organization_id AND o.type = 'SHELTER' AND NOT services.shelter AND NOT services.public;

-- migrate:down
ALTER TABLE services DROP COLUMN figure_step, DROP COLUMN figure_before;
