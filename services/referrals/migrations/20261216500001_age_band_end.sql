-- migrate:up
-- A keyed hash of the day on which the age band of a birth date is over: who is due is found by the hashes of the days, and no row says a day.
ALTER TABLE people ADD COLUMN band_end bytea;
CREATE INDEX people_band_end ON people (band_end) WHERE band_end IS NOT NULL;

-- migrate:down
ALTER TABLE people DROP COLUMN band_end;
