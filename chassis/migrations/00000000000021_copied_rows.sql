-- migrate:up
-- A copied row of the trail has the time of its original: its mark covers the time.
CREATE INDEX audit_copies ON audit (time);

-- migrate:down
DROP INDEX audit_copies;
