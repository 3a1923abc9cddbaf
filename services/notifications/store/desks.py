"""Desks: the language and e-mail address of each organisation.

Each address is sealed for its own row: a sealed address that is copied to another row can't be
opened there.
"""

from datetime import datetime

from chassis.db import Transaction
from chassis.errors import Stale
from chassis.languages import SOURCE
from keys.sealing import Keyring
from services.notifications.domain.desk import Desk


def fetch(tx: Transaction, keyring: Keyring, organization_id: str) -> Desk:
    """Returns the desk of an organisation; by default, a desk has no e-mail address."""
    row = tx.execute(
        "SELECT language, email, version FROM desks WHERE organization_id = %s", (organization_id,)
    ).fetchone()
    if row is None:
        return Desk(organization_id, SOURCE, "")
    return Desk(
        organization_id,
        row["language"],
        open_email(keyring, organization_id, row["email"]) if row["email"] else "",
        row["version"],
    )


def save(tx: Transaction, keyring: Keyring, desk: Desk, now: datetime) -> None:
    """Saves the desk. Raises Stale if the stored version is not `desk.version` - 1."""
    sealed = keyring.seal(desk.email, _email_context(desk.organization_id)) if desk.email else None
    row_count = tx.execute(
        "INSERT INTO desks (organization_id, language, email, update_time, version)"
        " VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (organization_id) DO UPDATE"
        " SET language = excluded.language, email = excluded.email, update_time ="
        " excluded.update_time,"
        " version = excluded.version WHERE desks.version = excluded.version - 1",
        (desk.organization_id, desk.language, sealed, now, desk.version),
    ).rowcount
    if row_count != 1:
        raise Stale


def open_email(keyring: Keyring, organization_id: str, sealed: bytes) -> str:
    """Returns the address that is sealed in a row."""
    return keyring.open(sealed, _email_context(organization_id))


def _email_context(organization_id: str) -> str:
    return f"desks/{organization_id}/email"
