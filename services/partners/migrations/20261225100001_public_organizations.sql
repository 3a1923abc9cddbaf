-- migrate:up
-- The open data shows each service with its organisation, and only while the organisation is approved.
-- So a change to the public data of an organisation is a change to its public services.
CREATE FUNCTION touch_public_services() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- locked in the order in which every writer locks services
    PERFORM FROM services WHERE organization_id = NEW.id AND public ORDER BY id FOR UPDATE;
    UPDATE services SET public_time = NEW.update_time WHERE organization_id = NEW.id AND public;
    RETURN NULL;
END $$;
CREATE TRIGGER organizations_touch_public_services AFTER UPDATE ON organizations FOR EACH ROW
    WHEN ((OLD.status = 'APPROVED', OLD.name, OLD.type, OLD.country, OLD.department, OLD.phone,
           OLD.url, OLD.languages, OLD.description, OLD.hotline_number)
        IS DISTINCT FROM (NEW.status = 'APPROVED', NEW.name, NEW.type, NEW.country, NEW.department,
           NEW.phone, NEW.url, NEW.languages, NEW.description, NEW.hotline_number))
    EXECUTE FUNCTION touch_public_services();

-- migrate:down
DROP TRIGGER organizations_touch_public_services ON organizations;
DROP FUNCTION touch_public_services;
