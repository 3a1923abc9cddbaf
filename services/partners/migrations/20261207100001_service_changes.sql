-- migrate:up
-- Which transaction changed a service last, whoever wrote it. Each process keeps the directory as matching needs it, and reads here what became of it
-- since the oldest transaction that was under way when it last looked: what was committed before that it has, and nothing is missed. A table of its own, for
-- an indexed column of services would have each new figure of room write into every index of theirs.
CREATE TABLE service_changes (
    service_id text PRIMARY KEY,
    changed    xid8 NOT NULL,
    number     bigint NOT NULL -- of the change: of two that were read at once the later one
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
