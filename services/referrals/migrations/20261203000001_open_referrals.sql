-- migrate:up
-- A referral that came back before this kind of deadline existed gets one: from now on, a need is
-- open exactly while such a deadline runs.
WITH lost AS (
    SELECT r.id, coalesce((SELECT max(number) + 1 FROM clocks c WHERE c.referral_id = r.id), 0) AS number
    FROM referrals r WHERE r.state IN ('declined', 'expired', 'not_delivered', 'rerouted') AND r.need_close_reason_code = '' AND r.next_due_time IS NULL
        AND NOT EXISTS (SELECT FROM referrals AS next WHERE next.based_on_id = r.id AND next.sender_organization_id = r.sender_organization_id
            AND next.state <> 'entered_in_error' AND next.send_time IS NOT NULL)
), started AS (
    INSERT INTO clocks (referral_id, number, kind, start_time, due_time, fired_percent, next_time)
        SELECT id, number, 'replace', now(), now() + interval '24 hours', 0, now() + interval '12 hours' FROM lost RETURNING referral_id, due_time
)
UPDATE referrals SET next_due_time = started.due_time FROM started WHERE started.referral_id = referrals.id;
-- A referral that was followed before it came back has no open need, but its deadline was started.
-- That deadline is stopped.
WITH followed AS (
    SELECT r.id FROM referrals r WHERE r.state IN ('declined', 'expired', 'not_delivered', 'rerouted') AND r.next_due_time IS NOT NULL
        AND EXISTS (SELECT FROM referrals AS next WHERE next.based_on_id = r.id AND next.sender_organization_id = r.sender_organization_id
            AND next.state <> 'entered_in_error' AND next.send_time IS NOT NULL)
), stopped AS (
    UPDATE clocks SET stop_time = now(), next_time = NULL FROM followed WHERE referral_id = followed.id AND kind = 'replace' AND stop_time IS NULL
)
UPDATE referrals SET next_due_time = NULL FROM followed WHERE followed.id = referrals.id;

-- Pages count and list referrals with something left to do, among all there ever were: drafts, live
-- referrals, open needs, deletions to be confirmed.
CREATE INDEX referrals_open_sender ON referrals (sender_organization_id) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL;
CREATE INDEX referrals_open_receiver ON referrals (receiver_organization_id) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL;
CREATE INDEX referrals_open ON referrals (next_due_time) WHERE state IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted',
    'waitlisted', 'in_progress', 'completed') OR next_due_time IS NOT NULL;

-- The order of the referrals that an organisation received, as it may know it: for a receiver, a
-- referral that came back is over.
CREATE INDEX referrals_received ON referrals (receiver_organization_id, (coalesce(CASE WHEN state IN ('declined', 'expired', 'not_delivered', 'rerouted')
    AND sender_organization_id <> receiver_organization_id THEN NULL ELSE next_due_time END, 'infinity')), update_time DESC, id);
DROP INDEX referrals_receiver;

-- Response times cover the last thirty days. A referral that was sent in this period can only have
-- been answered in it.
CREATE INDEX referrals_sent ON referrals (send_time) WHERE send_time IS NOT NULL;
CREATE INDEX referral_events_answered ON referral_events (time)
    WHERE verb IN ('acknowledged', 'info_requested', 'accepted', 'waitlisted', 'declined');

-- A referral is found by its code with ranges of ids: under row-level security, no index on a
-- function of a column is used.
DROP INDEX referrals_code;

-- As before, but the service itself, which sees every referral, need not look each one up.
ALTER POLICY clocks_scope ON clocks USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
ALTER POLICY events_scope ON referral_events USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));

-- migrate:down
ALTER POLICY events_scope ON referral_events USING (EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
ALTER POLICY clocks_scope ON clocks USING (EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
CREATE INDEX referrals_code ON referrals (left(id, 8));
DROP INDEX referral_events_answered, referrals_sent, referrals_received, referrals_open, referrals_open_receiver, referrals_open_sender;
CREATE INDEX referrals_receiver ON referrals (receiver_organization_id, (coalesce(next_due_time, 'infinity')), update_time DESC, id);
