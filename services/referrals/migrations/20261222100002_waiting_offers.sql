-- migrate:up
-- An offer that was taken waited for ever once its asker had been reminded; now it lapses.
UPDATE enquiries SET due_time = now() WHERE state = 'matched' AND referral_id = '' AND due_time IS NULL;

-- migrate:down
