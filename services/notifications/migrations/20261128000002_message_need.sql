-- migrate:up
-- The need, so that the inbox can show it without opening the referral; empty for older messages.
ALTER TABLE messages ADD COLUMN need_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE messages DROP COLUMN need_code;
