-- migrate:up
-- 20261223100001 made every relative who had called about a child a guardian if any guardian had
-- consented in the file. A brother's reference then showed and stopped what the mother had asked
-- for. An operator has to record who is a guardian.
UPDATE contacts SET speaker_code = 'family' WHERE speaker_code = 'guardian';

-- migrate:down
SELECT 1;
