-- migrate:up
-- Records of a topic that must survive the loss of a broker, as their publisher signed them
-- (facts/witness.py).
CREATE TABLE kept_records (
    topic          text        NOT NULL,
    -- a hash of the record: a record that is received again is the same row
    id             text        NOT NULL,
    subject        text        NOT NULL,
    record         text        NOT NULL,
    witnessed_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, id)
);
COMMENT ON TABLE kept_records IS 'append only: topic, id, subject, record';

-- migrate:down
DROP TABLE kept_records;
