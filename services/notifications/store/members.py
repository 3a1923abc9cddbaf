"""What has been heard of members: a copy for checking callers and finding coordinators, never a
source.
"""

from collections.abc import Sequence

from chassis.db import Transaction
from chassis.tokens import Caller
from services.notifications.domain.member import Standing


def view_of(caller: Caller) -> str:
    """How much a caller sees by row-level security: as `coordinator` codes of the whole network, as
    `member` what is the own organisation's.
    """
    return "coordinator" if caller.has("COORDINATOR") or caller.has("AUDITOR") else "member"


def keep_organization(tx: Transaction, id: str, status: str) -> None:
    """How the organisation stands."""
    tx.execute(
        "INSERT INTO organizations (id, status) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE"
        " SET status = excluded.status",
        (id, status),
    )


def keep_worker(
    tx: Transaction, id: str, organization_id: str, roles: Sequence[str], status: str
) -> None:
    """How the worker stands, and what she may do."""
    tx.execute(
        "INSERT INTO workers (id, organization_id, roles, status) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, roles ="
        " excluded.roles, status = excluded.status",
        (id, organization_id, list(roles), status),
    )


def auditors(tx: Transaction) -> list[tuple[str, str]]:
    """(organisation, worker) of each auditor who is at work."""
    rows = tx.execute(
        "SELECT organization_id, id FROM workers WHERE 'AUDITOR' = ANY (roles)"
        " AND status = 'ACTIVE' ORDER BY id"
    ).fetchall()
    return [(row["organization_id"], row["id"]) for row in rows]


def managers(tx: Transaction, organization_id: str) -> list[str]:
    """The managers of an organisation who are at work."""
    rows = tx.execute(
        "SELECT id FROM workers WHERE organization_id = %s AND 'MANAGER' = ANY (roles)"
        " AND status = 'ACTIVE' ORDER BY id",
        (organization_id,),
    )
    return [row["id"] for row in rows]


def keep_api_key(tx: Transaction, id: str, live: bool) -> None:
    """Whether the key still opens anything."""
    tx.execute(
        "INSERT INTO api_keys (id, live) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE"
        " SET live = excluded.live",
        (id, live),
    )


def standing(tx: Transaction, caller_id: str, organization_id: str) -> Standing:
    """What is known of a caller, in one question."""
    row = tx.execute(
        "SELECT (SELECT status FROM organizations WHERE id = %s) AS organization_status,"
        " (SELECT status FROM workers WHERE id = %s) AS worker_status, (SELECT live FROM api_keys"
        " WHERE id = %s) AS key_live",
        (organization_id, caller_id, caller_id),
    ).fetchone()
    assert row is not None
    return Standing(**row)
