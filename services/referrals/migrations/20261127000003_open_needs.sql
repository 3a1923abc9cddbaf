-- migrate:up
-- Why the need of a person whose referral came back without help was closed; empty if nobody closed
-- it.
ALTER TABLE referrals ADD COLUMN need_close_reason_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE referrals DROP COLUMN need_close_reason_code;
