-- migrate:up
-- A letter may be about somebody's own account, too: `kind` says what it says, and `invitation_id` is then the id of that notice.
ALTER TABLE letters ADD COLUMN kind text NOT NULL DEFAULT 'invitation';

-- migrate:down
DELETE FROM letters WHERE kind <> 'invitation';
ALTER TABLE letters DROP COLUMN kind;
