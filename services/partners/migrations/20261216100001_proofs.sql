-- migrate:up
-- When who holds a session last proved in it who she is. Without it: when it began.
ALTER TABLE sessions ADD COLUMN prove_time timestamptz;
-- What somebody made lately is looked up by who made it.
CREATE INDEX invitations_by_inviter ON invitations (invited_by_worker_id, create_time);

-- migrate:down
DROP INDEX invitations_by_inviter;
ALTER TABLE sessions DROP COLUMN prove_time;
