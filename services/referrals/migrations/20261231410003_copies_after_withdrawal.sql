-- migrate:up
-- Once the person has withdrawn her consent, the service whose offer was taken keeps no copy of the
-- enquiry. Such a service has, or had, a deadline to delete her data.
UPDATE enquiry_offers AS o SET need_code = NULL, urgency = NULL, age_band = NULL, gender_code = NULL, dependants = NULL, languages = NULL,
    accessibility_codes = NULL, country = NULL, department = NULL, version = o.version + 1
    FROM enquiries AS e WHERE e.id = o.enquiry_id AND e.referral_id <> '' AND o.need_code IS NOT NULL
        AND EXISTS (SELECT FROM clocks WHERE referral_id = e.referral_id AND kind = 'deletion');

-- migrate:down
SELECT 1;
