-- migrate:up
-- A service whose offer was taken keeps no copy of an enquiry once the referral that followed has ended.
UPDATE enquiry_offers AS o SET need_code = NULL, urgency = NULL, age_band = NULL, gender_code = NULL, dependants = NULL, languages = NULL,
    accessibility_codes = NULL, country = NULL, department = NULL, version = o.version + 1
    FROM enquiries AS e JOIN referrals AS r ON r.id = e.referral_id WHERE e.id = o.enquiry_id AND e.referral_id <> '' AND o.need_code IS NOT NULL
        AND r.state NOT IN ('draft', 'sent', 'acknowledged', 'info_requested', 'accepted', 'waitlisted', 'in_progress', 'completed');

-- migrate:down
SELECT 1;
