-- migrate:up
-- When it is told that the consent ends on which a live referral stands. A row goes when that was told, or nothing stands on the consent any more.
CREATE TABLE renewals (
    referral_id text PRIMARY KEY REFERENCES referrals (id),
    next_time   timestamptz NOT NULL
);
CREATE INDEX renewals_next ON renewals (next_time);
ALTER TABLE renewals ENABLE ROW LEVEL SECURITY;
CREATE POLICY renewals_scope ON renewals USING (EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
INSERT INTO renewals (referral_id, next_time)
    SELECT referrals.id, until_time - least(interval '14 days', (until_time - receipts.create_time) / 2)
    FROM referrals JOIN receipts ON receipts.id = receipt_id
    WHERE state IN ('sent', 'acknowledged', 'info_requested', 'accepted', 'waitlisted', 'in_progress', 'completed') AND receipts.reason_code = '';

-- migrate:down
DROP TABLE renewals;
