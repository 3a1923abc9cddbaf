-- migrate:up
-- The Today page asks for the open contacts of a line, which are few among all its contacts.
CREATE INDEX contacts_open ON contacts (organization_id, create_time DESC, id) WHERE outcome_code = 'open';

-- migrate:down
DROP INDEX contacts_open;
