-- migrate:up
-- Wrong passwords are now counted in `guesses`. The previous version still counts here while it runs, so the next release drops the table.
TRUNCATE attempts;

-- migrate:down
SELECT 1;
