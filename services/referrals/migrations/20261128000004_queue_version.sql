-- migrate:up
-- Open pages ask every few seconds whether anything has changed; the answer depends on the rows
-- that changed last.
CREATE INDEX referrals_sender_changed ON referrals (sender_organization_id, update_time DESC);
CREATE INDEX referrals_receiver_changed ON referrals (receiver_organization_id, update_time DESC);
CREATE INDEX referrals_changed ON referrals (update_time DESC);
CREATE INDEX contacts_changed ON contacts (organization_id, update_time DESC);

-- migrate:down
DROP INDEX contacts_changed, referrals_changed, referrals_receiver_changed, referrals_sender_changed;
