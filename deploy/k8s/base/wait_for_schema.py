"""Lets a service start only when its database has every migration of its own image: at the first start, and at each new version.

Reads the list that dbmate keeps, as the service's plain role; waits for as long as it takes. Limit: it changes nothing; the migration's Job does.
"""

import os
import time
from pathlib import Path

import psycopg

import chassis
import services


def wanted(service: str) -> set[str]:
    """The versions of this image's migrations: the digits that a file name begins with."""
    folders = (Path(chassis.__file__).parent / "migrations", Path(services.__file__).parent / service / "migrations")
    return {file.name.split("_")[0] for folder in folders for file in folder.glob("*.sql")}


def missing(service: str, url: str) -> set[str] | None:
    """The migrations that the database lacks; None when it can't be asked yet."""
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            return wanted(service) - {str(row[0]) for row in connection.execute("SELECT version FROM schema_migrations")}
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        return None


def main() -> None:
    """Returns when nothing is missing."""
    service = os.environ["SERVICE"]  # noqa: TID251 - the entry of its process
    url = Path(os.environ["ENLACE_DATABASE_URL_FILE"]).read_text().strip()  # noqa: TID251
    while (lacks := missing(service, url)) != set():
        print(f"{service}: waiting for its " + ("database" if lacks is None else "migrations"), flush=True)  # noqa: T201
        time.sleep(2)


if __name__ == "__main__":
    main()
