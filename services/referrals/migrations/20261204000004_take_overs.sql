-- migrate:up
-- The workers who took over a line from the previous shift, with the time.
CREATE TABLE line_take_overs (
    organization_id text NOT NULL,
    worker_id       text NOT NULL,
    time            timestamptz NOT NULL,
    PRIMARY KEY (organization_id, time, worker_id)
);
ALTER TABLE line_take_overs ENABLE ROW LEVEL SECURITY;
CREATE POLICY line_take_overs_scope ON line_take_overs USING (scope_view() = 'system' OR organization_id = scope_organization());

-- migrate:down
DROP TABLE line_take_overs;
