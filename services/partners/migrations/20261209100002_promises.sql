-- migrate:up
-- Whether a service had the room that it had promised, once for each referral or enquiry.
CREATE TABLE promises (
    subject_id  text        NOT NULL, -- the id of the referral or the enquiry
    service_id  text        NOT NULL REFERENCES services,
    answer_time timestamptz NOT NULL,
    kept        boolean     NOT NULL,
    PRIMARY KEY (subject_id, service_id)
);
CREATE INDEX promises_of_service ON promises (service_id, answer_time);
CREATE INDEX promises_by_age ON promises (answer_time);

-- The numbers of promises kept and broken in the last half year, and when the service last answered an enquiry with yes.
ALTER TABLE services
    ADD COLUMN kept     integer NOT NULL DEFAULT 0,
    ADD COLUMN broken   integer NOT NULL DEFAULT 0,
    ADD COLUMN yes_time timestamptz;

-- migrate:down
DROP TABLE promises;
ALTER TABLE services DROP COLUMN kept, DROP COLUMN broken, DROP COLUMN yes_time;
