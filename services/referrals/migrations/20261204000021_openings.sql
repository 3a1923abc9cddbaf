-- migrate:up
-- A worker's recent accesses, for her quota (services/referrals/files/domain/openings.py lists the
-- actions).
CREATE INDEX audit_openings ON audit (actor_id, time) WHERE allowed AND action IN ('open_identity', 'read_notes', 'read_safe_contact', 'read_contact');

-- migrate:down
DROP INDEX audit_openings;
