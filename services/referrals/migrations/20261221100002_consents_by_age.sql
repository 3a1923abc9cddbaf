-- migrate:up
-- A consent that somebody else gave for a child is checked each week from now on, since it may end by her age.
UPDATE renewals SET next_time = least(next_time, now()) FROM referrals r JOIN receipts c ON c.id = r.receipt_id
    WHERE r.id = renewals.referral_id AND c.giver_code NOT IN ('', 'person');

-- migrate:down
