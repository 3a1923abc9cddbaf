-- migrate:up
ALTER TABLE messages ADD COLUMN enquiry_id text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE messages DROP COLUMN enquiry_id;
