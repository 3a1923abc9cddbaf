-- migrate:up
-- Who was accepted and takes room of a service: how many, since when, until when. Kept when it is given back, for it may be taken again.
CREATE TABLE places_taken (
    referral_id text PRIMARY KEY,
    service_id  text NOT NULL REFERENCES services,
    places      integer NOT NULL,
    take_time   timestamptz NOT NULL,
    leave_time  timestamptz
);

-- migrate:down
DROP TABLE places_taken;
