-- migrate:up
-- The time to report that the consent of a live referral ends soon. A row is deleted once this was
-- reported, or once the consent no longer matters.
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
