-- migrate:up
-- Why the enquiry is less urgent than the contact's answers. Without this reason, the draft that
-- follows is raised to the urgency of the caller's later answers.
ALTER TABLE enquiries ADD COLUMN urgency_reason_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE enquiries DROP COLUMN urgency_reason_code;
