-- migrate:up
-- Files that are imported in the background. `file` and `report` are sealed, because they contain addresses, also of shelters.
CREATE TABLE imports (
    id              text PRIMARY KEY,
    importer_id     text NOT NULL, -- the organisation whose worker or key sent it
    caller          jsonb NOT NULL, -- the caller who sent the file, in whose name it is imported
    organization_id text NOT NULL, -- the owner of the services; '': each row names it
    dry_run         boolean NOT NULL,
    encoding        text NOT NULL, -- as stated in the request; '': not stated
    answers         jsonb NOT NULL,
    file            bytea, -- NULL: deleted
    state           text NOT NULL,
    rows_done       integer NOT NULL DEFAULT 0,
    rows_total      integer NOT NULL DEFAULT 0,
    report          bytea,
    failure_code    text NOT NULL DEFAULT '',
    create_time     timestamptz NOT NULL,
    end_time        timestamptz,
    cancel_time     timestamptz, -- when its cancellation was requested
    claim           text, -- the id of the claim of the process that works on it
    claim_time      timestamptz, -- when that process last renewed its claim
    attempts        integer NOT NULL DEFAULT 0
);
CREATE INDEX imports_to_do ON imports (create_time) WHERE end_time IS NULL;
CREATE INDEX imports_of ON imports (importer_id, create_time);

-- The same id may mean another service in another importer's files. For rows from before this migration the importer is not known: ''.
ALTER TABLE imported_ids ADD COLUMN importer_id text NOT NULL DEFAULT '';
ALTER TABLE imported_ids DROP CONSTRAINT imported_ids_pkey, ADD PRIMARY KEY (importer_id, organization_id, kind, source_id);

-- migrate:down
DELETE FROM imported_ids AS a USING imported_ids AS b
WHERE (a.organization_id, a.kind, a.source_id) = (b.organization_id, b.kind, b.source_id) AND a.importer_id > b.importer_id;
ALTER TABLE imported_ids DROP CONSTRAINT imported_ids_pkey, ADD PRIMARY KEY (organization_id, kind, source_id);
ALTER TABLE imported_ids DROP COLUMN importer_id;
DROP TABLE imports;
