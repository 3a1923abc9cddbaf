-- migrate:up
-- Records of a topic that must outlive every broker, as their teller signed them (facts/witness.py).
CREATE TABLE kept_records (
    topic          text        NOT NULL,
    id             text        NOT NULL, -- of the record's bytes: the same record heard again is the same row
    subject        text        NOT NULL,
    record         text        NOT NULL,
    witnessed_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, id)
);
COMMENT ON TABLE kept_records IS 'append only: topic, id, subject, record';

-- migrate:down
DROP TABLE kept_records;
