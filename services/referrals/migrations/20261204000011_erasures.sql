-- migrate:up
-- Proposals to erase a file, and proofs that it was erased: ids, times and counts. They are kept
-- for ever, and outside of this database as well (topic enlace.erasures.v1), since a restored copy
-- brings erased data back.
CREATE TABLE erasures (
    id                     text PRIMARY KEY,
    person_id              text NOT NULL UNIQUE,
    organization_id        text NOT NULL,
    version                bigint NOT NULL,
    proposed_by_worker_id  text NOT NULL,
    propose_time           timestamptz NOT NULL,
    confirmed_by_worker_id text NOT NULL DEFAULT '',
    erase_time             timestamptz,
    witness_time           timestamptz,
    sealed_parts           integer NOT NULL DEFAULT 0,
    notes                  integer NOT NULL DEFAULT 0,
    name_marks             integer NOT NULL DEFAULT 0,
    plans                  integer NOT NULL DEFAULT 0,
    receipts               integer NOT NULL DEFAULT 0,
    referrals              integer NOT NULL DEFAULT 0
);
CREATE INDEX erasures_unwitnessed ON erasures (id) WHERE erase_time IS NOT NULL AND witness_time IS NULL;
CREATE INDEX erasures_proposed ON erasures (organization_id, propose_time) WHERE erase_time IS NULL;
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
CREATE POLICY erasures_scope ON erasures USING (scope_view() = 'system' OR organization_id = scope_organization());

-- The store (see facts.outbox) to which all known erasures have been applied; empty: the first
-- store. In any other store, no key is opened.
CREATE TABLE erasure_store (store text NOT NULL);
INSERT INTO erasure_store VALUES ('');

-- migrate:down
DROP TABLE erasure_store, erasures;
