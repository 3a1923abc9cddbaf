"""Background imports: pending jobs, the claims of the processes that work on them, and reports.

Files and reports are sealed.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis.announcements import AT_ONCE, announce
from chassis.db import Row, Transaction
from chassis.locks import advisory_lock
from chassis.tokens import Caller, Evidence
from keys.sealing import Keyring
from services.partners.directory.domain.import_job import (
    FILE_RETENTION,
    REPORT_RETENTION,
    ImportJob,
    ImportState,
)
from services.partners.directory.domain.imports import Encoding

_LEASE = timedelta(seconds=30)
"""How long a claim lasts without renewal. After that, another process takes over the import."""
CHANNEL = "imports"
"""The channel that announces that there may be an import to claim."""
_ALL_BUT_BYTES = (
    "id, importer_id, organization_id, dry_run, encoding, answers, state, rows_done, rows_total,"
    " failure_code, create_time, end_time,"
    " cancel_time, attempts"
)


def add(tx: Transaction, keyring: Keyring, job: ImportJob, caller: Caller, file: bytes) -> None:
    """Stores a new import."""
    tx.execute(
        "INSERT INTO imports (id, importer_id, caller, organization_id, dry_run, encoding, answers,"
        " file, state, create_time)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            job.id,
            job.importer_id,
            json.dumps(
                {
                    "id": caller.id,
                    "kind": caller.kind,
                    "organization_id": caller.organization_id,
                    "roles": sorted(caller.roles),
                    "scopes": sorted(caller.scopes),
                    "token": caller.token and [caller.token.hash, caller.token.end.isoformat()],
                }
            ),
            job.organization_id,
            job.dry_run,
            job.encoding or "",
            json.dumps([[file_name, row, id] for (file_name, row), id in job.answers.items()]),
            keyring.seal_bytes(file, _file_context(job.id)),
            job.state,
            job.create_time,
        ),
    )
    announce(tx, CHANNEL, AT_ONCE)


def lock_queue(tx: Transaction) -> None:
    """Keeps other transactions from claiming or adding an import until this transaction ends."""
    advisory_lock(tx, "imports")


def count_unfinished(tx: Transaction, importer_id: str) -> int:
    """Returns the number of imports of an organisation that have not ended."""
    row = tx.execute(
        "SELECT count(*) AS n FROM imports WHERE importer_id = %s AND end_time IS NULL",
        (importer_id,),
    ).fetchone()
    return row["n"] if row else 0


def fetch(tx: Transaction, keyring: Keyring, id: str, *, lock: bool = False) -> ImportJob | None:
    """Returns an import with its report; with `lock`, locked until the transaction ends."""
    row = tx.execute(
        f"SELECT {_ALL_BUT_BYTES}, report FROM imports"
        f" WHERE id = %s {'FOR UPDATE' if lock else ''}",
        (id,),
    ).fetchone()
    if row is None:
        return None
    job = _read(row)
    job.report = keyring.open_bytes(row["report"], _report_context(id)) if row["report"] else b""
    return job


def file_of(tx: Transaction, keyring: Keyring, id: str) -> bytes | None:
    """Returns the file of an import; None if the file or the import has been deleted."""
    row = tx.execute("SELECT file FROM imports WHERE id = %s", (id,)).fetchone()
    return keyring.open_bytes(row["file"], _file_context(id)) if row and row["file"] else None


def newest(tx: Transaction, importer_id: str, limit: int) -> list[ImportJob]:
    """Returns the last imports of an organisation, newest first, without reports."""
    rows = tx.execute(
        f"SELECT {_ALL_BUT_BYTES} FROM imports WHERE importer_id = %s ORDER BY create_time DESC, id"
        " LIMIT %s",
        (importer_id, limit),
    )
    return [_read(row) for row in rows]


def save(tx: Transaction, job: ImportJob) -> None:
    """Stores the state of an import. The caller must have locked its row."""
    tx.execute(
        "UPDATE imports SET state = %s, cancel_time = %s, end_time = %s, failure_code = %s"
        " WHERE id = %s",
        (job.state, job.cancel_time, job.end_time, job.failure_code, job.id),
    )


# A claim time far in the future comes from a clock that was wrong, and does not prolong the lease.
_LIVE = "claim_time BETWEEN %(now)s - %(lease)s AND %(now)s + %(lease)s"


def next_time(tx: Transaction, now: datetime) -> datetime | None:
    """Returns when an import may be claimed; None if all imports have ended.

    The time is AT_ONCE, or the end of the lease if a process is working on an import.
    """
    row = tx.execute(
        f"SELECT count(*) AS n, max(claim_time) FILTER (WHERE {_LIVE}) AS claimed FROM imports"
        " WHERE end_time IS NULL",
        {"now": now, "lease": _LEASE},
    ).fetchone()
    if row is None or not row["n"]:
        return None
    return row["claimed"] + _LEASE if row["claimed"] else AT_ONCE


def claim(tx: Transaction, claim: str, now: datetime) -> tuple[ImportJob, Caller] | None:
    """Claims the oldest unfinished import, and returns it with the caller who requested it.

    Returns None if there is no unfinished import, or if a process is already working on an import.
    The caller of this function must have locked the queue.
    """
    row = tx.execute(
        "UPDATE imports SET claim = %(claim)s, claim_time = %(now)s, attempts = attempts + 1,"
        " state = 'READING', rows_done = 0, rows_total = 0"
        f" WHERE NOT EXISTS (SELECT FROM imports WHERE end_time IS NULL AND {_LIVE})"
        " AND id = (SELECT id FROM imports WHERE end_time IS NULL ORDER BY create_time, id"
        " LIMIT 1 FOR UPDATE)"
        f" RETURNING {_ALL_BUT_BYTES}, caller",
        {"claim": claim, "now": now, "lease": _LEASE},
    ).fetchone()
    if row is None:
        return None
    caller_fields = row["caller"]
    token = (
        Evidence(caller_fields["token"][0], datetime.fromisoformat(caller_fields["token"][1]))
        if caller_fields.get("token")
        else None
    )
    caller = Caller(
        caller_fields["id"],
        caller_fields["kind"],
        caller_fields["organization_id"],
        frozenset(caller_fields["roles"]),
        frozenset(caller_fields["scopes"]),
        token=token,
    )
    return _read(row), caller


def renew(tx: Transaction, claim: str, job: ImportJob, now: datetime) -> bool | None:
    """Renews the claim and stores the progress.

    Returns whether the cancellation of the import was requested; None if the import has ended or
    another process has claimed it.
    """
    row = tx.execute(
        "UPDATE imports SET claim_time = %s, state = %s, rows_done = %s, rows_total = %s"
        " WHERE id = %s AND claim = %s AND end_time IS NULL"
        " RETURNING cancel_time",
        (now, job.state, job.rows_done, job.rows_total, job.id, claim),
    ).fetchone()
    return row["cancel_time"] is not None if row else None


def release(tx: Transaction, claim: str, job: ImportJob, *, counts: bool) -> None:
    """Gives up the claim, so that the import is started again.

    `counts`: the attempt that is given up counts towards MAX_ATTEMPTS.
    """
    tx.execute(
        "UPDATE imports SET claim = NULL, claim_time = NULL, state = 'PENDING', attempts = attempts"
        " - %s WHERE id = %s AND claim = %s",
        (0 if counts else 1, job.id, claim),
    )
    announce(tx, CHANNEL, AT_ONCE)  # the other processes need not wait for the end of the lease


def finish(tx: Transaction, keyring: Keyring, claim: str, job: ImportJob) -> bool:
    """Stores the final state and the report of an import.

    Returns False if the import has ended or another process has claimed it, or if the new state is
    DONE although cancellation was requested: the caller must then roll back.
    """
    cursor = tx.execute(
        "UPDATE imports SET state = %s, rows_done = %s, rows_total = %s, failure_code = %s,"
        " end_time = %s, report = %s,"
        " claim = NULL, claim_time = NULL WHERE id = %s AND claim = %s AND end_time IS NULL"
        " AND (cancel_time IS NULL OR %s)",
        (
            job.state,
            job.rows_done,
            job.rows_total,
            job.failure_code,
            job.end_time,
            keyring.seal_bytes(job.report, _report_context(job.id)) if job.report else None,
            job.id,
            claim,
            job.state is not ImportState.DONE,
        ),
    )
    announce(tx, CHANNEL, AT_ONCE)  # another import may be waiting
    return cursor.rowcount == 1


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes old files (FILE_RETENTION) and old imports with their reports; returns how many."""
    files = tx.execute(
        "UPDATE imports SET file = NULL WHERE end_time <= %s AND file IS NOT NULL",
        (now - FILE_RETENTION,),
    )
    return (
        files.rowcount
        + tx.execute("DELETE FROM imports WHERE end_time <= %s", (now - REPORT_RETENTION,)).rowcount
    )


def _read(row: Row) -> ImportJob:
    answers: Sequence[tuple[str, int, str]] = row["answers"]
    return ImportJob(
        id=row["id"],
        importer_id=row["importer_id"],
        organization_id=row["organization_id"],
        dry_run=row["dry_run"],
        create_time=row["create_time"],
        encoding=Encoding(row["encoding"]) if row["encoding"] else None,
        answers={(file, row_number): id for file, row_number, id in answers},
        state=ImportState(row["state"]),
        rows_done=row["rows_done"],
        rows_total=row["rows_total"],
        failure_code=row["failure_code"],
        end_time=row["end_time"],
        cancel_time=row["cancel_time"],
        attempts=row["attempts"],
    )


def _file_context(id: str) -> str:
    return f"imports/{id}/file"


def _report_context(id: str) -> str:
    return f"imports/{id}/report"
