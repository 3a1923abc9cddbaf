-- migrate:up
-- A reference opens the person's file only if she spoke herself or if her guardian spoke. Until
-- now, relatives had a single code. Relatives with a guardian's consent in the contact's file
-- become guardians, so that their reference still opens what it opened before.
UPDATE contacts SET speaker_code = 'guardian' WHERE speaker_code = 'family' AND EXISTS (
    SELECT FROM receipts WHERE giver_code = 'guardian' AND person_id IN (
        SELECT contacts.person_id UNION SELECT r.person_id FROM referrals r WHERE r.contact_id = contacts.id));

-- migrate:down
