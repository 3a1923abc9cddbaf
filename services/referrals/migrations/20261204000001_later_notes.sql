-- migrate:up
-- A caller keeps her reference when she calls again, on any line: her later contacts are tied to
-- the first contact, to which the reference belongs.
ALTER TABLE contacts ADD COLUMN tied_to_id text NOT NULL DEFAULT '', ADD COLUMN unheard boolean NOT NULL DEFAULT false;
CREATE INDEX contacts_person ON contacts (person_id) WHERE person_id <> '';
CREATE INDEX contacts_tied ON contacts (tied_to_id) WHERE tied_to_id <> '';
-- Notes that she adds later with her reference, one copy for each contact, so that each line reads
-- its own. `person_id`: the person whose key sealed the note; empty if the service's key did.
CREATE TABLE contact_notes (
    contact_id text NOT NULL REFERENCES contacts,
    number     integer NOT NULL,
    person_id  text NOT NULL,
    time       timestamptz NOT NULL,
    sealed     bytea NOT NULL,
    id         text NOT NULL UNIQUE GENERATED ALWAYS AS (contact_id || '/' || number::text) STORED, -- as in the context of its seal
    PRIMARY KEY (contact_id, number)
);
ALTER TABLE contact_notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY contact_notes_scope ON contact_notes
    USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM contacts WHERE contacts.id = contact_id));

-- migrate:down
DROP TABLE contact_notes;
DROP INDEX contacts_tied, contacts_person;
ALTER TABLE contacts DROP COLUMN unheard, DROP COLUMN tied_to_id;
