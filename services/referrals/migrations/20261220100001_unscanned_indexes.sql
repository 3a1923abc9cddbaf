-- migrate:up
-- Every step of a referral writes an entry into each index of its row and of its deadlines, so
-- unneeded indexes are dropped. The next deadline is the first of each rank (clocks_due). The
-- referrals of a receipt are found among those of its person (referrals_person). Similar live
-- referrals are counted among those with something left to do (referrals_open).
DROP INDEX clocks_next, referrals_receipt, referrals_live_alike;
-- A worker who leaves is replaced only in referrals that are still going on.
CREATE INDEX referrals_answered_for ON referrals (responsible_worker_id)
    WHERE responsible_worker_id <> '' AND state IN ('accepted', 'in_progress', 'completed');
DROP INDEX referrals_responsible;

-- migrate:down
CREATE INDEX referrals_responsible ON referrals (responsible_worker_id) WHERE responsible_worker_id <> '';
DROP INDEX referrals_answered_for;
CREATE INDEX referrals_live_alike ON referrals (country, department, age_band, gender_code)
    WHERE state IN ('sent', 'acknowledged', 'info_requested', 'accepted', 'waitlisted', 'in_progress', 'completed');
CREATE INDEX referrals_receipt ON referrals (receipt_id) WHERE receipt_id <> '';
CREATE INDEX clocks_next ON clocks (next_time) WHERE next_time IS NOT NULL;
