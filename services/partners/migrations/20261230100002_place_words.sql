-- migrate:up
-- A separate transaction, so that readers don't wait while the columns are filled.
UPDATE services AS s SET place_document = p.document, place_languages = p.languages
FROM (SELECT a.service_id AS id, strip(to_tsvector('enlace', string_agg(DISTINCT l.name || ' ' ||
        translate(split_part(l.area_code, '.', 2), '-', ' '), ' '))) AS document,
        array_remove(array_agg(DISTINCT language), NULL) AS languages
    FROM service_at_locations AS a JOIN locations AS l ON l.id = a.location_id AND NOT l.confidential
    LEFT JOIN unnest(a.languages) AS language ON true
    GROUP BY a.service_id) AS p
WHERE p.id = s.id AND NOT s.confidential;

-- migrate:down
