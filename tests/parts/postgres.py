"""A PostgreSQL for a test process, with many databases.

Each xdist worker has its own, which starts in half a second. A database is a copy of a template
that was migrated once per process, so each module, or each test, can have an empty database of its
own in a twentieth of a second. Limit: it is not durable (fsync off); tests of what survives a power
cut start a PostgreSQL of their own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.migrate import migrate
from local.postgres import Login, Postgres


@dataclass(frozen=True)
class Database:
    """The addresses of one database.

    `url` is for the service's plain role, `migration_url` for the role that owns and migrates it.
    """

    name: str
    url: str
    migration_url: str


class Server:
    """A PostgreSQL for tests.

    Most tests need only `database()`; `engine` is for tests that stop, kill or restart it, and
    start it again afterwards.
    """

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="enlace-test-postgres-"))
        if os.geteuid() == 0:
            # then it works in place as the user nobody, and leaves nothing in the system's folders
            self._home.chmod(0o711)
        self.engine = Postgres(self._home, durable=False)
        self.engine.start()
        self._templates: dict[tuple[str, tuple[Path, ...]], str] = {}
        self._made = 0

    def database(self, service: str = "tests", migrations: Sequence[Path] = ()) -> Database:
        """Returns a new database, with the migrations in these folders applied.

        The roles are `SERVICE_owner` and `SERVICE`.
        """
        key = (service, tuple(migrations))
        if key not in self._templates:
            name = f"template_{service}_{len(self._templates)}"
            self.engine.ensure(name, _owner(service), _app(service))
            if migrations:
                migrate(self._place(name, service).migration_url, list(migrations))
            self._templates[key] = name
        self._made += 1
        place = self._place(f"{service}_{self._made}", service)
        self.engine.clone(self._templates[key], place.name)
        return place

    @property
    def programs(self) -> Path:
        """Returns the folder of PostgreSQL's own programs."""
        return self.engine.programs()

    def drop(self, database: Database) -> None:
        self.engine.drop(database.name)

    def close(self) -> None:
        self.engine.remove()

    def _place(self, name: str, service: str) -> Database:
        return Database(
            name,
            self.engine.url(name, _app(service)),
            self.engine.url(name, _owner(service), "?sslmode=disable"),
        )


def _owner(service: str) -> Login:
    return Login(f"{service}_owner", "owner-password")


def _app(service: str) -> Login:
    return Login(service, "app-password")
