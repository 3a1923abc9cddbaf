-- migrate:up
-- The words of names, for finding a file again within its own organisation: keyed hashes, another key for each organisation. See services/referrals/files/domain/names.py.
CREATE TABLE person_names (
    person_id       text NOT NULL REFERENCES people,
    organization_id text NOT NULL,
    mark            bytea NOT NULL,
    PRIMARY KEY (organization_id, mark, person_id)
);
CREATE INDEX person_names_person ON person_names (person_id);
ALTER TABLE person_names ENABLE ROW LEVEL SECURITY;
-- Not for a receiver, who sees the file while a referral to it is live.
CREATE POLICY person_names_scope ON person_names USING (scope_view() = 'system' OR organization_id = scope_organization());

-- By which rules a file's words were noted; 0: not yet, so the service does it in the background.
ALTER TABLE people ADD COLUMN names_form integer NOT NULL DEFAULT 0;
CREATE INDEX people_names_form ON people (names_form, id) WHERE NOT erased;

-- Whoever destroys her key destroys this with it, whichever way.
CREATE FUNCTION forget_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM person_names WHERE person_id = NEW.person_id;
    RETURN NEW;
END $$;
CREATE TRIGGER person_keys_destroyed AFTER UPDATE OF wrapped ON person_keys FOR EACH ROW WHEN (NEW.wrapped IS NULL) EXECUTE FUNCTION forget_names();

-- A referral by its code, see beginnings_of in services/referrals/network/domain/codes.py.
CREATE INDEX referrals_code ON referrals (left(id, 8));

-- migrate:down
DROP INDEX referrals_code;
DROP TRIGGER person_keys_destroyed ON person_keys;
DROP FUNCTION forget_names();
ALTER TABLE people DROP COLUMN names_form;
DROP TABLE person_names;
