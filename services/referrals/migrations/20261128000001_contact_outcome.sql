-- migrate:up
-- From now on a contact follows what was asked for in its name. Those from before whose referrals are all on their way, and none of them waits for its
-- sender as a draft or as an open need, stand as referred; what an operator wrote stays.
UPDATE contacts SET outcome_code = 'referred' WHERE outcome_code = 'open'
    AND EXISTS (SELECT FROM referrals WHERE contact_id = contacts.id AND state NOT IN ('draft', 'entered_in_error'))
    AND NOT EXISTS (SELECT FROM referrals WHERE contact_id = contacts.id AND (state = 'draft'
        OR (state IN ('declined', 'expired', 'not_delivered') AND need_close_reason_code = '' AND NOT EXISTS (
            SELECT FROM referrals AS next WHERE next.based_on_id = referrals.id AND next.sender_organization_id = referrals.sender_organization_id
            AND next.send_time IS NOT NULL AND next.state <> 'entered_in_error'))));

-- migrate:down
SELECT 1;
