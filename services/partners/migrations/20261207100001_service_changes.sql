-- migrate:up
-- The transaction that last changed each service. Each process holds the directory in memory, and reads from this table the changes of the oldest transaction
-- that was running at its last read and of all later transactions, so that it misses none. A separate table, because with an indexed column in `services`,
-- each new room figure would have to be written into every index of `services`.
CREATE TABLE service_changes (
    service_id text PRIMARY KEY,
    changed    xid8 NOT NULL,
    number     bigint NOT NULL -- counts the changes of a service; of two versions that were read, the higher number is the later
);
CREATE INDEX service_changes_in_order ON service_changes (changed);

CREATE FUNCTION note_service_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO service_changes VALUES (coalesce(NEW.id, OLD.id), pg_current_xact_id(), 1)
    ON CONFLICT (service_id) DO UPDATE SET changed = excluded.changed, number = service_changes.number + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER services_change AFTER INSERT OR UPDATE OR DELETE ON services FOR EACH ROW EXECUTE FUNCTION note_service_change();

-- migrate:down
DROP TRIGGER services_change ON services;
DROP FUNCTION note_service_change;
DROP TABLE service_changes;
