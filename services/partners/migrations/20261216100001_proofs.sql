-- migrate:up
-- The time at which the user of a session last proved her identity; null: the start of the session.
ALTER TABLE sessions ADD COLUMN prove_time timestamptz;
-- For the list of what a worker made lately.
CREATE INDEX invitations_by_inviter ON invitations (invited_by_worker_id, create_time);

-- migrate:down
DROP INDEX invitations_by_inviter;
ALTER TABLE sessions DROP COLUMN prove_time;
