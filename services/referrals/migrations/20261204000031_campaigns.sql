-- migrate:up
-- Campaigns belong to the network and contain nothing about a person, so no scope limits them.
CREATE TABLE campaigns (
    id                   text PRIMARY KEY,
    name                 text NOT NULL,
    country              text NOT NULL,
    created_by_worker_id text NOT NULL,
    create_time          timestamptz NOT NULL,
    end_time             timestamptz
);
-- A code for each medium. It stays after the end of the campaign, since posters stay up.
CREATE TABLE placements (
    code        text PRIMARY KEY,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    campaign_id text NOT NULL REFERENCES campaigns (id),
    medium_code text NOT NULL,
    UNIQUE (campaign_id, medium_code)
);
ALTER TABLE contacts ADD COLUMN placement_code text NOT NULL DEFAULT '';
CREATE INDEX contacts_by_placement ON contacts (placement_code) WHERE placement_code <> '';

-- migrate:down
DROP INDEX contacts_by_placement;
ALTER TABLE contacts DROP COLUMN placement_code;
DROP TABLE placements;
DROP TABLE campaigns;
