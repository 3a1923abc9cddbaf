-- migrate:up
-- A keyed hash of the day on which a person becomes too old for her age band. The service finds the
-- people whose band has ended by the hashes of days, so no row reveals a day.
ALTER TABLE people ADD COLUMN band_end bytea;
CREATE INDEX people_band_end ON people (band_end) WHERE band_end IS NOT NULL;

-- migrate:down
ALTER TABLE people DROP COLUMN band_end;
