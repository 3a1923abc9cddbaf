"""Invitations; only hashes of their tokens are stored."""

from datetime import datetime

from chassis.db import Row, Transaction
from facts import outbox
from services.partners.members.domain.invitation import (
    Invitation,
    InvitationEntry,
    InvitationStatus,
)
from services.partners.members.domain.worker import Role, normalized_email
from services.partners.members.wire import facts


def add(tx: Transaction, invitation: Invitation, token_hash: bytes, sealed_letter: bytes) -> None:
    """Stores a new invitation with its facts, which carry the sealed e-mail."""
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
            normalized_email(entry.email),
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
    _publish(tx, invitation, sealed_letter)


def save(tx: Transaction, invitation: Invitation, sealed_letter: bytes = b"") -> None:
    """Stores the state of an invitation with its facts.

    `sealed_letter`: the sealed e-mail, if the e-mail is sent only now.
    """
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
    _publish(tx, invitation, sealed_letter)


def set_token(tx: Transaction, id: str, token_hash: bytes) -> None:
    """Replaces the hash of an invitation's token."""
    tx.execute("UPDATE invitations SET token_hash = %s WHERE id = %s", (token_hash, id))


def waiting(tx: Transaction, now: datetime) -> list[Invitation]:
    """Returns all invitations that wait for a second coordinator, oldest first."""
    rows = tx.execute(
        "SELECT * FROM invitations WHERE status = 'WAITING' AND expire_time > %s"
        " ORDER BY create_time, id",
        (now,),
    ).fetchall()
    return [read(row) for row in rows]


def by_token(tx: Transaction, token_hash: bytes) -> Invitation | None:
    """Returns the invitation whose token has this hash; None if there is none."""
    row = tx.execute("SELECT * FROM invitations WHERE token_hash = %s", (token_hash,)).fetchone()
    return read(row) if row else None


def fetch(tx: Transaction, id: str) -> Invitation | None:
    """Returns an invitation. To change it, the caller must have locked its organisation."""
    row = tx.execute("SELECT * FROM invitations WHERE id = %s", (id,)).fetchone()
    return read(row) if row else None


def open_of(tx: Transaction, organization_id: str, now: datetime) -> list[Invitation]:
    """Returns an organisation's open and waiting invitations, newest first."""
    rows = tx.execute(
        "SELECT * FROM invitations WHERE organization_id = %s AND status IN ('OPEN', 'WAITING')"
        " AND expire_time > %s ORDER BY create_time DESC, id",
        (organization_id, now),
    ).fetchall()
    return [read(row) for row in rows]


def by_inviter(
    tx: Transaction, worker_id: str, since: datetime, now: datetime, *, lock: bool = False
) -> list[Invitation]:
    """Returns the open and waiting invitations that a worker made at or after `since`.

    `lock`: the invitations are locked.
    """
    rows = tx.execute(
        "SELECT * FROM invitations WHERE invited_by_worker_id = %s AND create_time >= %s"
        " AND status IN ('OPEN', 'WAITING') AND expire_time > %s ORDER BY id"
        f"{' FOR UPDATE' if lock else ''}",
        (worker_id, since, now),
    )
    return [read(row) for row in rows]


def replaced_by(tx: Transaction, invitation: Invitation, now: datetime) -> list[Invitation]:
    """Returns the open and waiting invitations that a new invitation replaces.

    An invitation replaces the organisation's older invitations to the same address. An invitation
    for a first manager also replaces the organisation's older ones for a first manager.
    """
    rows = tx.execute(
        "SELECT * FROM invitations WHERE organization_id = %s AND status IN ('OPEN', 'WAITING')"
        " AND expire_time > %s AND (email_key = %s OR (%s AND first_manager))",
        (
            invitation.organization_id,
            now,
            normalized_email(invitation.entry.email),
            invitation.first_manager,
        ),
    ).fetchall()
    return [read(row) for row in rows]


def count_recent(tx: Transaction, organization_id: str, now: datetime) -> int:
    """Returns the number of unexpired invitations to an organisation, whatever their state."""
    row = tx.execute(
        "SELECT count(*) AS n FROM invitations WHERE organization_id = %s AND expire_time > %s",
        (organization_id, now),
    ).fetchone()
    assert row is not None
    return int(row["n"])


def forget(tx: Transaction, now: datetime) -> int:
    """Deletes expired invitations; returns how many."""
    return tx.execute("DELETE FROM invitations WHERE expire_time <= %s", (now,)).rowcount


def read(row: Row) -> Invitation:
    """Returns the invitation that a row describes."""
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


def _publish(tx: Transaction, invitation: Invitation, sealed_letter: bytes = b"") -> None:
    outbox.save(tx, facts.invitation_facts(invitation, sealed_letter))
    invitation.facts.clear()
