-- migrate:up
-- The development outbox is a folder on the developer's machine (services/notifications/store/mail_folder.py).
DROP TABLE development_mails;

-- migrate:down
CREATE TABLE development_mails (
    id          text        PRIMARY KEY,
    recipient   bytea       NOT NULL, -- sealed
    subject     text        NOT NULL,
    body        text        NOT NULL,
    create_time timestamptz NOT NULL
);
