-- migrate:up
-- The words of names, by which an organisation finds a file again: keyed hashes, with a different
-- key for each organisation (services/referrals/files/domain/names.py).
CREATE TABLE person_names (
    person_id       text NOT NULL REFERENCES people,
    organization_id text NOT NULL,
    mark            bytea NOT NULL,
    PRIMARY KEY (organization_id, mark, person_id)
);
CREATE INDEX person_names_person ON person_names (person_id);
ALTER TABLE person_names ENABLE ROW LEVEL SECURITY;
-- A receiver of a live referral sees the file, but not these words.
CREATE POLICY person_names_scope ON person_names USING (scope_view() = 'system' OR organization_id = scope_organization());

-- The version of the rules by which a file's words were stored; 0: not stored yet, so the service
-- stores them in the background.
ALTER TABLE people ADD COLUMN names_form integer NOT NULL DEFAULT 0;
CREATE INDEX people_names_form ON people (names_form, id) WHERE NOT erased;

-- When a person's key is destroyed, in whatever way, these words are deleted, too.
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
