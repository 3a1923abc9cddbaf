"""The import of a directory from a partner's spreadsheet.

Its rows are imported as new services, and then the same rows once more.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from bench.figures import Measurement
from chassis.db import Database
from chassis.tokens import SYSTEM
from keys.sealing import Keyring
from services.partners.directory.store.areas import areas
from services.partners.directory.store.taxonomy import taxonomy
from services.partners.directory.usecases.imports import import_directory
from services.partners.directory.wire.imports.child_process import parse_in_child_process
from services.partners.directory.wire.imports.drafts import CellReader
from tests.parts.local_stack import LocalStack, until

ROWS, TIMES = 2_000, 5
LISTENERS = (("referrals", "referrals"), ("notifications", "notifications-partners"))
HEADINGS = "Nombre;Necesidades;Departamento;Teléfono;Horario;Edades;Idiomas"


def sheet(run: int) -> bytes:
    """Returns a spreadsheet of services that are not in the directory yet."""
    rows = (
        f"Asesoría {run}-{n};LEG.INF;Chinandega;2341-{n:04};L-V 8am-5pm;18+;español, inglés"
        for n in range(ROWS)
    )
    return "\n".join((HEADINGS, *rows)).encode()


def has_applied_all(stack: LocalStack, service: str, consumer: str) -> bool:
    """Returns True if a service has applied a fact about each subject in the outbox of partners."""
    with stack.database("partners") as partners, stack.database(service) as listener:
        published = partners.execute("SELECT count(DISTINCT subject) AS n FROM outbox").fetchone()
        applied = listener.execute(
            "SELECT count(*) AS n FROM inbox WHERE consumer = %s AND version > 0", (consumer,)
        ).fetchone()
    return bool(published and applied and applied["n"] >= published["n"])


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures imports into the stack's database.

    A process of its own reads and checks the file; this process writes and commits.
    """
    database = Database(stack.database_url("partners"), max_size=2)
    database.open()
    try:
        with database.transaction(SYSTEM) as tx:
            row = tx.execute(
                "SELECT id FROM organizations WHERE status = 'APPROVED' AND type = 'NGO'"
                " AND country = 'NI' ORDER BY id LIMIT 1"
            ).fetchone()
        assert row is not None
        first_runs, later_runs = list[float](), list[float]()
        for run in range(TIMES):
            for runs in (first_runs, later_runs):
                # Waits until the facts of the previous file are published and applied, since
                # otherwise that work would be measured, too.
                until(lambda: all(has_applied_all(stack, *listener) for listener in LISTENERS), 120)
                begin = time.perf_counter()
                parsed = parse_in_child_process(
                    sheet(run), CellReader(taxonomy(), areas(), "NI"), None, lambda: None
                )
                with database.transaction(SYSTEM, timeout=60) as tx:
                    keyring = Keyring(b"0" * 32)  # nothing is sealed here
                    report = import_directory(
                        tx, keyring, SYSTEM, datetime.now(UTC), parsed, row["id"], dry_run=False
                    )
                assert report.written, [line.problems for line in report.lines if line.problems][:3]
                runs.append(ROWS / (time.perf_counter() - begin))
    finally:
        database.close()
    conditions = (
        f"the median of {TIMES} files of {ROWS} rows into the demo network's directory;"
        f" the same file once more: {sorted(later_runs)[TIMES // 2]:.0f}/s"
    )
    return [Measurement("import_rows_per_s", sorted(first_runs)[TIMES // 2], conditions)]
