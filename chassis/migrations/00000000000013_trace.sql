-- migrate:up
-- The id of the request that caused a fact (chassis/trace.py). By default it comes from the
-- transaction that writes the fact.
ALTER TABLE outbox ADD COLUMN trace text NOT NULL DEFAULT coalesce(current_setting('enlace.trace', true), '');
ALTER TABLE inbox_parked ADD COLUMN trace text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE inbox_parked DROP COLUMN trace;
ALTER TABLE outbox DROP COLUMN trace;
