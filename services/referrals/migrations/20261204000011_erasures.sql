-- migrate:up
-- Proposals to erase a file, and the proofs that it was: ids, times and counts. Kept for ever, and kept outside of this database as well (topic
-- enlace.erasures.v1), for a restored copy brings back what was erased since.
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

-- Of which store (facts.outbox says what that is) it is known that all erasures were applied to it; empty: of the first one. In any other no key is opened.
CREATE TABLE erasure_store (store text NOT NULL);
INSERT INTO erasure_store VALUES ('');

-- migrate:down
DROP TABLE erasure_store, erasures;
