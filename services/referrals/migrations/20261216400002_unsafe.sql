-- migrate:up
-- The organisations and places that the person named as unsafe. Existing referrals and enquiries
-- have no answer.
ALTER TABLE referrals ADD COLUMN unsafe_code text NOT NULL DEFAULT '', ADD COLUMN unsafe_organization_ids text[] NOT NULL DEFAULT '{}',
    ADD COLUMN unsafe_departments text[] NOT NULL DEFAULT '{}';
ALTER TABLE enquiries ADD COLUMN unsafe_code text NOT NULL DEFAULT '', ADD COLUMN unsafe_departments text[] NOT NULL DEFAULT '{}';
-- The department where a service helps; known from the service's next fact.
ALTER TABLE directory_services ADD COLUMN department text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE directory_services DROP COLUMN department;
ALTER TABLE enquiries DROP COLUMN unsafe_departments, DROP COLUMN unsafe_code;
ALTER TABLE referrals DROP COLUMN unsafe_departments, DROP COLUMN unsafe_organization_ids, DROP COLUMN unsafe_code;
