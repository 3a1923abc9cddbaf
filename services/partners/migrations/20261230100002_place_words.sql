-- migrate:up
-- Its own transaction, so that services are only read and not locked while the column is filled.
UPDATE services AS s SET place_document = p.document
FROM (SELECT a.service_id AS id, strip(to_tsvector('enlace', string_agg(l.name || ' ' ||
        translate(split_part(l.area_code, '.', 2), '-', ' '), ' '))) AS document
    FROM service_at_locations AS a JOIN locations AS l ON l.id = a.location_id AND NOT l.confidential
    GROUP BY a.service_id) AS p
WHERE p.id = s.id AND NOT s.confidential;

-- migrate:down
