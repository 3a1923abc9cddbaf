-- migrate:up
-- The draft that follows an enquiry keeps its urgency only for a reason: the caller may have said
-- since that she is in more danger.
ALTER TABLE enquiries ADD COLUMN urgency_reason_code text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE enquiries DROP COLUMN urgency_reason_code;
