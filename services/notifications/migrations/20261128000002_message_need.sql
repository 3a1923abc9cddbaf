-- migrate:up
-- A row of the inbox says what it is about without the referral being opened. Messages from before say nothing of it.
ALTER TABLE messages ADD COLUMN need_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE messages DROP COLUMN need_code;
