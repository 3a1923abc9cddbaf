-- migrate:up
-- The directory and its members. Times are UTC; versions count the facts that were published about a row (see outbox).

-- Words without accents, with Spanish stemming: "psicologia" finds "Atención psicológica".
CREATE TEXT SEARCH CONFIGURATION enlace (COPY = spanish);
ALTER TEXT SEARCH CONFIGURATION enlace ALTER MAPPING FOR asciiword, asciihword, hword_asciipart, word, hword, hword_part WITH unaccent, spanish_stem;

CREATE TABLE organizations (
    id             text        PRIMARY KEY,
    version        bigint      NOT NULL,
    status         text        NOT NULL,
    name           text        NOT NULL,
    -- The name without accents and capitals; it orders lists and marks the position of a page.
    name_key       text        NOT NULL COLLATE "C",
    type           text        NOT NULL,
    country        text        NOT NULL,
    department     text        NOT NULL,
    phone          text        NOT NULL,
    url            text        NOT NULL,
    languages      text[]      NOT NULL,
    description    text        NOT NULL,
    hotline_number text        NOT NULL,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL
);
CREATE INDEX organizations_by_name ON organizations (name_key, id);

CREATE TABLE services (
    id                 text        PRIMARY KEY,
    version            bigint      NOT NULL,
    organization_id    text        NOT NULL REFERENCES organizations,
    name               text        NOT NULL,
    name_key           text        NOT NULL COLLATE "C",
    description        text        NOT NULL,
    need_codes         text[]      NOT NULL,
    country            text        NOT NULL,
    department         text        NOT NULL,
    languages          text[]      NOT NULL,
    minimum_age        integer,
    maximum_age        integer,
    genders            text[]      NOT NULL,
    takes_dependants   boolean,
    maximum_dependants integer,
    intake             text,
    available          integer,
    maximum            integer,
    unit               text        NOT NULL,
    capacity_time      timestamptz,
    confidential       boolean     NOT NULL,
    phone              text        NOT NULL CHECK (NOT confidential OR phone = ''),
    assured_time       timestamptz,
    active             boolean     NOT NULL,
    create_time        timestamptz NOT NULL,
    update_time        timestamptz NOT NULL,
    -- The store computes the following columns from those above, the organisation and the taxonomy.
    shelter            boolean     NOT NULL,
    listed             boolean     NOT NULL,
    facets             text[]      NOT NULL, -- need:HOU.EMG need:HOU exactly:HOU.EMG country:NI area:NI-CI (area:NI: the whole country) language:es
    document           tsvector    NOT NULL
);
-- One index for words and facets together; it leaves out rows that nobody may find.
CREATE INDEX services_search ON services USING gin (document, facets) WHERE listed;
CREATE INDEX services_by_name ON services (name_key, id) WHERE listed;
CREATE INDEX services_of_organization ON services (organization_id, name_key, id);

-- Each word of the directory once; the words that a mistyped word resembles are looked up here.
CREATE TABLE words (word text COLLATE "C" PRIMARY KEY);
CREATE INDEX words_resembling ON words USING gin (word gin_trgm_ops);

CREATE TABLE workers (
    id              text        PRIMARY KEY,
    version         bigint      NOT NULL,
    organization_id text        NOT NULL REFERENCES organizations,
    status          text        NOT NULL,
    name            text        NOT NULL,
    name_key        text        NOT NULL COLLATE "C",
    email           text        NOT NULL,
    email_key       text        NOT NULL CONSTRAINT workers_email UNIQUE,
    password_hash   text        NOT NULL,
    roles           text[]      NOT NULL,
    language        text        NOT NULL,
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL
);
CREATE INDEX workers_of_organization ON workers (organization_id, name_key, id);

CREATE TABLE sessions (
    secret_hash   bytea       PRIMARY KEY,
    worker_id     text        NOT NULL REFERENCES workers,
    create_time   timestamptz NOT NULL,
    last_use_time timestamptz NOT NULL
);
CREATE INDEX sessions_of_worker ON sessions (worker_id);
CREATE INDEX sessions_by_age ON sessions (create_time);

-- Wrong passwords by keyed hash of the e-mail address, so that the table reveals no address.
CREATE TABLE attempts (
    email_hash    bytea       PRIMARY KEY,
    failures      integer     NOT NULL,
    last_time     timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL
);
CREATE INDEX attempts_by_age ON attempts (last_time);

CREATE TABLE api_keys (
    id              text        PRIMARY KEY,
    version         bigint      NOT NULL,
    organization_id text        NOT NULL REFERENCES organizations,
    label           text        NOT NULL,
    scopes          text[]      NOT NULL,
    secret_hash     bytea       NOT NULL,
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL,
    expire_time     timestamptz NOT NULL,
    last_use_time   timestamptz,
    revoke_time     timestamptz
);
CREATE INDEX api_keys_of_organization ON api_keys (organization_id, create_time, id);

-- migrate:down
DROP TABLE api_keys, attempts, sessions, workers, words, services, organizations;
DROP TEXT SEARCH CONFIGURATION enlace;
