-- migrate:up
-- Public figures (services/referrals/referrals/domain/figures.py). Only published counts are
-- stored, so nothing smaller can be read here either. They never change: a figure that changed
-- would reveal what happened to somebody. Since everything here is public, there is no row-level
-- security.
CREATE TABLE published_figures (
    quarter              text NOT NULL,
    exploitation_country text NOT NULL,
    country              text NOT NULL,
    need_group           text NOT NULL,
    people               integer NOT NULL CHECK (people >= 10 AND people % 5 = 0),
    PRIMARY KEY (quarter, exploitation_country, country, need_group)
);
COMMENT ON TABLE published_figures IS 'append only';
-- The last quarter that was counted, and when. No quarter is counted twice.
CREATE TABLE figure_counts (
    until      text PRIMARY KEY,
    count_time timestamptz NOT NULL
);
COMMENT ON TABLE figure_counts IS 'append only';
CREATE INDEX referral_events_completed ON referral_events (time) WHERE verb = 'completed';

-- migrate:down
DROP INDEX referral_events_completed;
DROP TABLE figure_counts, published_figures;
