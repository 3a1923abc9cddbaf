-- migrate:up
-- The time at which a person was last declined for lack of room after the room figure was stated; null once the figure is stated again.
ALTER TABLE services ADD COLUMN declined_time timestamptz;

-- migrate:down
ALTER TABLE services DROP COLUMN declined_time;
