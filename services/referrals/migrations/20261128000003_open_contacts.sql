-- migrate:up
-- The open contacts of a line are asked for at each look at Today, among all it ever had.
CREATE INDEX contacts_open ON contacts (organization_id, create_time DESC, id) WHERE outcome_code = 'open';

-- migrate:down
DROP INDEX contacts_open;
