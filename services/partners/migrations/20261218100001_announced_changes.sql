-- migrate:up
-- Notifies the processes that hold the directory in memory of each change, so that they query only after a change. PostgreSQL sends equal notifications of
-- one transaction once.
CREATE OR REPLACE FUNCTION note_service_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO service_changes VALUES (coalesce(NEW.id, OLD.id), pg_current_xact_id(), 1)
    ON CONFLICT (service_id) DO UPDATE SET changed = excluded.changed, number = service_changes.number + 1;
    PERFORM pg_notify('service_changes', '');
    RETURN NULL;
END $$;

-- migrate:down
CREATE OR REPLACE FUNCTION note_service_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO service_changes VALUES (coalesce(NEW.id, OLD.id), pg_current_xact_id(), 1)
    ON CONFLICT (service_id) DO UPDATE SET changed = excluded.changed, number = service_changes.number + 1;
    RETURN NULL;
END $$;
