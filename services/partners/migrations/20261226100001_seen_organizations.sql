-- migrate:up
-- The version and time of the last change that members see of an organisation. Proposals of the
-- coordinators, such as a suspension, do not count: a front organisation must not see them in its
-- own entry. The version counts only the changes that members see: a gap between two of its numbers
-- would show that the coordinators had proposed something in between.
ALTER TABLE organizations ADD COLUMN seen_version bigint, ADD COLUMN seen_time timestamptz;
UPDATE organizations SET seen_version = version, seen_time = update_time;
CREATE FUNCTION note_seen_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.seen_version = CASE TG_OP WHEN 'INSERT' THEN NEW.version ELSE OLD.seen_version + 1 END;
    NEW.seen_time = NEW.update_time;
    RETURN NEW;
END $$;
CREATE TRIGGER organizations_seen_first BEFORE INSERT ON organizations FOR EACH ROW
    EXECUTE FUNCTION note_seen_organization();
CREATE TRIGGER organizations_seen BEFORE UPDATE ON organizations FOR EACH ROW
    WHEN ((OLD.status, OLD.name, OLD.type, OLD.country, OLD.department, OLD.phone, OLD.url,
           OLD.languages, OLD.description, OLD.hotline_number, OLD.agreement_expire_date)
        IS DISTINCT FROM (NEW.status, NEW.name, NEW.type, NEW.country, NEW.department, NEW.phone,
           NEW.url, NEW.languages, NEW.description, NEW.hotline_number, NEW.agreement_expire_date))
    EXECUTE FUNCTION note_seen_organization();

-- migrate:down
DROP TRIGGER organizations_seen ON organizations;
DROP TRIGGER organizations_seen_first ON organizations;
DROP FUNCTION note_seen_organization;
ALTER TABLE organizations DROP COLUMN seen_version, DROP COLUMN seen_time;
