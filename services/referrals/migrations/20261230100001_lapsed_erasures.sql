-- migrate:up
-- Whether the file's organisation and the coordinators were told that nobody confirmed the proposal in time.
ALTER TABLE erasures ADD COLUMN lapsed boolean NOT NULL DEFAULT false;

-- migrate:down
ALTER TABLE erasures DROP COLUMN lapsed;
