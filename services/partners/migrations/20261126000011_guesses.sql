-- migrate:up
-- Wrong passwords are counted in `guesses`. The version before counts here until it is gone, so the table goes with the next release.
TRUNCATE attempts;

-- migrate:down
SELECT 1;
