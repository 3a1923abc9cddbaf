-- migrate:up
-- The version that members see counts only the changes that they see: a gap between two of its
-- numbers would show that the coordinators had proposed something in between.
CREATE OR REPLACE FUNCTION note_seen_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.seen_version = CASE TG_OP WHEN 'INSERT' THEN NEW.version ELSE OLD.seen_version + 1 END;
    NEW.seen_time = NEW.update_time;
    RETURN NEW;
END $$;

-- migrate:down
CREATE OR REPLACE FUNCTION note_seen_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.seen_version = NEW.version;
    NEW.seen_time = NEW.update_time;
    RETURN NEW;
END $$;
