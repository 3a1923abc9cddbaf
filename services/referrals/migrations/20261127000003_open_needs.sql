-- migrate:up
-- Why nobody looks for another service any more for somebody whose referral came back without help; empty: nobody said so.
ALTER TABLE referrals ADD COLUMN need_close_reason_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE referrals DROP COLUMN need_close_reason_code;
