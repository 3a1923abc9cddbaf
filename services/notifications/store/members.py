"""The known state of members, taken from facts.

This copy serves to check callers and to find recipients; the partners service has the originals.
"""

from collections.abc import Sequence

from chassis.db import Transaction
from chassis.tokens import Caller
from services.notifications.domain.member import INACTIVE, Standing


def is_inactive(organization_id: str) -> str:
    """Returns the SQL condition that an organisation is suspended or has left.

    `organization_id` is an SQL expression.
    """
    statuses = ", ".join(f"'{status}'" for status in sorted(INACTIVE))
    return (
        f"EXISTS (SELECT FROM organizations o WHERE o.id = {organization_id}"
        f" AND o.status IN ({statuses}))"
    )


def view_of(caller: Caller) -> str:
    """Returns the caller's view for row-level security.

    Coordinators and auditors have the view `coordinator`, which shows the codes of the whole
    network. All other callers have the view `member`, which shows the rows of their organisation.
    """
    return "coordinator" if caller.has("COORDINATOR") or caller.has("AUDITOR") else "member"


def save_organization(tx: Transaction, id: str, status: str) -> None:
    """Saves the standing of an organisation."""
    tx.execute(
        "INSERT INTO organizations (id, status) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE"
        " SET status = excluded.status",
        (id, status),
    )


def save_worker(
    tx: Transaction, id: str, organization_id: str, roles: Sequence[str], status: str
) -> None:
    """Saves the standing of a worker, and the worker's roles."""
    tx.execute(
        "INSERT INTO workers (id, organization_id, roles, status) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, roles ="
        " excluded.roles, status = excluded.status",
        (id, organization_id, list(roles), status),
    )


def auditors(tx: Transaction, besides: str) -> list[tuple[str, str]]:
    """Returns (organisation, worker) for each active auditor of a member in good standing.

    Leaves out the worker `besides`, whose own accesses the others have to review.
    """
    rows = tx.execute(
        "SELECT organization_id, id FROM workers WHERE 'AUDITOR' = ANY (roles) AND id <> %s"
        f" AND status = 'ACTIVE' AND NOT {is_inactive('organization_id')} ORDER BY id",
        (besides,),
    ).fetchall()
    return [(row["organization_id"], row["id"]) for row in rows]


def managers(tx: Transaction, organization_id: str) -> list[str]:
    """Returns the ids of the active managers of an organisation."""
    rows = tx.execute(
        "SELECT id FROM workers WHERE organization_id = %s AND 'MANAGER' = ANY (roles)"
        " AND status = 'ACTIVE' ORDER BY id",
        (organization_id,),
    )
    return [row["id"] for row in rows]


def save_api_key(tx: Transaction, id: str, live: bool) -> None:
    """Saves whether a key is still valid."""
    tx.execute(
        "INSERT INTO api_keys (id, live) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE"
        " SET live = excluded.live",
        (id, live),
    )


def standing(tx: Transaction, caller_id: str, organization_id: str) -> Standing:
    """Returns the known standing of a caller, in one query."""
    row = tx.execute(
        "SELECT (SELECT status FROM organizations WHERE id = %s) AS organization_status,"
        " (SELECT status FROM workers WHERE id = %s) AS worker_status, (SELECT live FROM api_keys"
        " WHERE id = %s) AS key_live",
        (organization_id, caller_id, caller_id),
    ).fetchone()
    assert row is not None
    return Standing(**row)
