-- migrate:up
-- Versions of advice cards. They belong to the network and contain nothing about a person, so no
-- scope limits them. Version 1 of the cards that come with Enlace is in
-- services/referrals/line/advice.yaml. `texts` has title and lines by language.
CREATE TABLE advice_cards (
    id                     text NOT NULL,
    version                integer NOT NULL,
    number                 bigint GENERATED ALWAYS AS IDENTITY,
    texts                  jsonb NOT NULL,
    opened_by              jsonb NOT NULL,
    need_code              text NOT NULL,
    retired                boolean NOT NULL,
    published_by_worker_id text NOT NULL,
    publish_time           timestamptz NOT NULL,
    PRIMARY KEY (id, version)
);
COMMENT ON TABLE advice_cards IS 'append only';

-- migrate:down
DROP TABLE advice_cards;
