-- migrate:up
-- Calls that a line owes: ids, codes and times, but no phone number.
CREATE TABLE callbacks (
    id                   text PRIMARY KEY,
    contact_id           text NOT NULL REFERENCES contacts,
    organization_id      text NOT NULL,
    version              bigint NOT NULL,
    step_version         bigint NOT NULL,
    asked_by_herself     boolean NOT NULL,
    tries                integer NOT NULL,
    outcome_code         text NOT NULL,
    worker_id            text NOT NULL,
    clock_start_time     timestamptz NOT NULL,
    clock_due_time       timestamptz NOT NULL,
    clock_stop_time      timestamptz,
    clock_pause_time     timestamptz,
    clock_fired_percent  integer NOT NULL,
    clock_policy_version integer NOT NULL,
    clock_next_time      timestamptz,
    create_time          timestamptz NOT NULL,
    update_time          timestamptz NOT NULL
);
CREATE UNIQUE INDEX callbacks_owed ON callbacks (contact_id) WHERE outcome_code = '';
CREATE INDEX callbacks_of_line ON callbacks (organization_id, clock_due_time, id) WHERE outcome_code = '';
CREATE INDEX callbacks_changed ON callbacks (organization_id, update_time DESC);
CREATE INDEX callbacks_clock ON callbacks (clock_next_time) WHERE clock_next_time IS NOT NULL;
ALTER TABLE callbacks ENABLE ROW LEVEL SECURITY;
CREATE POLICY callbacks_scope ON callbacks USING (scope_view() = 'system' OR organization_id = scope_organization());

-- migrate:down
DROP TABLE callbacks;
