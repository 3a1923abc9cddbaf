-- migrate:up
-- The trace of the request that caused the delivery (chassis/trace.py), by default that of the writing transaction.
ALTER TABLE deliveries ADD COLUMN trace text NOT NULL DEFAULT coalesce(current_setting('enlace.trace', true), '');

-- migrate:down
ALTER TABLE deliveries DROP COLUMN trace;
