"""Known facts about members and services.

These facts are enough to check a member's standing and the owner of a service, even while the
partners service is down.
"""

from collections.abc import Callable, Collection, Sequence

from chassis.db import Transaction
from chassis.errors import Invalid, NotAllowed
from chassis.tokens import Caller
from services.referrals.network.domain.service import (
    ANY_AGES,
    Ages,
    Attribute,
    Receiver,
    Service,
)

# The condition that a service is a shelter. If the service has not stated whether it is one, its
# member's type decides.
_IS_SHELTER = (
    "coalesce(s.shelter,"
    " EXISTS (SELECT FROM members o WHERE o.id = s.organization_id AND o.type = 'SHELTER'))"
)
# The condition that an organisation is on probation.
_IS_ON_PROBATION = (
    "EXISTS (SELECT FROM members p WHERE p.id = %(for)s AND p.kind = 'organization'"
    " AND p.status = 'PROBATION')"
)
# The condition that a service is active, and visible to an organisation. Shelters of other members
# are hidden from a member on probation.
_IS_VISIBLE = (
    f"s.active AND (s.organization_id = %(for)s OR NOT {_IS_SHELTER} OR NOT {_IS_ON_PROBATION})"
)


def view_of(caller: Caller) -> str:
    """Returns the view that row-level security gives a caller.

    `coordinator` shows codes across the network; `member` shows the rows of the caller's own
    organisation.
    """
    return "coordinator" if caller.has("COORDINATOR") or caller.has("AUDITOR") else "member"


def note_member(
    tx: Transaction,
    kind: str,
    identifier: str,
    active: bool,
    status: str = "",
    type_: str = "",
    organization_id: str = "",
    country: str = "",
    department: str = "",
) -> None:
    """Saves a member; `kind` is "organization", "worker" or "key".

    For a worker, `organization_id` is her organisation.
    """
    tx.execute(
        "INSERT INTO members"
        " (kind, id, active, status, type, organization_id, country, subdivision)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id)"
        " DO UPDATE SET active = excluded.active, status = excluded.status, type = excluded.type,"
        " organization_id = excluded.organization_id,"
        " country = excluded.country, subdivision = excluded.subdivision",
        (kind, identifier, active, status, type_, organization_id, country, department),
    )


def note_service(
    tx: Transaction,
    identifier: str,
    organization_id: str,
    active: bool,
    uses: Sequence[Attribute] | None = None,
    ages: Ages = ANY_AGES,
    department: str = "",
    *,
    shelter: bool | None = None,
) -> None:
    """Saves a service in the directory.

    `uses` are the attributes on which the service bases its decision (None: not stated),
    `department` is where the service helps, and `shelter` says whether the service is a shelter
    (None keeps an earlier statement).
    """
    use_codes = None if uses is None else [attribute.value for attribute in uses]
    tx.execute(
        "INSERT INTO directory_services (id, organization_id, active, uses, minimum_age,"
        " maximum_age, department, shelter)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, active ="
        " excluded.active, uses = excluded.uses,"
        " minimum_age = excluded.minimum_age, maximum_age = excluded.maximum_age, department ="
        " excluded.department,"
        " shelter = coalesce(excluded.shelter, directory_services.shelter)",
        (
            identifier,
            organization_id,
            active,
            use_codes,
            ages.minimum,
            ages.maximum,
            department,
            shelter,
        ),
    )


def check_standing(tx: Transaction, caller: Caller) -> None:
    """Refuses a caller whose organisation, worker account or key is known not to be active.

    Even a fresh token does not help such a caller. A suspension that has not arrived here yet has
    no effect; this is tolerable because a token is valid for only a few seconds.
    """
    row = tx.execute(
        "SELECT 1 FROM members WHERE id = ANY(%s) AND NOT active LIMIT 1",
        ([caller.organization_id, caller.id],),
    ).fetchone()
    if row is not None:
        raise NotAllowed("organization_not_active")


def organization(tx: Transaction, identifier: str) -> tuple[str, str]:
    """Returns (status, type) of an organisation; ("", "") if it is not known."""
    row = tx.execute(
        "SELECT status, type FROM members WHERE id = %s AND kind = 'organization'", (identifier,)
    ).fetchone()
    return (row["status"], row["type"]) if row else ("", "")


def place(tx: Transaction, identifier: str) -> tuple[str, str]:
    """Returns (country, department) of an organisation; "" where they are not known."""
    row = tx.execute(
        "SELECT country, subdivision FROM members WHERE id = %s AND kind = 'organization'",
        (identifier,),
    ).fetchone()
    return (row["country"], row["subdivision"]) if row else ("", "")


def countries(tx: Transaction, identifiers: Collection[str]) -> dict[str, str]:
    """Returns the known countries of these organisations, by id."""
    rows = tx.execute(
        "SELECT id, country FROM members WHERE id = ANY(%s) AND kind = 'organization'",
        (list(identifiers),),
    ).fetchall()
    return {row["id"]: row["country"] for row in rows}


def shelters(tx: Transaction, identifiers: Collection[str]) -> set[str]:
    """Returns the ids of those services that are shelters."""
    rows = tx.execute(
        f"SELECT s.id FROM directory_services s WHERE s.id = ANY(%s) AND {_IS_SHELTER}",
        (list(identifiers),),
    ).fetchall()
    return {row["id"] for row in rows}


def types(tx: Transaction, identifiers: Collection[str]) -> dict[str, str]:
    """Returns the known types of these organisations, by id."""
    rows = tx.execute(
        "SELECT id, type FROM members WHERE id = ANY(%s) AND kind = 'organization'",
        (list(identifiers),),
    ).fetchall()
    return {row["id"]: row["type"] for row in rows}


def check_organizations(tx: Transaction, identifiers: Collection[str], path: str) -> None:
    """Refuses organisations that are not known; `path` is the list's path in the request."""
    type_by_id = types(tx, identifiers) if identifiers else {}
    unknown_positions = [
        number for number, identifier in enumerate(identifiers) if identifier not in type_by_id
    ]
    if unknown_positions:
        raise Invalid(*((f"{path}.{number}", "unknown_code") for number in unknown_positions))


def is_active(tx: Transaction, identifier: str) -> bool:
    """Returns whether an organisation is known to be in good standing."""
    return (
        tx.execute(
            "SELECT 1 FROM members WHERE id = %s AND kind = 'organization' AND active",
            (identifier,),
        ).fetchone()
        is not None
    )


def suspended_condition(column: str) -> str:
    """Returns the SQL condition that a column has the id of a worker whose account is suspended."""
    return (
        f"EXISTS (SELECT FROM members m WHERE m.id = {column} AND m.kind = 'worker'"
        " AND NOT m.active)"
    )


def lock_worker(tx: Transaction, worker_id: str) -> tuple[bool, str] | None:
    """Returns whether a worker's account is active, and her organisation; None if she is not known.

    The organisation is "" if it is not known. The worker's row is locked, so that her account can't
    end before the transaction does. `ReferralChanges.hand_to_desk`, which runs when her account
    ends, then sees the changes of this transaction.
    """
    row = tx.execute(
        "SELECT active, organization_id FROM members WHERE id = %s AND kind = 'worker' FOR SHARE",
        (worker_id,),
    ).fetchone()
    return (row["active"], row["organization_id"]) if row else None


def on_probation(tx: Transaction, organization_id: str) -> bool:
    """Returns whether an organisation is on probation.

    Such an organisation does not see the shelters of other members, and receives no enquiries.
    """
    return organization(tx, organization_id)[0] == "PROBATION"


def owner_of_service(tx: Transaction, service_id: str, sender_id: str) -> str | None:
    """Returns the organisation of a service.

    Returns None if the service is not known, is no longer offered, or is hidden from the sender, or
    if its organisation is not in good standing.
    """
    row = tx.execute(
        "SELECT s.organization_id FROM directory_services s JOIN members r"
        " ON r.id = s.organization_id AND r.kind = 'organization' AND r.active"
        f" WHERE s.id = %(id)s AND {_IS_VISIBLE}",
        {"id": service_id, "for": sender_id},
    ).fetchone()
    return row["organization_id"] if row else None


def query_receiver(
    tx: Transaction, service_id: str, receiver_id: str, sender_id: str
) -> Callable[[], Receiver]:
    """Queries the known facts about a service and its organisation, for one sender.

    Returns a function that waits for the result. An organisation in good standing is locked, so
    that `ReferralChanges.note_standing`, which runs when it is suspended, then sees the referral
    that this transaction sends.
    """
    result = tx.execute(
        "SELECT EXISTS (SELECT FROM members r WHERE r.id = %(receiver)s"
        " AND r.kind = 'organization' AND r.active FOR SHARE) AS active,"
        " coalesce(s.active AND s.organization_id = %(receiver)s, false) AS offered,"
        f" {_IS_SHELTER} AS shelter, {_IS_ON_PROBATION} AS probation,"
        " s.minimum_age, s.maximum_age, coalesce(s.department, '') AS department"
        " FROM (VALUES (%(service)s::text)) AS asked (id)"
        " LEFT JOIN directory_services s ON s.id = asked.id",
        {"service": service_id, "receiver": receiver_id, "for": sender_id},
    )

    def wait() -> Receiver:
        row = result.fetchone()
        assert row is not None, "one row for the service that was asked about"
        return Receiver(
            available=row["active"] and not (row["shelter"] and row["probation"]),
            offered=row["offered"],
            ages=Ages(row["minimum_age"], row["maximum_age"]),
            department=row["department"],
            sender_on_probation=row["probation"],
        )

    return wait


def services(
    tx: Transaction, identifiers: Sequence[str], asker_id: str
) -> list[tuple[Service, str, str]]:
    """Returns the services among `identifiers` that may be asked, in order of id.

    Each service comes with the type of its member and the department where it helps. A service
    may be asked if the asking organisation sees it, and if the service's member is approved.
    """
    rows = tx.execute(
        "SELECT s.id, s.organization_id, s.uses, s.department, m.type FROM directory_services s"
        " JOIN members m ON m.id = s.organization_id AND m.kind = 'organization' AND m.active"
        " AND m.status = 'APPROVED'"
        f" WHERE s.id = ANY(%(ids)s) AND {_IS_VISIBLE} ORDER BY s.id",
        {"ids": list(identifiers), "for": asker_id},
    ).fetchall()
    return [
        (
            Service(
                row["id"],
                row["organization_id"],
                None if row["uses"] is None else frozenset(map(Attribute, row["uses"])),
            ),
            row["type"],
            row["department"],
        )
        for row in rows
    ]
