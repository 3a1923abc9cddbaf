-- migrate:up
-- Announces each access that the search for anomalies judges (READING in
-- services/referrals/files/domain/openings.py), so that the search sends no statement while there
-- is none.
CREATE FUNCTION announce_opening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('openings', '');
    RETURN NULL;
END $$;
CREATE TRIGGER audit_opening AFTER INSERT ON audit FOR EACH ROW
    WHEN (NEW.action IN ('open_identity', 'read_notes', 'read_safe_contact', 'read_contact') AND NEW.actor_kind IN ('worker', 'key'))
    EXECUTE FUNCTION announce_opening();

-- migrate:down
DROP TRIGGER audit_opening ON audit;
DROP FUNCTION announce_opening;
