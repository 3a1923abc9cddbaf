-- migrate:up
-- A referral that came back has something left to do while its receiver has data to delete. The old indexes are dropped last, so that readers do not wait.
CREATE INDEX referrals_to_do_sender ON referrals (sender_organization_id) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL OR deletion_due_time IS NOT NULL;
CREATE INDEX referrals_to_do_receiver ON referrals (receiver_organization_id) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL OR deletion_due_time IS NOT NULL;
CREATE INDEX referrals_to_do ON referrals (next_due_time) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL OR deletion_due_time IS NOT NULL;
CREATE INDEX referrals_received_due ON referrals (receiver_organization_id, (coalesce(CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN deletion_due_time ELSE next_due_time END, 'infinity')),
    (CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN send_time ELSE update_time END) DESC, id);
DROP INDEX referrals_open_sender, referrals_open_receiver, referrals_open, referrals_received_known;

-- migrate:down
CREATE INDEX referrals_open_sender ON referrals (sender_organization_id) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL;
CREATE INDEX referrals_open_receiver ON referrals (receiver_organization_id) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL;
CREATE INDEX referrals_open ON referrals (next_due_time) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL;
CREATE INDEX referrals_received_known ON referrals (receiver_organization_id, (coalesce(CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN NULL ELSE next_due_time END, 'infinity')),
    (CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN send_time ELSE update_time END) DESC, id);
DROP INDEX referrals_to_do_sender, referrals_to_do_receiver, referrals_to_do, referrals_received_due;
