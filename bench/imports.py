"""Taking over a directory that was kept elsewhere: rows of a partner's spreadsheet, new ones, and the same again."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from bench.figures import Measured
from chassis.db import Database
from chassis.sealing import Keyring
from chassis.tokens import SYSTEM
from services.partners import usecases
from tests.parts.local_stack import LocalStack, until

ROWS, TIMES = 2_000, 5
HEADINGS = "Nombre;Necesidades;Departamento;Teléfono;Horario;Edades;Idiomas"


def sheet(run: int) -> bytes:
    """Services that nobody has yet."""
    rows = (f"Asesoría {run}-{n};LEG.INF;Chinandega;2341-{n:04};L-V 8am-5pm;18+;español, inglés" for n in range(ROWS))
    return "\n".join((HEADINGS, *rows)).encode()


def told_still(database: Database) -> int:
    """Facts that are not sent yet."""
    with database.transaction(SYSTEM) as tx:
        row = tx.execute("SELECT count(*) AS n FROM outbox WHERE published_at IS NULL").fetchone()
    return int(row["n"]) if row else 0


def measure(stack: LocalStack) -> list[Measured]:
    """In this process, on the stack's database: reading, checking, writing, committing."""
    database = Database(stack.database_url("partners"), max_size=2)
    database.open()
    try:
        with database.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT id FROM organizations WHERE status = 'APPROVED' AND type = 'NGO' AND country = 'NI' ORDER BY id LIMIT 1"
            ).fetchone()
        assert row is not None
        new, again = list[float](), list[float]()
        for run in range(TIMES):
            for took in (new, again):
                # What the file before told is sent by now: else this is measured beside the sending of that.
                until(lambda: not told_still(database))
                began = time.perf_counter()
                with database.transaction(SYSTEM) as tx:
                    keyring = Keyring(b"0" * 32)  # nothing is sealed here
                    report = usecases.import_directory(tx, keyring, SYSTEM, datetime.now(UTC), sheet(run), row["id"], dry_run=False)
                assert report.written, [line.problems for line in report.lines if line.problems][:3]
                took.append(ROWS / (time.perf_counter() - began))
    finally:
        database.close()
    told = f"the median of {TIMES} files of {ROWS} rows into the demo network's directory; the same file once more: {sorted(again)[TIMES // 2]:.0f}/s"
    return [Measured("import_rows_per_s", sorted(new)[TIMES // 2], told)]
