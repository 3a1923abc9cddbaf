-- migrate:up
-- The ground on which a receipt is valid. It is in a table of its own, so that a process of the
-- previous version can still read receipts; for that process, a receipt with a ground has an
-- invalid signature, and opens nothing.
CREATE TABLE receipt_grounds (
    receipt_id         text PRIMARY KEY REFERENCES receipts,
    adult_ground_code  text NOT NULL,
    giver_ground_code  text NOT NULL
);
-- Consents that somebody else gave for an adult, which are few.
CREATE INDEX receipt_grounds_giver ON receipt_grounds (receipt_id) WHERE giver_ground_code <> '';
ALTER TABLE receipt_grounds ENABLE ROW LEVEL SECURITY;
CREATE POLICY receipt_grounds_scope ON receipt_grounds USING (EXISTS (SELECT 1 FROM receipts WHERE receipts.id = receipt_id));

-- migrate:down
DROP TABLE receipt_grounds;
