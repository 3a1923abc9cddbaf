-- migrate:up
-- In 0.1.0 a system could clear the country of a service or place, which no search by country then found. The sweep recomputes the other columns and publishes the facts.
UPDATE services SET country = o.country, edition = '' FROM organizations o WHERE o.id = services.organization_id AND services.country = '';
UPDATE locations SET country = o.country FROM organizations o WHERE o.id = locations.organization_id AND locations.country = '';

-- migrate:down
SELECT 1;
