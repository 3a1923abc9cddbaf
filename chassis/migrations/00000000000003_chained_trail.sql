-- migrate:up
-- The trail becomes a chain: a trigger function of the owner gives each row a hash of the row and of
-- the row before it. The previous version can keep inserting: the trigger numbers its rows, too.

CREATE TABLE audit_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sequence bigint  NOT NULL,
    hash     bytea   NOT NULL
);
COMMENT ON TABLE audit_head IS 'owner only: the last row of the trail';

ALTER TABLE audit
    ALTER COLUMN sequence DROP IDENTITY,
    -- the time of the insertion, by the database's clock; `time` comes from the service
    ADD COLUMN recorded_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN hash bytea;
COMMENT ON TABLE audit IS 'append only: time, actor_kind, actor_id, organization_id, action, object_id, purpose_code, detail_codes, allowed, reason';
COMMENT ON TABLE outbox IS 'append only, but for: published_at, first_round, last_round';

-- The line of a row that its hash covers, in the same format as in trail/chain.py: fields separated
-- by tabs. A constraint rejects characters with which two different rows could have the same line.
CREATE FUNCTION audit_line(entry audit) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT concat_ws(E'\t', entry.sequence, (extract(epoch FROM entry.time) * 1000000)::bigint, (extract(epoch FROM entry.recorded_time) * 1000000)::bigint,
                     entry.actor_kind, entry.actor_id, entry.organization_id, entry.action, entry.object_id, entry.purpose_code,
                     array_to_string(entry.detail_codes, ','), entry.allowed::int, entry.reason)
$$;
ALTER TABLE audit ADD CONSTRAINT audit_plain CHECK (
    (actor_kind || actor_id || organization_id || action || object_id || purpose_code || array_to_string(detail_codes, '') || reason) !~ '[[:cntrl:]\\,]'
);

-- Chains the existing rows, and closes the gaps in their numbers.
DO $$
DECLARE entry audit; old bigint; place bigint := 0; head bytea := sha256('enlace.audit.v1');
BEGIN
    FOR entry IN SELECT * FROM audit ORDER BY sequence LOOP
        place := place + 1;
        old := entry.sequence;
        entry.sequence := place;
        head := sha256(head || convert_to(audit_line(entry), 'UTF8'));
        UPDATE audit SET sequence = place, hash = head WHERE sequence = old;
    END LOOP;
    INSERT INTO audit_head (sequence, hash) VALUES (place, head);
END $$;
ALTER TABLE audit ALTER COLUMN hash SET NOT NULL;

-- Runs as the owner: a service that inserts a row can't choose its number, its hash or its recorded
-- time, and can't change the head. The lock on the head orders parallel writers into one chain; it is
-- held until the writer commits, so the trail is written last in a transaction.
CREATE FUNCTION chain_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE head audit_head;
BEGIN
    SELECT * INTO STRICT head FROM audit_head FOR UPDATE;
    NEW.sequence := head.sequence + 1;
    NEW.recorded_time := clock_timestamp();
    NEW.hash := sha256(head.hash || convert_to(audit_line(NEW), 'UTF8'));
    UPDATE audit_head SET sequence = NEW.sequence, hash = NEW.hash;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_chained BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION chain_audit();

-- The heads that the other services publish of their trails. To cut or rewrite a trail unnoticed, an
-- attacker would have to change this table, too.
CREATE TABLE audit_witnesses (
    service        text        NOT NULL,
    epoch          bigint      NOT NULL,
    sequence       bigint      NOT NULL,
    hash           bytea       NOT NULL,
    time           timestamptz NOT NULL,
    witnessed_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (service, epoch, sequence, hash)
);
COMMENT ON TABLE audit_witnesses IS 'append only: service, epoch, sequence, hash, time';

-- migrate:down
DROP TABLE audit_witnesses;
DROP TRIGGER audit_chained ON audit;
DROP FUNCTION chain_audit(), audit_line(audit);
ALTER TABLE audit DROP CONSTRAINT audit_plain, DROP COLUMN hash, DROP COLUMN recorded_time;
DROP TABLE audit_head;
ALTER TABLE audit ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('audit', 'sequence'), (SELECT max(sequence) FROM audit) + 1, false) WHERE EXISTS (SELECT FROM audit);
