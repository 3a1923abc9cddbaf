-- migrate:up
-- A known text, sealed with each key of the service: a key that does not open its row is not the key
-- of this database.
CREATE TABLE sealing_checks (
    number integer PRIMARY KEY,
    value  bytea NOT NULL
);
COMMENT ON TABLE sealing_checks IS 'append only';

-- migrate:down
DROP TABLE sealing_checks;
