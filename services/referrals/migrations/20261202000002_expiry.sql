-- migrate:up
-- A referral that was escalated and is still undecided expires after twice its time to decide, even
-- if it was sent before this migration.
UPDATE clocks SET next_time = start_time + (due_time - start_time) * 2
    WHERE kind = 'decide' AND fired_percent = 150 AND stop_time IS NULL AND pause_time IS NULL;
-- An open question gets a deadline that begins now.
WITH asked AS (
    SELECT r.id, (SELECT max(number) + 1 FROM clocks c WHERE c.referral_id = r.id) AS number,
        CASE r.urgency WHEN 'immediate' THEN interval '15 minutes' WHEN 'emergency' THEN interval '1 hour' WHEN 'urgent' THEN interval '24 hours'
            ELSE interval '2 days' END AS span
    FROM referrals r WHERE r.state = 'info_requested'
), started AS (
    INSERT INTO clocks (referral_id, number, kind, start_time, due_time, fired_percent, next_time)
        SELECT id, number, 'answer', now(), now() + span, 0, now() + span / 2 FROM asked RETURNING referral_id, due_time
)
UPDATE referrals SET next_due_time = least(next_due_time, started.due_time) FROM started WHERE started.referral_id = referrals.id;

-- migrate:down
DELETE FROM clocks WHERE kind = 'answer';
