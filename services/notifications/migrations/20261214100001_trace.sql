-- migrate:up
-- Which request a delivery goes back to (chassis/trace.py); of the transaction that writes it.
ALTER TABLE deliveries ADD COLUMN trace text NOT NULL DEFAULT coalesce(current_setting('enlace.trace', true), '');

-- migrate:down
ALTER TABLE deliveries DROP COLUMN trace;
