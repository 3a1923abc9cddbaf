-- migrate:up
-- The order of the referrals that an organisation received, which does not show the receiver what
-- happened after a referral came back.
CREATE INDEX referrals_received_known ON referrals (receiver_organization_id, (coalesce(CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN NULL ELSE next_due_time END, 'infinity')),
    (CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN send_time ELSE update_time END) DESC, id);
DROP INDEX referrals_received;
CREATE INDEX referrals_received_newest ON referrals (receiver_organization_id,
    (CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN send_time ELSE update_time END) DESC);
DROP INDEX referrals_receiver_changed;

-- migrate:down
CREATE INDEX referrals_receiver_changed ON referrals (receiver_organization_id, update_time DESC);
CREATE INDEX referrals_received ON referrals (receiver_organization_id, (coalesce(CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN NULL ELSE next_due_time END, 'infinity')), update_time DESC, id);
DROP INDEX referrals_received_newest, referrals_received_known;
