-- migrate:up
-- Decisions in a child's best interest that wait for a second person, which are few among all
-- receipts.
CREATE INDEX receipts_proposed ON receipts (organization_id, create_time)
    WHERE giver_code = 'best_interest' AND confirm_time IS NULL AND withdraw_time IS NULL;

-- migrate:down
DROP INDEX receipts_proposed;
