-- migrate:up
-- Row-level security is the second line of defence: the service's role sees a row only in the scope
-- that chassis.db sets for the transaction. enlace.view is member (rows of the caller's own
-- organisation, enlace.organization), coordinator (coarse rows of the whole network) or system
-- (deadlines, facts, a caller who has proved her reference).

CREATE FUNCTION scope_view() RETURNS text LANGUAGE sql STABLE AS $$ SELECT coalesce(current_setting('enlace.view', true), '') $$;
-- Null if the transaction has no organisation, so that '' does not match a draft that names no
-- receiver yet.
CREATE FUNCTION scope_organization() RETURNS text LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('enlace.organization', true), '') $$;

-- Members and services, as known from the facts on enlace.partners.v1.
CREATE TABLE members (
    id     text PRIMARY KEY,
    kind   text NOT NULL CHECK (kind IN ('organization', 'worker', 'key')),
    active boolean NOT NULL,
    status text NOT NULL DEFAULT '',
    type   text NOT NULL DEFAULT ''
);
CREATE TABLE directory_services (
    id              text PRIMARY KEY,
    organization_id text NOT NULL,
    active          boolean NOT NULL
);

CREATE TABLE people (
    id                      text PRIMARY KEY,
    organization_id         text NOT NULL,
    version                 bigint NOT NULL,
    age_band                text NOT NULL DEFAULT '',
    gender_code             text NOT NULL DEFAULT '',
    language                text NOT NULL DEFAULT '',
    dependants              integer NOT NULL DEFAULT 0,
    country                 text NOT NULL DEFAULT '',
    department              text NOT NULL DEFAULT '',
    trafficking_status_code text NOT NULL DEFAULT '',
    exploitation_country    text NOT NULL DEFAULT '',
    has_identity            boolean NOT NULL DEFAULT false,
    safe_contact_channel    text NOT NULL DEFAULT '',
    erased                  boolean NOT NULL DEFAULT false,
    create_time             timestamptz NOT NULL,
    update_time             timestamptz NOT NULL
);
CREATE INDEX people_organization ON people (organization_id, create_time DESC, id);

-- The person's own key, wrapped by the key-encryption key. Destroying it makes everything sealed
-- with it unreadable.
CREATE TABLE person_keys (
    person_id text PRIMARY KEY REFERENCES people,
    wrapped   bytea
);
CREATE TABLE person_sealed (
    person_id text NOT NULL REFERENCES people,
    field     text NOT NULL,
    sealed    bytea NOT NULL,
    PRIMARY KEY (person_id, field)
);

CREATE TABLE contacts (
    id              text PRIMARY KEY,
    organization_id text NOT NULL,
    version         bigint NOT NULL,
    line_country    text NOT NULL,
    campaign_code   text NOT NULL DEFAULT '',
    kind_code       text NOT NULL DEFAULT '',
    speaker_code    text NOT NULL DEFAULT '',
    language        text NOT NULL DEFAULT '',
    triage          jsonb NOT NULL DEFAULT '{}',
    outcome_code    text NOT NULL DEFAULT 'open',
    department      text NOT NULL DEFAULT '',
    need_code       text NOT NULL DEFAULT '',
    person_id       text NOT NULL DEFAULT '',
    reference_hint  text NOT NULL DEFAULT '',
    note_sealed     bytea,
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL
);
CREATE INDEX contacts_organization ON contacts (organization_id, create_time DESC, id);

-- Reference and PIN: only a keyed fingerprint and an argon2 hash are kept. `tries` counts wrong PINs since the last right one.
CREATE TABLE contact_references (
    fingerprint  bytea PRIMARY KEY,
    contact_id   text NOT NULL,
    pin_hash     text NOT NULL,
    tries        integer NOT NULL DEFAULT 0,
    last_try     timestamptz
);

CREATE TABLE receipts (
    id                        text PRIMARY KEY,
    person_id                 text NOT NULL REFERENCES people,
    organization_id           text NOT NULL,
    recipient_organization_id text NOT NULL,
    version                   bigint NOT NULL,
    field_groups              text[] NOT NULL,
    purpose_codes             text[] NOT NULL,
    until_time                timestamptz NOT NULL,
    giver_code                text NOT NULL,
    manner_code               text NOT NULL,
    child_assent              boolean NOT NULL,
    in_private                boolean NOT NULL,
    interpreter               boolean NOT NULL,
    explained_codes           text[] NOT NULL,
    recorded_by_worker_id     text NOT NULL,
    signature                 text NOT NULL,
    create_time               timestamptz NOT NULL,
    withdraw_time             timestamptz
);
CREATE INDEX receipts_person ON receipts (person_id, create_time DESC);

CREATE TABLE referrals (
    id                         text PRIMARY KEY,
    version                    bigint NOT NULL,
    state                      text NOT NULL,
    urgency                    text,
    need_code                  text NOT NULL,
    person_id                  text NOT NULL REFERENCES people,
    contact_id                 text NOT NULL,
    sender_organization_id     text NOT NULL,
    sender_worker_id           text NOT NULL,
    receiver_organization_id   text NOT NULL,
    service_id                 text NOT NULL,
    receipt_id                 text NOT NULL,
    override_reason_code       text NOT NULL,
    age_band                   text NOT NULL,
    gender_code                text NOT NULL,
    language                   text NOT NULL,
    dependants                 integer NOT NULL,
    country                    text NOT NULL,
    department                 text NOT NULL,
    responsible_worker_id      text NOT NULL,
    responsible_desk_code      text NOT NULL,
    planned_first_contact_time timestamptz,
    first_contact_time         timestamptz,
    reason_code                text NOT NULL,
    question_code              text NOT NULL,
    outcome_code               text NOT NULL,
    delivered_need_codes       text[] NOT NULL,
    alternative_service_id     text NOT NULL,
    expected_wait_days         integer NOT NULL,
    review_time                timestamptz,
    based_on_id                text NOT NULL,
    send_time                  timestamptz,
    next_due_time              timestamptz,
    create_time                timestamptz NOT NULL,
    update_time                timestamptz NOT NULL
);
-- Every list has the nearest deadline first and referrals without a deadline last; among equals,
-- the last changed first.
CREATE INDEX referrals_sender ON referrals (sender_organization_id, (coalesce(next_due_time, 'infinity')), update_time DESC, id);
CREATE INDEX referrals_receiver ON referrals (receiver_organization_id, (coalesce(next_due_time, 'infinity')), update_time DESC, id);
CREATE INDEX referrals_network ON referrals ((coalesce(next_due_time, 'infinity')), update_time DESC, id);
CREATE INDEX referrals_person ON referrals (person_id);
CREATE INDEX referrals_contact ON referrals (contact_id) WHERE contact_id <> '';
CREATE INDEX referrals_receipt ON referrals (receipt_id) WHERE receipt_id <> '';

CREATE TABLE clocks (
    referral_id   text NOT NULL REFERENCES referrals,
    number        integer NOT NULL,
    kind          text NOT NULL,
    start_time    timestamptz NOT NULL,
    due_time      timestamptz NOT NULL,
    stop_time     timestamptz,
    pause_time    timestamptz,
    fired_percent integer NOT NULL,
    next_time     timestamptz,  -- when the next level is reached; null if none is left
    PRIMARY KEY (referral_id, number)
);
CREATE INDEX clocks_next ON clocks (next_time) WHERE next_time IS NOT NULL;

CREATE TABLE referral_events (
    referral_id     text NOT NULL REFERENCES referrals,
    version         bigint NOT NULL,
    verb            text NOT NULL,
    from_state      text NOT NULL,
    to_state        text NOT NULL,
    time            timestamptz NOT NULL,
    actor_kind      text NOT NULL,
    actor_id        text NOT NULL,
    organization_id text NOT NULL,
    reason_code     text NOT NULL,
    attribution     text NOT NULL,
    clock           text NOT NULL,
    note_sealed     bytea,
    PRIMARY KEY (referral_id, version)
);

ALTER TABLE people ENABLE ROW LEVEL SECURITY;
ALTER TABLE person_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE person_sealed ENABLE ROW LEVEL SECURITY;
ALTER TABLE contacts ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
ALTER TABLE referrals ENABLE ROW LEVEL SECURITY;
ALTER TABLE clocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE referral_events ENABLE ROW LEVEL SECURITY;

-- A draft is visible only to its sender; receiver and coordinators see the row once it is sent.
CREATE POLICY referrals_scope ON referrals USING (
    scope_view() = 'system'
    OR (scope_view() = 'coordinator' AND state <> 'draft')
    OR sender_organization_id = scope_organization()
    OR (receiver_organization_id = scope_organization() AND state <> 'draft')
);
CREATE POLICY clocks_scope ON clocks USING (EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));
CREATE POLICY events_scope ON referral_events USING (EXISTS (SELECT 1 FROM referrals WHERE referrals.id = referral_id));

-- A file is visible to its organisation and, while a referral to a receiver is live, to that
-- receiver, but to no coordinator of another organisation.
CREATE POLICY people_scope ON people USING (
    scope_view() = 'system'
    OR organization_id = scope_organization()
    OR (scope_view() = 'member' AND EXISTS (
        SELECT 1 FROM referrals WHERE referrals.person_id = people.id AND receiver_organization_id = scope_organization()
        AND state IN ('sent', 'acknowledged', 'info_requested', 'accepted', 'waitlisted', 'in_progress', 'completed')))
);
CREATE POLICY person_keys_scope ON person_keys USING (EXISTS (SELECT 1 FROM people WHERE people.id = person_id));
CREATE POLICY person_sealed_scope ON person_sealed USING (EXISTS (SELECT 1 FROM people WHERE people.id = person_id));
CREATE POLICY contacts_scope ON contacts USING (scope_view() = 'system' OR organization_id = scope_organization());
CREATE POLICY receipts_scope ON receipts USING (
    scope_view() = 'system' OR organization_id = scope_organization() OR recipient_organization_id = scope_organization()
);

-- migrate:down
DROP TABLE referral_events, clocks, referrals, receipts, contact_references, contacts, person_sealed, person_keys, people, directory_services, members;
DROP FUNCTION scope_view(), scope_organization();
