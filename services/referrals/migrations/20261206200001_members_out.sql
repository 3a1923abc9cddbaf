-- migrate:up
-- Members that are suspended or have left: few among all members, and read by every query for
-- pressing referrals.
CREATE INDEX members_out ON members (id) WHERE kind = 'organization' AND NOT active;

-- migrate:down
DROP INDEX members_out;
