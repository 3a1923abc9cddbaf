-- migrate:up
-- Unusual accesses, for an auditor to review: derived from the trail, with ids and codes only.
CREATE TABLE anomalies (
    id                    text PRIMARY KEY,
    kind                  text        NOT NULL,
    worker_id             text        NOT NULL,
    organization_id       text        NOT NULL,
    day                   date        NOT NULL,
    count                 integer     NOT NULL,
    create_time           timestamptz NOT NULL,
    version               integer     NOT NULL,
    review_time           timestamptz,
    reviewed_by_worker_id text        NOT NULL,
    review_code           text        NOT NULL,
    UNIQUE (worker_id, day, kind)
);
CREATE INDEX anomalies_newest ON anomalies (create_time DESC, id);
ALTER TABLE anomalies ENABLE ROW LEVEL SECURITY;
CREATE POLICY anomalies_scope ON anomalies USING (scope_view() = 'system');

-- The last row of the trail that was searched. Rows from before this migration are not judged.
CREATE TABLE anomalies_looked (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), sequence bigint NOT NULL);
INSERT INTO anomalies_looked (sequence) SELECT coalesce(max(sequence), 0) FROM audit;

-- The workers on duty at night, by the actions in services/referrals/people/domain/anomaly.py.
CREATE INDEX audit_duty ON audit (actor_id, time) WHERE allowed AND action IN (
    'create_contact', 'update_contact', 'create_person', 'send', 'send_override',
    'acknowledge_referral', 'accept_referral', 'answer_referral', 'start_referral'
);

-- migrate:down
DROP INDEX audit_duty;
DROP TABLE anomalies_looked, anomalies;
