-- migrate:up
-- What was never sent is its sender's alone, also when it ended as an error: by its state alone whom it would have gone to could read it.
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
