-- migrate:up
COMMENT ON TABLE referral_events IS 'append only';

-- migrate:down
COMMENT ON TABLE referral_events IS NULL;
