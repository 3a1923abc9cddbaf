-- migrate:up
-- For the searches of an auditor; the search by object has an index already.
CREATE INDEX audit_actor ON audit (actor_id, sequence DESC);
CREATE INDEX audit_organization ON audit (organization_id, sequence DESC);
CREATE INDEX audit_time ON audit USING brin (time);

-- migrate:down
DROP INDEX audit_time, audit_organization, audit_actor;
