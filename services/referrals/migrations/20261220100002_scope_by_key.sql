-- migrate:up
-- The row that decides who sees another row is looked up by its key. Without OFFSET 0 the planner may instead read every referral that the caller sees, to
-- check the three deadlines of one.
ALTER POLICY clocks_scope ON clocks
    USING (scope_view() = 'system' OR EXISTS (SELECT FROM referrals WHERE referrals.id = referral_id OFFSET 0));
ALTER POLICY events_scope ON referral_events
    USING (scope_view() = 'system' OR EXISTS (SELECT FROM referrals WHERE referrals.id = referral_id OFFSET 0));
ALTER POLICY renewals_scope ON renewals
    USING (scope_view() = 'system' OR EXISTS (SELECT FROM referrals WHERE referrals.id = referral_id OFFSET 0));
ALTER POLICY plan_steps_scope ON plan_steps
    USING (scope_view() = 'system' OR EXISTS (SELECT FROM plans WHERE plans.id = plan_id OFFSET 0));
ALTER POLICY person_keys_scope ON person_keys USING (EXISTS (SELECT FROM people WHERE people.id = person_id OFFSET 0));
ALTER POLICY person_sealed_scope ON person_sealed USING (EXISTS (SELECT FROM people WHERE people.id = person_id OFFSET 0));
ALTER POLICY receipt_grounds_scope ON receipt_grounds USING (EXISTS (SELECT FROM receipts WHERE receipts.id = receipt_id OFFSET 0));

-- migrate:down
ALTER POLICY receipt_grounds_scope ON receipt_grounds USING (EXISTS (SELECT 1 FROM receipts WHERE receipts.id = receipt_id));
ALTER POLICY person_sealed_scope ON person_sealed USING (EXISTS (SELECT 1 FROM people WHERE people.id = person_id));
ALTER POLICY person_keys_scope ON person_keys USING (EXISTS (SELECT 1 FROM people WHERE people.id = person_id));
ALTER POLICY plan_steps_scope ON plan_steps USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM plans WHERE plans.id = plan_id));
ALTER POLICY renewals_scope ON renewals USING (EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
ALTER POLICY events_scope ON referral_events
    USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
ALTER POLICY clocks_scope ON clocks
    USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
