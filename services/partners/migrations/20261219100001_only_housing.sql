-- migrate:up
-- A service that states only "housing" may be a shelter: it must not be public. The sweep recomputes its other columns and publishes the fact.
UPDATE services SET public = false, edition = ''
    WHERE 'HOU' = ANY (need_codes) AND NOT EXISTS (SELECT FROM unnest(need_codes) AS code WHERE code LIKE 'HOU.%');

-- migrate:down
SELECT 1;
