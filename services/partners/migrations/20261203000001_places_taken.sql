-- migrate:up
-- The places that an accepted referral takes in a service, and when. A row stays when its places are free again, because the referral may be reopened.
CREATE TABLE places_taken (
    referral_id text PRIMARY KEY,
    service_id  text NOT NULL REFERENCES services,
    places      integer NOT NULL,
    take_time   timestamptz NOT NULL,
    leave_time  timestamptz
);

-- migrate:down
DROP TABLE places_taken;
