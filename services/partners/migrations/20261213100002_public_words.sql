-- migrate:up
-- The words by which anybody may find a service, without those of a description that is not public.
ALTER TABLE services ADD COLUMN public_document tsvector;
UPDATE services AS s SET public_document = to_tsvector('enlace', s.name || ' ' || o.name
        || ' ' || CASE WHEN s.tiers ? 'description' THEN '' ELSE s.description END), edition = ''
    FROM organizations AS o WHERE o.id = s.organization_id AND s.public;
CREATE INDEX services_public_words ON services USING gin (public_document) WHERE public AND active;

-- migrate:down
DROP INDEX services_public_words;
ALTER TABLE services DROP COLUMN public_document;
