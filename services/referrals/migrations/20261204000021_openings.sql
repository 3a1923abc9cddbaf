-- migrate:up
-- What a worker looked at lately, for her quota: the acts are those of services/referrals/files/domain/openings.py.
CREATE INDEX audit_openings ON audit (actor_id, time) WHERE allowed AND action IN ('open_identity', 'read_notes', 'read_safe_contact', 'read_contact');

-- migrate:down
DROP INDEX audit_openings;
