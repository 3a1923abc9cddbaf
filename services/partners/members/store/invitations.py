"""Invitations; of their tokens only hashes are here."""

from datetime import datetime

from chassis import outbox
from chassis.db import Row, Transaction
from services.partners.members.domain.invitation import (
    Invitation,
    InvitationEntry,
    InvitationStatus,
)
from services.partners.members.domain.worker import Role, same_email
from services.partners.members.wire import facts


def add(tx: Transaction, invitation: Invitation, token_hash: bytes, sealed_letter: bytes) -> None:
    """Writes a new one with its fact, which carries the letter."""
    entry = invitation.entry
    tx.execute(
        "INSERT INTO invitations (id, version, organization_id, status, email, email_key, roles,"
        " language, first_manager, invited_by_worker_id,"
        " token_hash, expire_time, create_time, update_time) VALUES (%s, %s, %s, %s, %s, %s, %s,"
        " %s, %s, %s, %s, %s, %s, %s)",
        (
            invitation.id,
            invitation.version,
            invitation.organization_id,
            invitation.status,
            entry.email,
            same_email(entry.email),
            list(entry.roles),
            entry.language,
            invitation.first_manager,
            invitation.invited_by_worker_id,
            token_hash,
            invitation.expire_time,
            invitation.create_time,
            invitation.update_time,
        ),
    )
    _tell(tx, invitation, sealed_letter)


def keep(tx: Transaction, invitation: Invitation, sealed_letter: bytes = b"") -> None:
    """Writes what has become of it, with its fact, and the letter of one that goes out only now."""
    tx.execute(
        "UPDATE invitations SET version = %s, status = %s, update_time = %s, expire_time = %s"
        " WHERE id = %s",
        (
            invitation.version,
            invitation.status,
            invitation.update_time,
            invitation.expire_time,
            invitation.id,
        ),
    )
    _tell(tx, invitation, sealed_letter)


def set_token(tx: Transaction, id: str, token_hash: bytes) -> None:
    """Keeps the hash of the token that goes out."""
    tx.execute("UPDATE invitations SET token_hash = %s WHERE id = %s", (token_hash, id))


def waiting(tx: Transaction, now: datetime) -> list[Invitation]:
    """Those of the network that wait for a second coordinator, the oldest first."""
    rows = tx.execute(
        "SELECT * FROM invitations WHERE status = 'WAITING' AND expire_time > %s"
        " ORDER BY create_time, id",
        (now,),
    ).fetchall()
    return [read(row) for row in rows]


def by_token(tx: Transaction, token_hash: bytes) -> Invitation | None:
    """The one whose token has this hash."""
    row = tx.execute("SELECT * FROM invitations WHERE token_hash = %s", (token_hash,)).fetchone()
    return read(row) if row else None


def fetch(tx: Transaction, id: str) -> Invitation | None:
    """One invitation. Whoever changes it holds its organisation."""
    row = tx.execute("SELECT * FROM invitations WHERE id = %s", (id,)).fetchone()
    return read(row) if row else None


def open_of(tx: Transaction, organization_id: str, now: datetime) -> list[Invitation]:
    """An organisation's that can be accepted, or wait for a second coordinator, newest first."""
    rows = tx.execute(
        "SELECT * FROM invitations WHERE organization_id = %s AND status IN ('OPEN', 'WAITING')"
        " AND expire_time > %s ORDER BY create_time DESC, id",
        (organization_id, now),
    ).fetchall()
    return [read(row) for row in rows]


def by_inviter(tx: Transaction, worker_id: str, since: datetime, now: datetime) -> list[Invitation]:
    """Those of a worker since then that can be accepted, or wait for a second coordinator."""
    rows = tx.execute(
        "SELECT * FROM invitations WHERE invited_by_worker_id = %s AND create_time >= %s"
        " AND status IN ('OPEN', 'WAITING') AND expire_time > %s",
        (worker_id, since, now),
    )
    return [read(row) for row in rows]


def replaced_by(tx: Transaction, invitation: Invitation, now: datetime) -> list[Invitation]:
    """The open ones whose place a new one takes: of a first manager any other, else those to the
    same address.
    """
    rows = tx.execute(
        "SELECT * FROM invitations WHERE organization_id = %s AND status IN ('OPEN', 'WAITING')"
        " AND expire_time > %s AND (email_key = %s OR (%s AND first_manager))",
        (
            invitation.organization_id,
            now,
            same_email(invitation.entry.email),
            invitation.first_manager,
        ),
    ).fetchall()
    return [read(row) for row in rows]


def count_recent(tx: Transaction, organization_id: str, now: datetime) -> int:
    """How many of an organisation have time left, whatever became of them."""
    row = tx.execute(
        "SELECT count(*) AS n FROM invitations WHERE organization_id = %s AND expire_time > %s",
        (organization_id, now),
    ).fetchone()
    assert row is not None
    return int(row["n"])


def forget(tx: Transaction, now: datetime) -> int:
    """Takes away those whose time is over; returns how many."""
    return tx.execute("DELETE FROM invitations WHERE expire_time <= %s", (now,)).rowcount


def read(row: Row) -> Invitation:
    """A row as an invitation."""
    return Invitation(
        id=row["id"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        organization_id=row["organization_id"],
        entry=InvitationEntry(
            row["email"], tuple(Role(role) for role in row["roles"]), row["language"]
        ),
        first_manager=row["first_manager"],
        invited_by_worker_id=row["invited_by_worker_id"],
        expire_time=row["expire_time"],
        status=InvitationStatus(row["status"]),
    )


def _tell(tx: Transaction, invitation: Invitation, sealed_letter: bytes = b"") -> None:
    outbox.keep(tx, facts.invitation_facts(invitation, sealed_letter))
    invitation.facts.clear()
