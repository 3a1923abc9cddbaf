-- migrate:up
-- When somebody was declined for lack of room after the figure of room had been said; null again when it is said anew.
ALTER TABLE services ADD COLUMN declined_time timestamptz;

-- migrate:down
ALTER TABLE services DROP COLUMN declined_time;
