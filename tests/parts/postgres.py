"""A PostgreSQL server for a test process, with many databases.

Each xdist worker has its own server, which starts in half a second. A database is a copy of a
template that is migrated once per process, so each module, or each test, can have an empty database
of its own in a twentieth of a second. Limitation: the server is not durable (fsync off); tests of
durability after a power cut start a PostgreSQL server of their own.

Many short runs in a row may share one server, if the variable `SHARED_SERVER` is set to
`Server.shared_server_value`. A run then removes its databases, and keeps the templates for the next
run. `python -m tests.parts.postgres` starts such a server, prints the value, and ends when its
standard input is closed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from chassis import db
from chassis.migrate import migrate
from local.postgres import Login, Postgres

SHARED_SERVER = "ENLACE_TEST_POSTGRES"
"""The environment variable that names a running server for the tests."""


@dataclass(frozen=True)
class Database:
    """The addresses of one database.

    `url` is for the service's plain role, `migration_url` for the role that owns and migrates it.
    """

    name: str
    url: str
    migration_url: str

    @contextmanager
    def open_as_service(self, **options: Any) -> Iterator[db.Database]:
        """Yields the database as a service opens it; closes it when the block ends."""
        database = db.Database(self.url, **options)
        database.open()
        try:
            yield database
        finally:
            database.close()

    def run_as_owner(self, statements: str) -> None:
        """Runs statements as the role that owns the database."""
        with psycopg.connect(self.migration_url) as owner:
            owner.execute(statements.encode())


class Server:
    """A PostgreSQL server for tests.

    Most tests need only `database()`; `engine` is for tests that stop, kill or restart the
    server; they must leave it running.
    """

    def __init__(self) -> None:
        port, _, home = os.environ.get(SHARED_SERVER, "").partition(" ")
        self._is_shared = bool(home)
        if self._is_shared:
            self._home = Path(home)
            self.engine = Postgres(self._home, port=int(port), durable=False)
        else:
            self._home = Path(tempfile.mkdtemp(prefix="enlace-test-postgres-"))
            if os.geteuid() == 0:
                # PostgreSQL then runs as the user nobody, who can reach this folder; otherwise the
                # data would go into a system folder.
                self._home.chmod(0o711)
            self.engine = Postgres(self._home, durable=False)
            self.engine.start()
        self._database_names: list[str] = []

    @property
    def shared_server_value(self) -> str:
        """Returns the value of the variable `SHARED_SERVER` for runs with this server."""
        return f"{self.engine.port} {self._home}"

    def database(self, service: str = "tests", migrations: Sequence[Path] = ()) -> Database:
        """Returns a new database, with the migrations in these folders applied.

        The roles are `SERVICE_owner` and `SERVICE`.
        """
        folders = " ".join(str(folder) for folder in migrations)
        template = f"template_{service}_{zlib.crc32(folders.encode()):x}"
        marker = self._home / template  # exists once the template is complete
        if not marker.exists():
            self.engine.ensure(template, _owner(service), _app(service))
            if migrations:
                migrate(self._pg_database(template, service).migration_url, list(migrations))
            marker.touch()
        pg_database = self._pg_database(
            f"{service}_{os.getpid()}_{len(self._database_names)}", service
        )
        self._database_names.append(pg_database.name)
        self.engine.clone(template, pg_database.name)
        return pg_database

    @property
    def programs(self) -> Path:
        """Returns the folder of PostgreSQL's own programs."""
        return self.engine.programs()

    def dump(self, database: Database, file: Path) -> None:
        """Copies a database into a file, as docs/operations.md describes."""
        url = database.migration_url
        self._run("pg_dump", "--format=custom", "--exclude-extension=*", f"--file={file}", url)

    def restore(self, database: Database, file: Path) -> None:
        """Replaces a database with the copy in a file."""
        url = database.migration_url
        options = ("--clean", "--if-exists", "--no-owner", f"--dbname={url}")
        self._run("pg_restore", *options, str(file))

    def _run(self, program: str, *arguments: str) -> None:
        process = subprocess.run(
            [str(self.programs / program), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        assert process.returncode == 0, process.stderr

    def drop(self, database: Database) -> None:
        self.engine.drop(database.name)

    def close(self) -> None:
        if not self._is_shared:
            self.engine.remove()
            return
        for name in self._database_names:
            self.engine.drop(name)

    def _pg_database(self, name: str, service: str) -> Database:
        return Database(
            name,
            self.engine.url(name, _app(service)),
            self.engine.url(name, _owner(service), "?sslmode=disable"),
        )


def _owner(service: str) -> Login:
    return Login(f"{service}_owner", "owner-password")


def _app(service: str) -> Login:
    return Login(service, "app-password")


if __name__ == "__main__":
    server = Server()
    print(server.shared_server_value, flush=True)
    sys.stdin.read()
    server.close()
