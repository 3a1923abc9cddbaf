-- migrate:up
-- When guesses began whose comparison has not been noted yet: reserved, so that many at once are all counted, and void when no call can last so long.
ALTER TABLE guesses ADD COLUMN under_way timestamptz[] NOT NULL DEFAULT '{}';

-- migrate:down
ALTER TABLE guesses DROP COLUMN under_way;
