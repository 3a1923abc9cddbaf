-- migrate:up
-- Emergency accesses: who opened whose data without a consent, until when, and the result of the
-- review. `note` is sealed with the person's own key.
CREATE TABLE emergencies (
    id                    text PRIMARY KEY,
    person_id             text        NOT NULL REFERENCES people (id),
    referral_id           text        NOT NULL,
    organization_id       text        NOT NULL,
    worker_id             text        NOT NULL,
    file_organization_id  text        NOT NULL,
    reason_code           text        NOT NULL,
    note                  bytea       NOT NULL,
    create_time           timestamptz NOT NULL,
    end_time              timestamptz NOT NULL,
    review_due_time       timestamptz NOT NULL,
    version               integer     NOT NULL,
    ended                 boolean     NOT NULL,
    overdue               boolean     NOT NULL,
    review_time           timestamptz,
    reviewed_by_worker_id text        NOT NULL,
    review_code           text        NOT NULL,
    next_time             timestamptz
);
CREATE INDEX emergencies_next ON emergencies (next_time) WHERE next_time IS NOT NULL;
CREATE INDEX emergencies_person ON emergencies (person_id);
CREATE INDEX emergencies_owed ON emergencies (organization_id) WHERE review_time IS NULL;
CREATE INDEX emergencies_newest ON emergencies (create_time DESC, id);
ALTER TABLE emergencies ENABLE ROW LEVEL SECURITY;
CREATE POLICY emergencies_scope ON emergencies USING (
    scope_view() IN ('system', 'coordinator') OR scope_organization() IN (organization_id, file_organization_id)
);

-- migrate:down
DROP TABLE emergencies;
