-- migrate:up
-- The start times of guesses whose result is not recorded yet. They are reserved, so that parallel
-- guesses are all counted; a reservation expires when its call can't be running any more.
ALTER TABLE guesses ADD COLUMN under_way timestamptz[] NOT NULL DEFAULT '{}';

-- migrate:down
ALTER TABLE guesses DROP COLUMN under_way;
