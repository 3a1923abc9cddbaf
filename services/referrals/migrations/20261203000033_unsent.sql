-- migrate:up
-- A referral that was never sent is visible only to its sender, even if it ended as an error. The
-- earlier condition on the state showed such a referral to its intended receiver.
ALTER POLICY referrals_scope ON referrals USING (
    scope_view() = 'system'
    OR (scope_view() = 'coordinator' AND send_time IS NOT NULL)
    OR sender_organization_id = scope_organization()
    OR (receiver_organization_id = scope_organization() AND send_time IS NOT NULL)
);

-- migrate:down
ALTER POLICY referrals_scope ON referrals USING (
    scope_view() = 'system'
    OR (scope_view() = 'coordinator' AND state <> 'draft')
    OR sender_organization_id = scope_organization()
    OR (receiver_organization_id = scope_organization() AND state <> 'draft')
);
