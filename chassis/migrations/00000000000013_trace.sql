-- migrate:up
-- Which request a fact goes back to (chassis/trace.py); of the transaction that writes it, so that nobody who writes a fact has to say so.
ALTER TABLE outbox ADD COLUMN trace text NOT NULL DEFAULT coalesce(current_setting('enlace.trace', true), '');
ALTER TABLE inbox_parked ADD COLUMN trace text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE inbox_parked DROP COLUMN trace;
ALTER TABLE outbox DROP COLUMN trace;
