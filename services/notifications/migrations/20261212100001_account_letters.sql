-- migrate:up
-- A letter may be about a worker's own account: `kind` is then the kind of the notice, and `invitation_id` the id of the notice.
ALTER TABLE letters ADD COLUMN kind text NOT NULL DEFAULT 'invitation';

-- migrate:down
DELETE FROM letters WHERE kind <> 'invitation';
ALTER TABLE letters DROP COLUMN kind;
