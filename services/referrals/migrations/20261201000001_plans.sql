-- migrate:up
-- Published versions of pathways. The versions that come with the service are in
-- services/referrals/plans/data.
CREATE TABLE pathway_versions (
    pathway_id             text NOT NULL,
    version                integer NOT NULL,
    text                   text NOT NULL,
    published_by_worker_id text NOT NULL,
    publish_time           timestamptz NOT NULL,
    PRIMARY KEY (pathway_id, version)
);
COMMENT ON TABLE pathway_versions IS 'append only';

-- Plans: pathways as people follow them, with codes only. Only the organisation of the person's
-- file sees them.
CREATE TABLE plans (
    id                text PRIMARY KEY,
    person_id         text NOT NULL REFERENCES people,
    organization_id   text NOT NULL,
    version           bigint NOT NULL,
    pathway_id        text NOT NULL,
    pathway_version   integer NOT NULL,
    department        text NOT NULL,
    start_time        timestamptz NOT NULL,
    next_due_time     timestamptz,
    close_time        timestamptz,
    close_reason_code text NOT NULL DEFAULT '',
    create_time       timestamptz NOT NULL,
    update_time       timestamptz NOT NULL
);
-- A person has at most one open plan for each pathway.
CREATE UNIQUE INDEX plans_running ON plans (person_id, pathway_id) WHERE close_time IS NULL;
CREATE INDEX plans_person ON plans (person_id, create_time DESC);
CREATE INDEX plans_changed ON plans (organization_id, update_time DESC);
CREATE INDEX plans_due ON plans (organization_id, next_due_time) WHERE next_due_time IS NOT NULL;
CREATE TABLE plan_steps (
    plan_id     text NOT NULL REFERENCES plans ON DELETE CASCADE,
    key         text NOT NULL,
    state       text NOT NULL,
    referral_id text NOT NULL DEFAULT '',
    reason_code text NOT NULL DEFAULT '',
    due_time    timestamptz,
    settle_time timestamptz,
    PRIMARY KEY (plan_id, key)
);
CREATE INDEX plan_steps_referral ON plan_steps (referral_id) WHERE referral_id <> '';
ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE plan_steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY plans_scope ON plans USING (scope_view() = 'system' OR organization_id = scope_organization());
CREATE POLICY plan_steps_scope ON plan_steps USING (scope_view() = 'system' OR EXISTS (SELECT 1 FROM plans WHERE plans.id = plan_id));

-- When a person's file is erased or her key is destroyed, in whatever way, her plans are deleted,
-- too.
CREATE FUNCTION forget_plans() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM plans WHERE person_id = CASE TG_TABLE_NAME WHEN 'people' THEN to_jsonb(NEW) ->> 'id' ELSE to_jsonb(NEW) ->> 'person_id' END;
    RETURN NEW;
END $$;
CREATE TRIGGER person_erased AFTER UPDATE OF erased ON people FOR EACH ROW WHEN (NEW.erased) EXECUTE FUNCTION forget_plans();
CREATE TRIGGER person_keys_destroyed_with_plans AFTER UPDATE OF wrapped ON person_keys FOR EACH ROW WHEN (NEW.wrapped IS NULL) EXECUTE FUNCTION forget_plans();

-- migrate:down
DROP TRIGGER person_keys_destroyed_with_plans ON person_keys;
DROP TRIGGER person_erased ON people;
DROP FUNCTION forget_plans();
DROP TABLE plan_steps, plans, pathway_versions;
