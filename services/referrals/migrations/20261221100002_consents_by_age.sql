-- migrate:up
-- From now on, a consent that somebody else gave for a child is checked every week, since her age
-- may end it.
UPDATE renewals SET next_time = least(next_time, now()) FROM referrals r JOIN receipts c ON c.id = r.receipt_id
    WHERE r.id = renewals.referral_id AND c.giver_code NOT IN ('', 'person');

-- migrate:down
