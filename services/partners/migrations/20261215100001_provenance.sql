-- migrate:up
-- The account that invited each account when it was created or renewed; '' if the network's setup created it. Without a row, the origin is unknown.
CREATE TABLE account_origins (
    worker_id  text        NOT NULL REFERENCES workers,
    inviter_id text        NOT NULL,
    time       timestamptz NOT NULL
);
CREATE INDEX account_origins_of_a_worker ON account_origins (worker_id, time);
CREATE INDEX account_origins_by_inviter ON account_origins (inviter_id, time);
-- One transaction created the network's first two coordinators. Only the accepted invitations of the last 72 hours are still stored.
INSERT INTO account_origins (worker_id, inviter_id, time)
    SELECT id, '', create_time FROM workers WHERE create_time = (SELECT min(create_time) FROM workers WHERE 'COORDINATOR' = ANY (roles));
INSERT INTO account_origins (worker_id, inviter_id, time)
    SELECT w.id, i.invited_by_worker_id, i.update_time FROM invitations AS i JOIN workers AS w USING (email_key) WHERE i.status = 'ACCEPTED';

-- The devices from which an account was signed in to; `first` marks its first device. Only the hash of a device's secret is stored.
CREATE TABLE account_devices (
    worker_id   text        NOT NULL REFERENCES workers,
    device_mark bytea       NOT NULL,
    first       boolean     NOT NULL,
    since       timestamptz NOT NULL,
    time        timestamptz NOT NULL,
    PRIMARY KEY (worker_id, device_mark)
);
CREATE INDEX account_devices_by_mark ON account_devices (device_mark);
CREATE INDEX account_devices_by_age ON account_devices (time);

-- The same text for all addresses of one mailbox: without a suffix after +, and at Gmail also without dots.
ALTER TABLE workers ADD COLUMN mailbox_key text GENERATED ALWAYS AS (
    CASE WHEN split_part(email_key, '@', 2) IN ('gmail.com', 'googlemail.com')
        THEN replace(split_part(split_part(email_key, '@', 1), '+', 1), '.', '') || '@gmail.com'
        ELSE split_part(split_part(email_key, '@', 1), '+', 1) || '@' || split_part(email_key, '@', 2)
    END) STORED;
CREATE INDEX workers_by_mailbox ON workers (mailbox_key);
CREATE INDEX provider_accounts_by_subject ON provider_accounts (issuer, subject_hash);

-- The maker of a key may have its secret, even if another manager is responsible for the key now.
ALTER TABLE api_keys ADD COLUMN made_by_worker_id text NOT NULL DEFAULT '';
UPDATE api_keys SET made_by_worker_id = worker_id;
CREATE INDEX api_keys_by_maker ON api_keys (made_by_worker_id);

-- For an account with a network role: the coordinator who proposed its suspension.
ALTER TABLE workers ADD COLUMN suspension_proposed_by_worker_id text NOT NULL DEFAULT '';

-- migrate:down
ALTER TABLE workers DROP COLUMN suspension_proposed_by_worker_id;
ALTER TABLE api_keys DROP COLUMN made_by_worker_id;
DROP INDEX provider_accounts_by_subject;
ALTER TABLE workers DROP COLUMN mailbox_key;
DROP TABLE account_devices, account_origins;
