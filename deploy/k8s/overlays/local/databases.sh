#!/bin/bash
# Creates a database for each service, the role that owns it (and migrates it), and the plain role that the service uses. The image runs this once, on an
# empty volume. The roles have the same rights as on one machine (local/postgres.py).
set -euo pipefail
for service in partners referrals notifications; do
  WORD_owner_password="$(cat "${PASSWORDS:-/passwords}/${service}_owner")" WORD_app_password="$(cat "${PASSWORDS:-/passwords}/${service}")" \
    psql -X -q -v ON_ERROR_STOP=1 -U postgres -d postgres -v database="$service" -v owner="${service}_owner" -v app="$service" <<'SQL'
\getenv owner_password WORD_owner_password
\getenv app_password WORD_app_password
CREATE ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'owner_password';
CREATE ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app_password';
CREATE DATABASE :"database" OWNER :"owner";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"app";
\connect :"database"
GRANT USAGE ON SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE ON SEQUENCES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO :"app";
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;
CREATE EXTENSION IF NOT EXISTS btree_gist;
SQL
done
