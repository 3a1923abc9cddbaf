-- migrate:up
-- Includes messages to one worker: open pages ask every few seconds whether an organisation's unread messages have changed.
CREATE INDEX messages_unread ON messages (organization_id) WHERE read_time IS NULL;
DROP INDEX messages_unread_desk;

-- migrate:down
CREATE INDEX messages_unread_desk ON messages (organization_id) WHERE audience = 'desk' AND read_time IS NULL;
DROP INDEX messages_unread;
