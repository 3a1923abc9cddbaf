-- migrate:up
-- From now on, the outcome of a contact follows from its referrals. An existing open contact
-- becomes referred if it has referrals, and none of them is a draft or has an open need. Outcomes
-- that an operator set stay.
UPDATE contacts SET outcome_code = 'referred' WHERE outcome_code = 'open'
    AND EXISTS (SELECT FROM referrals WHERE contact_id = contacts.id AND state NOT IN ('draft', 'entered_in_error'))
    AND NOT EXISTS (SELECT FROM referrals WHERE contact_id = contacts.id AND (state = 'draft'
        OR (state IN ('declined', 'expired', 'not_delivered') AND need_close_reason_code = '' AND NOT EXISTS (
            SELECT FROM referrals AS next WHERE next.based_on_id = referrals.id AND next.sender_organization_id = referrals.sender_organization_id
            AND next.send_time IS NOT NULL AND next.state <> 'entered_in_error'))));

-- migrate:down
SELECT 1;
