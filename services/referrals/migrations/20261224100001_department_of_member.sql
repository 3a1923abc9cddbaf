-- migrate:up
-- In a country with several time zones, the department decides when it is night at a member. A member's own is known from
-- its next fact; until then, if all its services are in one department, it counts as the member's. The column is not called
-- department, since statements of the previous version join this table with one that has such a column.
ALTER TABLE members ADD COLUMN subdivision text NOT NULL DEFAULT '';
UPDATE members SET subdivision = known.department FROM (
    SELECT organization_id, min(department) AS department FROM directory_services
    GROUP BY organization_id HAVING count(DISTINCT department) = 1) AS known
    WHERE members.id = known.organization_id AND members.kind = 'organization';

-- migrate:down
ALTER TABLE members DROP COLUMN subdivision;
