-- migrate:up
-- An enquiry that named no file belongs to the person of the referral that followed it.
UPDATE enquiries SET person_id = r.person_id FROM referrals r WHERE r.id = enquiries.referral_id AND enquiries.person_id = ''
  AND NOT EXISTS (SELECT FROM erasures e WHERE e.person_id = r.person_id AND e.erase_time IS NOT NULL);

-- migrate:down
