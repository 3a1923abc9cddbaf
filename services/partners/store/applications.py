"""How organisations applied: sealed, for it says whom to speak to."""

from datetime import datetime

from chassis.db import Transaction
from chassis.sealing import Keyring
from services.partners import wire
from services.partners.domain.application import Application


def add(tx: Transaction, keyring: Keyring, organization_id: str, application: Application) -> None:
    """Writes a new one."""
    sealed = keyring.seal_bytes(wire.application(application).SerializeToString(), _context(organization_id))
    tx.execute(
        "INSERT INTO applications (organization_id, sealed, create_time) VALUES (%s, %s, %s)", (organization_id, sealed, application.time)
    )


def fetch(tx: Transaction, keyring: Keyring, organization_id: str) -> Application | None:
    """That of an organisation, if it is still there."""
    row = tx.execute("SELECT sealed FROM applications WHERE organization_id = %s", (organization_id,)).fetchone()
    return wire.kept_application(keyring.open_bytes(row["sealed"], _context(organization_id))) if row else None


def erase(tx: Transaction, organization_id: str) -> None:
    """Nobody needs it any more."""
    tx.execute("DELETE FROM applications WHERE organization_id = %s", (organization_id,))


def forget(tx: Transaction, before: datetime) -> int:
    """Takes away those that are too old, or whose organisation has a manager, or is not on its way to become a member; returns how many."""
    return tx.execute(
        "DELETE FROM applications AS a USING organizations AS o WHERE o.id = a.organization_id AND (a.create_time < %s"
        " OR o.status NOT IN ('APPLIED', 'PROBATION') OR EXISTS (SELECT FROM workers AS w WHERE w.organization_id = o.id"
        " AND 'MANAGER' = ANY(w.roles) AND w.status = 'ACTIVE'))",
        (before,),
    ).rowcount


def _context(organization_id: str) -> str:
    return f"applications/{organization_id}/contact"
