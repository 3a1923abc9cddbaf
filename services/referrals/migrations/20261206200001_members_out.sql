-- migrate:up
-- Members that are suspended or have left: few among all that were heard of, and asked for by each look at what can't wait.
CREATE INDEX members_out ON members (id) WHERE kind = 'organization' AND NOT active;

-- migrate:down
DROP INDEX members_out;
