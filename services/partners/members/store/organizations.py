"""Stores, fetches and lists organisations."""

import json
from collections.abc import Collection, Sequence
from datetime import date, datetime

from chassis.db import Row, Transaction
from chassis.wire import Cursor
from facts import outbox
from services.partners.members.domain.evidence import WARNING_DAYS, Evidence, EvidenceKind
from services.partners.members.domain.organization import (
    ACTIVE,
    Organization,
    OrganizationEntry,
    OrganizationStatus,
    OrganizationType,
    Proposal,
    RejectionReason,
)
from services.partners.members.domain.suspension import (
    PROPOSAL,
    FirstCoordinator,
    Suspension,
    SuspensionReason,
)
from services.partners.members.wire import facts
from services.partners.network.store.sort_keys import sort_key

_IS_SHELTER = (
    "(o.type = 'SHELTER' OR EXISTS (SELECT FROM services AS s WHERE s.organization_id = o.id"
    " AND s.shelter))"
    " AND NOT EXISTS (SELECT FROM services AS s WHERE s.organization_id = o.id AND s.listed"
    " AND NOT s.shelter)"
)


def save(tx: Transaction, organization: Organization) -> None:
    """Stores the organisation with its facts."""
    entry, proposal = organization.entry, organization.proposal
    rows = tx.execute(
        "INSERT INTO organizations (id, version, status, name, name_key, type, country, department,"
        " phone, url, languages, description,"
        " hotline_number, registered_by_worker_id, proposed_type, proposed_country,"
        " proposed_hotline_number, proposed_by_worker_id, propose_time,"
        " evidence, agreement_expire_date, warned_days, approval_proposed_by_worker_id,"
        " rejection_reason, suspension, suspension_expire_time,"
        " asked_first, create_time, update_time) VALUES (%(id)s, %(version)s, %(status)s, %(name)s,"
        " %(name_key)s, %(type)s, %(country)s,"
        " %(department)s, %(phone)s, %(url)s, %(languages)s, %(description)s, %(hotline_number)s,"
        " %(registered_by_worker_id)s, %(proposed_type)s, %(proposed_country)s,"
        " %(proposed_hotline_number)s, %(proposed_by_worker_id)s,"
        " %(propose_time)s, %(evidence)s::jsonb, %(agreement_expire_date)s, %(warned_days)s,"
        " %(approval_proposed_by_worker_id)s,"
        " %(rejection_reason)s, %(suspension)s::jsonb, %(suspension_expire_time)s,"
        " %(asked_first)s::jsonb, %(create_time)s, %(update_time)s)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status, name"
        " = excluded.name,"
        " name_key = excluded.name_key, type = excluded.type, country = excluded.country,"
        " department = excluded.department,"
        " phone = excluded.phone, url = excluded.url, languages = excluded.languages, description ="
        " excluded.description,"
        " hotline_number = excluded.hotline_number, registered_by_worker_id ="
        " excluded.registered_by_worker_id,"
        " evidence = excluded.evidence, agreement_expire_date = excluded.agreement_expire_date,"
        " warned_days = excluded.warned_days,"
        " approval_proposed_by_worker_id = excluded.approval_proposed_by_worker_id,"
        " rejection_reason = excluded.rejection_reason,"
        " suspension = excluded.suspension, suspension_expire_time ="
        " excluded.suspension_expire_time, asked_first = excluded.asked_first,"
        " proposed_type = excluded.proposed_type, proposed_country = excluded.proposed_country,"
        " proposed_hotline_number = excluded.proposed_hotline_number, proposed_by_worker_id ="
        " excluded.proposed_by_worker_id,"
        " propose_time = excluded.propose_time, update_time = excluded.update_time"
        " RETURNING seen_version, seen_time",
        {
            "id": organization.id,
            "version": organization.version,
            "status": organization.status,
            "name": entry.name,
            "name_key": sort_key(entry.name),
            "type": entry.type,
            "country": entry.country,
            "department": entry.department,
            "phone": entry.phone,
            "url": entry.url,
            "languages": list(entry.languages),
            "description": entry.description,
            "hotline_number": entry.hotline_number,
            "registered_by_worker_id": organization.registered_by_worker_id,
            "proposed_type": proposal.type if proposal else None,
            "proposed_country": proposal.country if proposal else None,
            "proposed_hotline_number": proposal.hotline_number if proposal else None,
            "proposed_by_worker_id": proposal.worker_id if proposal else None,
            "propose_time": proposal.time if proposal else None,
            "evidence": json.dumps(
                [vars(evidence) for evidence in organization.evidence],
                default=lambda time: time.isoformat(),
            ),
            "agreement_expire_date": organization.agreement_expire_date,
            "warned_days": organization.warned_days,
            "approval_proposed_by_worker_id": organization.approval_proposed_by_worker_id,
            "rejection_reason": organization.rejection_reason,
            "suspension": _suspension_text(organization.suspension),
            "suspension_expire_time": organization.suspension.expire_time
            if organization.suspension
            else None,
            "asked_first": json.dumps(
                {
                    name: _plain(first)
                    for name in _FIRST_COORDINATOR_FIELDS
                    if (first := getattr(organization, name))
                }
            ),
            "create_time": organization.create_time,
            "update_time": organization.update_time,
        },
    )
    [organization.seen] = [(row["seen_version"], row["seen_time"]) for row in rows]
    outbox.save(tx, facts.organization_facts(organization))
    organization.facts.clear()


def fetch(tx: Transaction, id: str, *, lock: str = "") -> Organization | None:
    """Returns an organisation, locked if `lock` is not empty.

    `lock`: UPDATE to change the organisation, SHARE to keep others from changing it.
    """
    rows = tx.execute(
        f"SELECT * FROM organizations WHERE id = %s {_LOCK_CLAUSES[lock]}", (id,)
    ).fetchall()
    return read(rows[0]) if rows else None


def status_of(tx: Transaction, id: str) -> OrganizationStatus | None:
    """Returns the status of an organisation; None if there is no such organisation."""
    row = tx.execute("SELECT status FROM organizations WHERE id = %s", (id,)).fetchone()
    return OrganizationStatus(row["status"]) if row else None


def fetch_many(tx: Transaction, ids: Sequence[str]) -> list[Organization]:
    """Returns the organisations with these ids that exist, in the order of their ids."""
    return [
        read(row)
        for row in tx.execute(
            "SELECT * FROM organizations WHERE id = ANY(%s) ORDER BY id", (list(ids),)
        )
    ]


def shelters(tx: Transaction, ids: Collection[str]) -> set[str]:
    """Returns which of these organisations are shelters.

    A shelter has the type SHELTER or a service that is a shelter, and lists no
    service that is not a shelter.
    """
    rows = tx.execute(
        f"SELECT o.id FROM organizations AS o WHERE o.id = ANY(%s) AND {_IS_SHELTER}", (list(ids),)
    )
    return {row["id"] for row in rows}


def by_id_or_name(tx: Transaction, ids: Sequence[str], names: Sequence[str]) -> list[Organization]:
    """Returns the organisations with these ids or names, locked in the order of their ids."""
    rows = tx.execute(
        "SELECT * FROM organizations WHERE id = ANY(%s) OR name_key = ANY(%s)"
        " ORDER BY id FOR UPDATE",
        (list(ids), [sort_key(n) for n in names]),
    )
    return [read(row) for row in rows]


def page_by_name(
    tx: Transaction,
    size: int,
    after: Cursor | None,
    *,
    country: str,
    type: OrganizationType | None,
    status: OrganizationStatus | None,
    only_inactive_id: str | None,
    agreement_before: date | None = None,
    only_shelter_id: str | None = None,
    waits_for_second: bool = False,
) -> tuple[list[Organization], Cursor | None]:
    """Returns a page of organisations, sorted by name, and the position of the next page or None.

    `only_inactive_id`: the only inactive organisation that is included; None includes all.
    `agreement_before`: only approved members whose agreement ends before this date.
    `only_shelter_id`: the only shelter that is included; None includes all. `waits_for_second`:
    only organisations with a suspension, a hold, a reinstatement or an end of membership that waits
    for a second coordinator.
    """
    rows = tx.execute(
        "SELECT * FROM organizations AS o WHERE (%(after)s::text[] IS NULL"
        " OR (name_key, id) > ((%(after)s::text[])[1], (%(after)s::text[])[2]))"
        " AND (%(country)s = '' OR country = %(country)s) AND (%(type)s::text IS NULL"
        " OR type = %(type)s)"
        " AND (%(status)s::text IS NULL OR status = %(status)s)"
        " AND (%(agreement_before)s::date IS NULL OR (status = 'APPROVED'"
        " AND agreement_expire_date < %(agreement_before)s))"
        " AND (NOT %(waits)s OR suspension_expire_time IS NOT NULL"
        " OR asked_first ?| ARRAY['reinstatement', 'leaving'])"
        " AND (%(only_inactive_id)s::text IS NULL OR status = ANY(%(active)s)"
        " OR id = %(only_inactive_id)s)"
        " AND (%(only_shelter_id)s::text IS NULL OR id = %(only_shelter_id)s"
        f" OR NOT ({_IS_SHELTER}))"
        " ORDER BY name_key, id LIMIT %(limit)s",
        {
            "only_shelter_id": only_shelter_id,
            "after": after,
            "country": country,
            "type": type,
            "status": status,
            "only_inactive_id": only_inactive_id,
            "agreement_before": agreement_before,
            "waits": waits_for_second,
            "active": [str(word) for word in ACTIVE],
            "limit": size + 1,
        },
    ).fetchall()
    has_more = len(rows) > size
    return [read(row) for row in rows[:size]], [
        rows[size - 1]["name_key"],
        rows[size - 1]["id"],
    ] if has_more else None


def hotlines(tx: Transaction) -> list[Organization]:
    """Returns the hotline of each country: an approved hotline with a number.

    If a country has several, the hotline that applied or was registered first is returned.
    """
    rows = tx.execute(
        "SELECT DISTINCT ON (country) * FROM organizations WHERE type = 'HOTLINE'"
        " AND status = 'APPROVED' AND hotline_number <> ''"
        " ORDER BY country, create_time, id"
    ).fetchall()
    return [read(row) for row in rows]


def with_agreement_ending(tx: Transaction, today: date, at_most: int) -> list[Organization]:
    """Returns members whose agreement is over or ends soon, earliest end first, locked.

    Leaves out members that are locked already, and those whose agreement has not ended and that
    have had all due warnings.
    """
    days = ", ".join(f"({number})" for number in WARNING_DAYS)
    rows = tx.execute(
        "SELECT * FROM organizations WHERE status = 'APPROVED'"
        " AND (agreement_expire_date < %(today)s OR agreement_expire_date - %(today)s <="
        f" (SELECT max(days) FROM (VALUES {days}) AS due (days) WHERE warned_days IS NULL"
        " OR days < warned_days))"
        " ORDER BY agreement_expire_date, id LIMIT %(most)s FOR UPDATE SKIP LOCKED",
        {"today": today, "most": at_most},
    ).fetchall()
    return [read(row) for row in rows]


def count_access(tx: Transaction, id: str, now: datetime, step_start: datetime) -> dict[str, int]:
    """Counts the active accounts, keys, services and invitations of an organisation.

    Also counts the people who were at its services at `step_start`. This count is at least one if
    anybody ever came before that time. The caller rounds it up, so that empty services look like
    services with a few people.
    """
    row = tx.execute(
        "SELECT (SELECT count(*) FROM workers WHERE organization_id = %(id)s"
        " AND status = 'ACTIVE') AS worker_count,"
        " (SELECT count(*) FROM api_keys WHERE organization_id = %(id)s AND revoke_time IS NULL"
        " AND expire_time > %(now)s)"
        "   AS api_key_count,"
        " (SELECT count(*) FROM services WHERE organization_id = %(id)s"
        " AND active) AS service_count,"
        " (SELECT count(*) FROM invitations WHERE organization_id = %(id)s AND status = 'OPEN'"
        " AND expire_time > %(now)s) AS invitation_count,"
        " (SELECT greatest(coalesce(sum(places) FILTER (WHERE leave_time IS NULL"
        " OR leave_time >= %(step)s), 0), least(count(*), 1))::int"
        "   FROM places_taken JOIN services ON services.id = service_id"
        " WHERE organization_id = %(id)s AND take_time < %(step)s) AS people_inside",
        {"id": id, "now": now, "step": step_start},
    ).fetchone()
    assert row is not None
    return dict(row)


def with_expired_proposal(tx: Transaction, now: datetime, at_most: int) -> list[Organization]:
    """Returns members with a hold or a proposal to which nobody agreed in time, locked.

    Members that are locked already are left out.
    """
    rows = tx.execute(
        "SELECT * FROM organizations WHERE suspension_expire_time <= %s"
        " OR least(asked_first->'reinstatement'->>'time', asked_first->'leaving'->>'time')"
        "::timestamptz <= %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
        (now, now - PROPOSAL, at_most),
    ).fetchall()
    return [read(row) for row in rows]


def with_proposal_of(tx: Transaction, worker_id: str) -> list[Organization]:
    """Returns organisations with a proposal by this worker that no second person has agreed to.

    The organisations are locked.
    """
    rows = tx.execute(
        "SELECT * FROM organizations WHERE %s IN (proposed_by_worker_id,"
        " approval_proposed_by_worker_id, asked_first->'reinstatement'->>'worker_id',"
        " asked_first->'leaving'->>'worker_id', CASE WHEN suspension_expire_time IS NOT NULL"
        " THEN suspension->'first'->>'worker_id' END) ORDER BY id FOR UPDATE",
        (worker_id,),
    ).fetchall()
    return [read(row) for row in rows]


def unanswered_applicants(tx: Transaction, before: datetime, at_most: int) -> list[Organization]:
    """Returns applicants that applied before `before` and have had no answer, locked."""
    rows = tx.execute(
        "SELECT * FROM organizations WHERE status = 'APPLIED' AND create_time < %s"
        " ORDER BY create_time, id LIMIT %s FOR UPDATE SKIP LOCKED",
        (before, at_most),
    ).fetchall()
    return [read(row) for row in rows]


def forget_rejected(tx: Transaction, before: datetime) -> int:
    """Deletes organisations that were rejected before this time; returns how many."""
    return tx.execute(
        "DELETE FROM organizations WHERE status = 'REJECTED' AND update_time < %s", (before,)
    ).rowcount


def read(row: Row) -> Organization:
    """Returns the organisation that a row describes."""
    return Organization(
        id=row["id"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        status=OrganizationStatus(row["status"]),
        registered_by_worker_id=row["registered_by_worker_id"],
        proposal=Proposal(
            OrganizationType(row["proposed_type"]),
            row["proposed_country"],
            row["proposed_hotline_number"],
            row["proposed_by_worker_id"],
            row["propose_time"],
        )
        if row["propose_time"]
        else None,
        evidence=tuple(_evidence(stored) for stored in row["evidence"]),
        approval_proposed_by_worker_id=row["approval_proposed_by_worker_id"],
        warned_days=row["warned_days"],
        rejection_reason=RejectionReason(row["rejection_reason"])
        if row["rejection_reason"]
        else None,
        suspension=_suspension(row),
        last_hold=_first_coordinator(row["asked_first"].get("last_hold")),
        reinstatement=_first_coordinator(row["asked_first"].get("reinstatement")),
        leaving=_first_coordinator(row["asked_first"].get("leaving")),
        seen=(row["seen_version"], row["seen_time"]),
        entry=OrganizationEntry(
            name=row["name"],
            type=OrganizationType(row["type"]),
            country=row["country"],
            department=row["department"],
            phone=row["phone"],
            url=row["url"],
            languages=tuple(row["languages"]),
            description=row["description"],
            hotline_number=row["hotline_number"],
        ),
    )


_FIRST_COORDINATOR_FIELDS = ("last_hold", "reinstatement", "leaving")
_LOCK_CLAUSES = {"": "", "UPDATE": "FOR UPDATE", "SHARE": "FOR SHARE"}


def _evidence(document: Row) -> Evidence:
    return Evidence(
        EvidenceKind(document["kind"]),
        document["reference"],
        date.fromisoformat(document["seen_date"]),
        date.fromisoformat(document["expire_date"]) if document["expire_date"] else None,
        document["worker_id"],
        datetime.fromisoformat(document["time"]),
    )


def _plain(first: FirstCoordinator) -> dict[str, str]:
    return {
        "worker_id": first.worker_id,
        "organization_id": first.organization_id,
        "time": first.time.isoformat(),
    }


def _first_coordinator(document: Row | None) -> FirstCoordinator | None:
    return (
        FirstCoordinator(
            document["worker_id"],
            document["organization_id"],
            datetime.fromisoformat(document["time"]),
        )
        if document
        else None
    )


def _suspension_text(suspension: Suspension | None) -> str | None:
    if suspension is None:
        return None
    return json.dumps(
        {
            "reason": suspension.reason,
            "first": _plain(suspension.first),
            "second_worker_id": suspension.second_worker_id,
        }
    )


def _suspension(row: Row) -> Suspension | None:
    document = row["suspension"]
    first = _first_coordinator(document["first"]) if document else None
    if first is None:
        return None
    return Suspension(
        SuspensionReason(document["reason"]),
        first,
        row["suspension_expire_time"],
        document["second_worker_id"],
    )
