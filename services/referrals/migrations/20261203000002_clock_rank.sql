-- migrate:up
-- The rank of the referral's urgency (Urgency.rank). With this index, the next fifty of ten
-- thousand due deadlines are found without reading the others.
ALTER TABLE clocks ADD COLUMN rank smallint NOT NULL DEFAULT 0;
UPDATE clocks SET rank = array_position(ARRAY['normal', 'urgent', 'emergency', 'immediate'], urgency) - 1
    FROM referrals WHERE referrals.id = referral_id AND next_time IS NOT NULL AND urgency IS NOT NULL;
CREATE INDEX clocks_due ON clocks (rank DESC, next_time) WHERE next_time IS NOT NULL;

-- migrate:down
DROP INDEX clocks_due;
ALTER TABLE clocks DROP COLUMN rank;
