"""Applications for membership, and requests whose mailbox is not yet confirmed.

Both are sealed, because they name a contact person.
"""

from datetime import datetime

from chassis.db import Transaction
from keys.sealing import Keyring
from services.partners.members.domain.application import Application
from services.partners.members.wire import messages


def add_request(
    tx: Transaction,
    keyring: Keyring,
    id: str,
    token_hash: bytes,
    reference: str,
    message: bytes,
    expire_time: datetime,
    now: datetime,
) -> None:
    """Stores a request. Opening its link turns the request into an application.

    `message` is the serialized ApplyForMembershipRequest.
    """
    tx.execute(
        "INSERT INTO application_requests (id, token_hash, reference, sealed, expire_time,"
        " create_time) VALUES (%s, %s, %s, %s, %s, %s)",
        (
            id,
            token_hash,
            reference,
            keyring.seal_bytes(message, _request_context(id)),
            expire_time,
            now,
        ),
    )


def take_request(
    tx: Transaction, keyring: Keyring, token_hash: bytes, now: datetime
) -> tuple[str, bytes] | None:
    """Deletes the request with this link. Returns its reference and the `message` of add_request.

    Returns None if there is no such request, or if the link has expired.
    """
    row = tx.execute(
        "DELETE FROM application_requests WHERE token_hash = %s AND expire_time > %s"
        " RETURNING id, reference, sealed",
        (token_hash, now),
    ).fetchone()
    return (
        (row["reference"], keyring.open_bytes(row["sealed"], _request_context(row["id"])))
        if row
        else None
    )


def forget_requests(tx: Transaction, now: datetime) -> int:
    """Deletes requests whose link nobody opened in time; returns how many it deleted."""
    return tx.execute("DELETE FROM application_requests WHERE expire_time <= %s", (now,)).rowcount


def add(tx: Transaction, keyring: Keyring, organization_id: str, application: Application) -> None:
    """Stores a new application."""
    sealed = keyring.seal_bytes(
        messages.application(application).SerializeToString(), _context(organization_id)
    )
    tx.execute(
        "INSERT INTO applications (organization_id, sealed, create_time) VALUES (%s, %s, %s)",
        (organization_id, sealed, application.time),
    )


def fetch(tx: Transaction, keyring: Keyring, organization_id: str) -> Application | None:
    """Returns the application of an organisation; None if it is no longer stored."""
    row = tx.execute(
        "SELECT sealed FROM applications WHERE organization_id = %s", (organization_id,)
    ).fetchone()
    return (
        messages.stored_application(keyring.open_bytes(row["sealed"], _context(organization_id)))
        if row
        else None
    )


def erase(tx: Transaction, organization_id: str) -> None:
    """Deletes the application of an organisation."""
    tx.execute("DELETE FROM applications WHERE organization_id = %s", (organization_id,))


def forget(tx: Transaction, before: datetime) -> int:
    """Deletes applications that are no longer needed; returns how many.

    Such an application is older than `before`, or its organisation has a manager, or is neither an
    applicant nor on probation.
    """
    return tx.execute(
        "DELETE FROM applications AS a USING organizations AS o WHERE o.id = a.organization_id"
        " AND (a.create_time < %s"
        " OR o.status NOT IN ('APPLIED', 'PROBATION') OR EXISTS (SELECT FROM workers AS w"
        " WHERE w.organization_id = o.id"
        " AND 'MANAGER' = ANY(w.roles) AND w.status = 'ACTIVE'))",
        (before,),
    ).rowcount


def _request_context(id: str) -> str:
    return f"application_requests/{id}/sent"


def _context(organization_id: str) -> str:
    return f"applications/{organization_id}/contact"
