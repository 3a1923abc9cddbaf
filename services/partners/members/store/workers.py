"""Workers and their sessions; only hashes of passwords and session secrets are stored."""

from collections.abc import Sequence
from datetime import datetime

from chassis.db import Row, Transaction, skip_if_disk_full
from chassis.wire import Cursor
from facts import outbox
from services.partners.members.domain.organization import Organization
from services.partners.members.domain.worker import (
    MAX_IDLE,
    MAX_SESSION,
    NETWORK_ROLES,
    Role,
    Worker,
    WorkerEntry,
    WorkerStatus,
    normalized_email,
)
from services.partners.members.store import organizations, provenance
from services.partners.members.wire import facts
from services.partners.network.store.sort_keys import sort_key

# FOR UPDATE could deadlock: a sign-in that opens a session (whose row refers to its worker) would
# wait for this lock, and a step that ends sign-ins would wait for that sign-in's challenge.
_LOCK_CLAUSE = "FOR NO KEY UPDATE"


def add(tx: Transaction, worker: Worker, password_hash: str, inviter_id: str = "") -> bool:
    """Stores a new worker with its facts and its inviter.

    `inviter_id` is "" while the network is being set up. Returns False, and writes nothing, if
    another account has the e-mail address.
    """
    entry = worker.entry
    inserted_count = tx.execute(
        "INSERT INTO workers (id, version, organization_id, status, name, name_key, email,"
        " email_key, password_hash, roles, language,"
        " create_time, update_time) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (email_key) DO NOTHING",
        (
            worker.id,
            worker.version,
            worker.organization_id,
            worker.status,
            entry.name,
            sort_key(entry.name),
            entry.email,
            normalized_email(entry.email),
            password_hash,
            list(entry.roles),
            entry.language,
            worker.create_time,
            worker.update_time,
        ),
    ).rowcount
    if inserted_count:
        provenance.note_origin(tx, worker.id, inviter_id, worker.create_time)
        _publish(tx, worker)
    return bool(inserted_count)


def release_address(tx: Transaction, id: str) -> None:
    """Makes the e-mail address of an account that nobody can use any more free for another account.

    The account keeps its mailbox, which ties it to other accounts of the same person: a suffix does
    not count (`mailbox_key`).
    """
    tx.execute(
        "UPDATE workers SET email_key = split_part(email_key, '@', 1) || '+' || id || '@'"
        " || split_part(email_key, '@', 2) WHERE id = %s",
        (id,),
    )


def save_status(tx: Transaction, worker: Worker) -> None:
    """Stores a changed status, or a proposed suspension, with the worker's facts."""
    tx.execute(
        "UPDATE workers SET version = %s, status = %s, update_time = %s,"
        " suspension_proposed_by_worker_id = %s WHERE id = %s",
        (
            worker.version,
            worker.status,
            worker.update_time,
            worker.suspension_proposed_by_worker_id,
            worker.id,
        ),
    )
    _publish(tx, worker)


def drop_suspension_proposals(tx: Transaction, before: datetime, worker_id: str = "") -> int:
    """Drops proposals to suspend an account; returns how many.

    Drops the proposals that were made at `before` or earlier, and all proposals by this worker. The
    time of a proposal is `update_time`: every other step that changes it also drops the proposal.
    """
    return tx.execute(
        "UPDATE workers SET suspension_proposed_by_worker_id = ''"
        " WHERE suspension_proposed_by_worker_id <> ''"
        " AND (update_time <= %s OR suspension_proposed_by_worker_id = %s)",
        (before, worker_id),
    ).rowcount


def renew(tx: Transaction, worker: Worker, password_hash: str, inviter_id: str) -> None:
    """Stores a renewed account with its facts and its new inviter."""
    entry = worker.entry
    tx.execute(
        "UPDATE workers SET version = %s, status = %s, name = %s, name_key = %s, password_hash ="
        " %s, roles = %s, language = %s, update_time = %s,"
        " suspension_proposed_by_worker_id = '' WHERE id = %s",
        (
            worker.version,
            worker.status,
            entry.name,
            sort_key(entry.name),
            password_hash,
            list(entry.roles),
            entry.language,
            worker.update_time,
            worker.id,
        ),
    )
    provenance.note_origin(tx, worker.id, inviter_id, worker.update_time)
    _publish(tx, worker)


def fetch(tx: Transaction, id: str, *, lock: bool = False) -> Worker | None:
    """Returns a worker; with `lock` its row is locked until the transaction ends."""
    row = tx.execute(
        f"SELECT * FROM workers WHERE id = %s {_LOCK_CLAUSE if lock else ''}", (id,)
    ).fetchone()
    return read(row) if row else None


def by_email(tx: Transaction, email: str, *, lock: bool = False) -> tuple[Worker, str] | None:
    """Returns the worker with this address, locked as in `fetch`, and her password's hash."""
    row = tx.execute(
        f"SELECT * FROM workers WHERE email_key = %s {_LOCK_CLAUSE if lock else ''}",
        (normalized_email(email),),
    ).fetchone()
    return (read(row), row["password_hash"]) if row else None


def with_hash(tx: Transaction, id: str) -> tuple[Worker, str] | None:
    """Returns a worker, locked, and the hash of her password."""
    row = tx.execute(f"SELECT * FROM workers WHERE id = %s {_LOCK_CLAUSE}", (id,)).fetchone()
    return (read(row), row["password_hash"]) if row else None


def still_has_password(tx: Transaction, id: str, password_hash: str) -> bool:
    """Returns whether a worker's password still has this hash; locks the password against changes.

    Because of the lock, a later change of the password also ends sessions that this transaction
    opens.
    """
    row = tx.execute("SELECT password_hash FROM workers WHERE id = %s FOR SHARE", (id,)).fetchone()
    return row is not None and row["password_hash"] == password_hash


def set_password(tx: Transaction, id: str, password_hash: str) -> None:
    """Stores a new password, without a fact."""
    tx.execute("UPDATE workers SET password_hash = %s WHERE id = %s", (password_hash, id))


def names(tx: Transaction, ids: Sequence[str], organization_id: str) -> dict[str, str]:
    """Returns, by id, the names of the workers with these ids who belong to the organisation."""
    rows = tx.execute(
        "SELECT id, name FROM workers WHERE id = ANY(%s) AND organization_id = %s",
        (list(ids), organization_id),
    )
    return {row["id"]: row["name"] for row in rows}


def page_by_name(
    tx: Transaction, organization_id: str, size: int, after: Cursor | None
) -> tuple[list[Worker], Cursor | None]:
    """Returns a page of an organisation's workers, sorted by name, and the next page's position."""
    rows = tx.execute(
        "SELECT * FROM workers WHERE organization_id = %(of)s"
        " AND (%(after)s::text[] IS NULL OR (name_key, id) > ((%(after)s::text[])[1],"
        " (%(after)s::text[])[2]))"
        " ORDER BY name_key, id LIMIT %(limit)s",
        {"of": organization_id, "after": after, "limit": size + 1},
    ).fetchall()
    has_more = len(rows) > size
    return [read(row) for row in rows[:size]], [
        rows[size - 1]["name_key"],
        rows[size - 1]["id"],
    ] if has_more else None


def is_in_good_standing(tx: Transaction, worker_id: str, organization_id: str) -> bool:
    """Returns whether a worker and her organisation may act."""
    return bool(
        tx.execute(
            "SELECT 1 FROM workers AS w JOIN organizations AS o ON o.id = w.organization_id"
            " WHERE w.id = %s AND o.id = %s AND w.status = 'ACTIVE'"
            " AND o.status IN ('PROBATION', 'APPROVED')",
            (worker_id, organization_id),
        ).fetchone()
    )


def has_manager(tx: Transaction, organization_id: str) -> bool:
    """Returns whether an organisation has a manager with an active account."""
    return bool(manager_ids(tx, organization_id))


def is_founded(tx: Transaction) -> bool:
    """Returns whether the network has, or had, a coordinator."""
    return (
        tx.execute("SELECT FROM workers WHERE 'COORDINATOR' = ANY(roles) LIMIT 1").fetchone()
        is not None
    )


def manager_ids(tx: Transaction, organization_id: str) -> list[str]:
    """Returns the ids of at most two managers of the organisation with active accounts."""
    rows = tx.execute(
        "SELECT id FROM workers WHERE organization_id = %s AND 'MANAGER' = ANY(roles)"
        " AND status = 'ACTIVE' LIMIT 2",
        (organization_id,),
    )
    return [row["id"] for row in rows]


def all_managers(tx: Transaction, organization_id: str) -> list[Worker]:
    """Returns all managers of the organisation with active accounts."""
    rows = tx.execute(
        "SELECT * FROM workers WHERE organization_id = %s AND 'MANAGER' = ANY(roles)"
        " AND status = 'ACTIVE' ORDER BY id",
        (organization_id,),
    )
    return [read(row) for row in rows]


def invited_by(tx: Transaction, worker_id: str, since: datetime) -> list[tuple[Worker, datetime]]:
    """Returns the active accounts that a worker's invitations created or renewed from `since` on.

    This includes accounts that those accounts invited in turn, if the inviting account is new. The
    worker's own account is left out. Each account comes with the time of its last creation or
    renewal.
    """
    rows = tx.execute(
        "WITH RECURSIVE made AS ("
        " SELECT worker_id, time FROM account_origins WHERE inviter_id = %(id)s"
        " AND time >= %(since)s"
        " UNION SELECT o.worker_id, o.time FROM made JOIN workers AS w ON w.id = made.worker_id"
        " AND w.create_time >= %(since)s"
        " JOIN account_origins AS o ON o.inviter_id = w.id"
        ") SELECT w.*, m.time AS origin_time FROM workers AS w"
        " JOIN (SELECT worker_id, max(time) AS time FROM made GROUP BY worker_id) AS m"
        " ON m.worker_id = w.id WHERE w.status = 'ACTIVE' AND w.id <> %(id)s",
        {"id": worker_id, "since": since},
    )
    return [(read(row), row["origin_time"]) for row in rows]


def with_network_role(tx: Transaction) -> list[Worker]:
    """Returns the active accounts with a network role, by organisation and name.

    Accounts of organisations that have left are left out: nobody can use them.
    """
    rows = tx.execute(
        "SELECT * FROM workers AS w WHERE roles && %s AND status = 'ACTIVE'"
        " AND NOT EXISTS (SELECT FROM organizations AS o WHERE o.id = w.organization_id"
        " AND o.status = 'LEFT') ORDER BY organization_id, name_key, id",
        (sorted(NETWORK_ROLES),),
    ).fetchall()
    return [read(row) for row in rows]


def coordinating_organizations(tx: Transaction) -> set[str]:
    """Returns the ids of the organisations that have coordinators with active accounts."""
    return {
        worker.organization_id
        for worker in with_network_role(tx)
        if Role.COORDINATOR in worker.entry.roles
    }


def has_network_role(tx: Transaction, organization_id: str) -> bool:
    """Returns whether an organisation has a coordinator or auditor with an active account."""
    return any(worker.organization_id == organization_id for worker in with_network_role(tx))


def has_coordinator(tx: Transaction, organization_id: str) -> bool:
    """Returns whether an organisation has a coordinator with an active account."""
    return bool(
        tx.execute(
            "SELECT 1 FROM workers WHERE organization_id = %s AND 'COORDINATOR' = ANY(roles)"
            " AND status = 'ACTIVE' LIMIT 1",
            (organization_id,),
        ).fetchone()
    )


def open_session(
    tx: Transaction, secret_hash: bytes, worker_id: str, now: datetime, prove_time: datetime
) -> None:
    """Stores a new session. `prove_time`: when its user proved who she is."""
    tx.execute(
        "INSERT INTO sessions (secret_hash, worker_id, create_time, last_use_time, prove_time)"
        " VALUES (%s, %s, %s, %s, %s)",
        (secret_hash, worker_id, now, now, prove_time),
    )


def session(
    tx: Transaction, secret_hash: bytes
) -> tuple[datetime, datetime, datetime, Worker, Organization] | None:
    """Returns a session; None if there is no such session.

    The values are the times of its beginning, last use and last proof, then its worker and the
    worker's organisation.
    """
    holder = "SELECT worker_id FROM sessions WHERE secret_hash = %s"
    sessions = tx.execute(
        "SELECT *, coalesce(prove_time, create_time) AS proved FROM sessions"
        " WHERE secret_hash = %s",
        (secret_hash,),
    )
    holders = tx.execute(f"SELECT * FROM workers WHERE id = ({holder})", (secret_hash,))
    members = tx.execute(
        "SELECT * FROM organizations WHERE id ="
        f" (SELECT organization_id FROM workers WHERE id = ({holder}))",
        (secret_hash,),
    )
    # a session has a worker, and a worker an organisation
    session, worker, member = sessions.fetchone(), holders.fetchone(), members.fetchone()
    if session is None or worker is None or member is None:
        return None
    return (
        session["create_time"],
        session["last_use_time"],
        session["proved"],
        read(worker),
        organizations.read(member),
    )


def prove_session(tx: Transaction, secret_hash: bytes, worker_id: str, time: datetime) -> None:
    """Records that the user of this worker's session proved at this time who she is."""
    tx.execute(
        "UPDATE sessions SET prove_time = %s WHERE secret_hash = %s AND worker_id = %s",
        (time, secret_hash, worker_id),
    )


def touch_session(tx: Transaction, secret_hash: bytes, now: datetime) -> None:
    """Records a use of the session."""
    with skip_if_disk_full(tx):
        tx.execute(
            "UPDATE sessions SET last_use_time = %s WHERE secret_hash = %s", (now, secret_hash)
        )


def end_session(tx: Transaction, secret_hash: bytes) -> None:
    """Ends a session, if it exists."""
    tx.execute("DELETE FROM sessions WHERE secret_hash = %s", (secret_hash,))


def sessions_of(tx: Transaction, worker_id: str) -> list[tuple[bytes, datetime, datetime]]:
    """Returns the sessions of a worker, the most recently used first.

    Each is (hash of the secret, time of the beginning, time of the last use).
    """
    rows = tx.execute(
        "SELECT * FROM sessions WHERE worker_id = %s"
        " ORDER BY last_use_time DESC, create_time DESC, secret_hash",
        (worker_id,),
    )
    return [(bytes(row["secret_hash"]), row["create_time"], row["last_use_time"]) for row in rows]


def end_sessions_of(
    tx: Transaction,
    *,
    worker_id: str = "",
    organization_id: str = "",
    except_secret_hash: bytes = b"",
) -> None:
    """Ends all sessions of a worker, or of an organisation's workers.

    `except_secret_hash`: the hash of the secret of a session that is not ended.
    """
    tx.execute(
        "DELETE FROM sessions USING workers AS w WHERE w.id = sessions.worker_id AND (w.id = %s"
        " OR w.organization_id = %s) AND secret_hash <> %s",
        (worker_id, organization_id, except_secret_hash),
    )


def forget_sessions(tx: Transaction, now: datetime) -> int:
    """Deletes expired sessions; returns how many."""
    return tx.execute(
        "DELETE FROM sessions WHERE create_time < %s OR last_use_time < %s",
        (now - MAX_SESSION, now - MAX_IDLE),
    ).rowcount


def read(row: Row) -> Worker:
    """Returns the worker that a row describes."""
    return Worker(
        id=row["id"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        organization_id=row["organization_id"],
        entry=WorkerEntry(
            row["name"], row["email"], tuple(Role(role) for role in row["roles"]), row["language"]
        ),
        status=WorkerStatus(row["status"]),
        suspension_proposed_by_worker_id=row["suspension_proposed_by_worker_id"],
    )


def _publish(tx: Transaction, worker: Worker) -> None:
    outbox.save(tx, facts.worker_facts(worker))
    worker.facts.clear()
