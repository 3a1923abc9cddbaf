-- migrate:up
-- Opening hours that may have been computed in a wrong time zone. The next sweep computes them again;
-- until then they count as unknown.
UPDATE services SET open_until = 'epoch'
WHERE open_until IS NOT NULL AND (country = 'DO' OR department IN ('ES-CN', 'MX-TAM') OR id IN (
    SELECT there.service_id FROM service_at_locations AS there JOIN locations AS place ON place.id = there.location_id
    WHERE place.country = 'DO' OR place.department IN ('ES-CN', 'MX-TAM')));

-- migrate:down
