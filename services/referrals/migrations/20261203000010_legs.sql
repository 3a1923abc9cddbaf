-- migrate:up
-- A hand-over shows in which country each of its organisations is. Of one that is here already it is heard with its next fact.
ALTER TABLE members ADD COLUMN country text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE members DROP COLUMN country;
