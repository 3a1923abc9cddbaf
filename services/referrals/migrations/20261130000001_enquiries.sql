-- migrate:up
-- The attributes on which a service bases its decision; null if no fact has stated them
-- (services/referrals/network/domain/service.py).
ALTER TABLE directory_services ADD COLUMN uses text[];

-- An enquiry as the asking organisation sees it.
CREATE TABLE enquiries (
    id                        text PRIMARY KEY,
    organization_id           text NOT NULL,
    worker_id                 text NOT NULL,
    version                   bigint NOT NULL,
    state                     text NOT NULL,
    need_code                 text NOT NULL,
    urgency                   text NOT NULL,
    age_band                  text NOT NULL,
    gender_code               text NOT NULL,
    dependants                integer,
    languages                 text[] NOT NULL,
    accessibility_codes       text[] NOT NULL,
    country                   text NOT NULL,
    department                text NOT NULL,
    left_out                  text[] NOT NULL, -- attributes that are in no copy
    excluded_organization_ids text[] NOT NULL,
    contact_id                text NOT NULL,
    person_id                 text NOT NULL,
    taken_service_id          text NOT NULL,
    referral_id               text NOT NULL,
    reason_code               text NOT NULL,
    reminded                  boolean NOT NULL,
    start_time                timestamptz NOT NULL,
    due_time                  timestamptz, -- null if no deadline runs
    put_aside_time            timestamptz, -- when a deadline that could not be fired is tried again
    create_time               timestamptz NOT NULL,
    update_time               timestamptz NOT NULL
);
CREATE INDEX enquiries_organization ON enquiries (organization_id, create_time DESC, id);
CREATE INDEX enquiries_changed ON enquiries (organization_id, update_time DESC);
CREATE INDEX enquiries_due ON enquiries ((greatest(due_time, put_aside_time))) WHERE due_time IS NOT NULL;
CREATE INDEX enquiries_open ON enquiries (organization_id) WHERE state = 'open';
CREATE INDEX enquiries_exhausted ON enquiries (update_time DESC) WHERE state = 'exhausted';
CREATE INDEX enquiries_contact ON enquiries (contact_id) WHERE contact_id <> '';
CREATE INDEX enquiries_person ON enquiries (person_id) WHERE person_id <> '';

-- The copy for each service that is asked: all that its organisation ever reads of the enquiry. It
-- names no asker; its content is null once it is blanked.
CREATE TABLE enquiry_offers (
    enquiry_id          text NOT NULL REFERENCES enquiries,
    service_id          text NOT NULL,
    organization_id     text NOT NULL,
    version             bigint NOT NULL,
    state               text NOT NULL,
    need_code           text,
    urgency             text,
    age_band            text,
    gender_code         text,
    dependants          integer,
    languages           text[],
    accessibility_codes text[],
    country             text,
    department          text,
    answer              text NOT NULL,
    reason_code         text NOT NULL,
    answer_time         timestamptz,
    taken               boolean NOT NULL,
    due_time            timestamptz,
    create_time         timestamptz NOT NULL,
    update_time         timestamptz NOT NULL,
    PRIMARY KEY (enquiry_id, service_id)
);
CREATE INDEX enquiry_offers_organization ON enquiry_offers (organization_id, create_time DESC, enquiry_id);
CREATE INDEX enquiry_offers_changed ON enquiry_offers (organization_id, update_time DESC);

-- Each preview counts similar open cases, which are few among all rows.
CREATE INDEX referrals_live_alike ON referrals (country, department, age_band, gender_code)
    WHERE state IN ('sent', 'acknowledged', 'info_requested', 'accepted', 'waitlisted', 'in_progress', 'completed');
CREATE INDEX enquiries_open_alike ON enquiries (country, department, age_band, gender_code) WHERE state = 'open';

ALTER TABLE enquiries ENABLE ROW LEVEL SECURITY;
ALTER TABLE enquiry_offers ENABLE ROW LEVEL SECURITY;
CREATE POLICY enquiries_scope ON enquiries USING (scope_view() = 'system' OR organization_id = scope_organization());
CREATE POLICY enquiry_offers_scope ON enquiry_offers USING (
    scope_view() = 'system' OR organization_id = scope_organization() OR EXISTS (SELECT 1 FROM enquiries WHERE enquiries.id = enquiry_id)
);

-- migrate:down
DROP INDEX referrals_live_alike;
DROP TABLE enquiry_offers, enquiries;
ALTER TABLE directory_services DROP COLUMN uses;
