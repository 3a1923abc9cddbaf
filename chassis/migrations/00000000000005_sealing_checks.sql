-- migrate:up
-- A known text, sealed by each key of the service: one that does not open it is not the key of this database.
CREATE TABLE sealing_checks (
    number integer PRIMARY KEY,
    value  bytea NOT NULL
);
COMMENT ON TABLE sealing_checks IS 'append only';

-- migrate:down
DROP TABLE sealing_checks;
